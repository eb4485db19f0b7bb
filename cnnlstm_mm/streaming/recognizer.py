"""Frame-by-frame recognition in PyTorch."""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.config import Config
from mmengine.registry import init_default_scope
from torch import Tensor, nn

from cnnlstm_mm.config import check_classifier, normalization, test_pipeline
from cnnlstm_mm.layers.gpu.cuda_graphs import GraphCache
from cnnlstm_mm.models.fit import check_channels
from cnnlstm_mm.resources import find_config
from cnnlstm_mm.weights import check_device, load_complete, model_id
from mmaction.registry import MODELS

from .base_recognizer import BaseStreamingRecognizer
from .frames import FrameTransform
from .state import StreamState
from .state_checks import Layout, layout
from .step_model import StepModel, check_streamable


class StreamingRecognizer(BaseStreamingRecognizer):
    """Scores after every frame of a batch of streams, at the cost of one frame.

    ::

        rec = StreamingRecognizer('config.py', 'epoch_8.pth')
        state = None
        for frame in camera:  # uint8 RGB [H, W, 3]
            scores, state = rec.step([frame], state)  # [1, classes]

    After T frames the scores are those of ``cnnlstm-mm test`` on a clip of these T frames, for a
    test pipeline with one view. States are explicit: pickle, :meth:`~StreamState.select` and
    :meth:`~StreamState.cat` them at will.

    Args:
        config: of a Recognizer3D with TimeDistributed, a recurrent neck and a head.
        checkpoint: its weights; None for random ones.
        device: where the model runs.
        dtype: torch.bfloat16 runs the convolutions in it where the device has instructions for it;
            elsewhere they run in float32, with a warning.
        check: when to test frames, states and scores for NaN: 'always', 'first' (when streams
            begin) or 'never'. On a GPU a test makes the host wait.
        cuda_graph: replays each step as one CUDA graph, for streams on a GPU whose number and frame
            size stay: the first step of each takes longer, 8 are held.

    Raises:
        ValueError: if the model or its test pipeline cannot run frame by frame, the device does
            not exist here, or ``cuda_graph`` without a GPU; the message says what to change.
        RuntimeError: if the checkpoint does not fit the config.
    """

    State = StreamState
    labels: list[str] | None = None

    def __init__(
        self,
        config: str | Path | Config,
        checkpoint: str | None = None,
        device: str = 'cpu',
        dtype: torch.dtype = torch.float32,
        check: str = 'always',
        cuda_graph: bool = False,
    ) -> None:
        cfg = config if isinstance(config, Config) else Config.fromfile(find_config(str(config)))
        check_classifier(cfg)
        init_default_scope(cfg.get('default_scope', 'mmaction'))
        model = MODELS.build(cfg.model)
        check_streamable(model)
        if checkpoint is not None:
            load_complete(model, checkpoint)
        self._init(model, cfg, device, dtype, check, cuda_graph)

    @classmethod
    def from_model(
        cls,
        model: nn.Module,
        config: Config,
        device: str = 'cpu',
        dtype: torch.dtype = torch.float32,
        check: str = 'always',
        cuda_graph: bool = False,
    ) -> 'StreamingRecognizer':
        """Create one from a built recognizer, whose weights are copied.

        Args:
            model: the Recognizer3D.
            config: its config, for the test pipeline.
            device: see the class.
            dtype: see the class.
            check: see the class.
            cuda_graph: see the class.
        """
        rec = cls.__new__(cls)
        rec._init(model, config, device, dtype, check, cuda_graph)
        return rec

    @classmethod
    def from_pretrained(
        cls, name: str | Path, revision: str | None = None, **options: Any
    ) -> 'StreamingRecognizer':
        """Create one from a shared model; its class names are in ``labels``.

        Args:
            name: a folder of ``cnnlstm-mm push``, or a repository of the Hugging Face Hub.
            revision: branch, tag or commit of the repository.
            **options: see the class.

        Raises:
            FileNotFoundError: if there is no such folder or repository.
            ValueError: if a file of it is damaged, or its config names what is not registered.
        """
        from cnnlstm_mm.sharing import fetch_bundle, read_bundle

        bundle = read_bundle(fetch_bundle(name, revision))
        rec = cls.from_model(bundle.build(), bundle.config, **options)
        rec.labels = bundle.labels
        return rec

    def _init(
        self,
        model: nn.Module,
        cfg: Config,
        device: str,
        dtype: torch.dtype,
        check: str,
        cuda_graph: bool,
    ) -> None:
        if dtype not in (torch.float32, torch.bfloat16):
            raise ValueError(f'expected dtype torch.float32 or torch.bfloat16, got {dtype}')
        check_channels(model)
        check_device(device)
        pipeline = test_pipeline(cfg)
        super().__init__(FrameTransform.from_pipeline(pipeline), check)
        self.cfg = cfg
        self.device = torch.device(device)
        if cuda_graph and self.device.type != 'cuda':
            raise ValueError(
                f"expected device='cuda' with cuda_graph=True, got {device!r}; fix: leave "
                'cuda_graph out'
            )
        self._graphs = GraphCache() if cuda_graph else None
        self.frame_interval = next(
            (t['frame_interval'] for t in pipeline if 'frame_interval' in t), 1
        )
        self.model_id = model_id(model)
        self.model = StepModel(model, self.device, dtype == torch.bfloat16)
        self.num_classes = model.cls_head.num_classes
        self.normalization = normalization(model.data_preprocessor)
        self._mean, self._std = (
            torch.tensor(self.normalization[name], device=self.device) for name in ('mean', 'std')
        )
        self._layouts: dict[tuple[int, int], Layout] = {}

    def _is_prepared(self, frames: Any) -> bool:
        return isinstance(frames, Tensor) and frames.is_floating_point()

    def _float(self, x: Tensor) -> Tensor:
        return self._to_device(x).float()

    def _normalize(self, images: list[np.ndarray]) -> Tensor:
        x = self._to_device(torch.from_numpy(np.stack(images)))
        if self.normalization['to_rgb']:
            x = x.flip(3)
        x = x.float().sub_(self._mean).div_(self._std)  # [N, h, w, 3]
        return x.permute(0, 3, 1, 2)

    def _to_device(self, x: Tensor) -> Tensor:
        if self.device.type == 'cuda' and x.device.type == 'cpu':
            return x.pin_memory().to(self.device, non_blocking=True)
        return x.to(self.device)

    def _zeros(self, shape: tuple[int, ...], dtype: torch.dtype) -> Tensor:
        return torch.zeros(shape, dtype=dtype, device=self.device)

    def _layout(self, size: tuple[int, int]) -> Layout:
        if size not in self._layouts:
            features = self._features(torch.zeros(1, 3, 1, *size, device=self.device))
            meta = torch.device('meta')
            state = self.model.init_state(1, tuple(features.shape[3:]), meta, size)
            self._layouts[size] = layout(state)
        return self._layouts[size]

    @torch.no_grad()
    def _scores(self, x: Tensor, state: dict[str, Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
        found = next(iter(state.values())).device
        if found.type != self.device.type:
            raise ValueError(
                f'expected the state on {self.device}, the device of the model, got it on {found}; '
                f'fix: state.to("{self.device}")'
            )
        if self._graphs is None:
            return self.model.step(x, state)
        names = tuple(state)

        def step(x: Tensor, *tensors: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
            return self.model.step(x, dict(zip(names, tensors)))

        return self._graphs(names, step, (x, *state.values()))

    @torch.no_grad()
    def _features(self, frames: Tensor) -> Tensor:
        size = tuple(frames.shape[3:])
        try:
            return self.model.features(frames)
        except RuntimeError as error:
            if 'Kernel size' not in str(error):
                raise
            raise ValueError(
                f'expected frames large enough for the backbone, got {size[0]}x{size[1]} '
                f'({error}); fix: feed larger frames'
            ) from None
