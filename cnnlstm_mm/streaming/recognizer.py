"""Recognition while the video runs."""

from collections.abc import Sequence
from pathlib import Path
from typing import Union

import numpy as np
import torch
from mmengine.config import Config
from mmengine.registry import init_default_scope
from torch import Tensor, nn

from cnnlstm_mm.models.fit import check_channels
from cnnlstm_mm.models.stepping import reset_state
from cnnlstm_mm.weights import load_whole
from mmaction.registry import MODELS

from .facts import fingerprint, normalization, test_pipeline
from .frames import FrameTransform
from .state import StreamState
from .state_checks import blame_nan, check_state
from .step_model import StepModel

Frames = Union[Tensor, np.ndarray, Sequence[np.ndarray]]


class StreamingRecognizer:
    """Scores after every frame of a batch of streams, at the cost of a frame.

    ::

        rec = StreamingRecognizer('config.py', 'epoch_8.pth')
        state = None
        for frame in camera:  # uint8 RGB [H, W, 3]
            scores, state = rec.step([frame], state)  # [1, classes]

    After T frames the scores are those of ``tools/test.py`` on a clip of
    these T frames, for a test pipeline with one view. States are explicit:
    keep, pickle, :meth:`~StreamState.select` and :meth:`~StreamState.cat`
    them at will.

    Args:
        config (str, Path or Config): Of a Recognizer3D with TimeDistributed,
            a recurrent neck and a head.
        checkpoint (str, optional): Its weights. Defaults to None, random
            ones.
        device (str): Defaults to 'cpu'.
        dtype (torch.dtype): torch.bfloat16 runs the convolutions in it where
            the device has it. Defaults to torch.float32.

    Raises:
        ValueError: If the model or its test pipeline cannot run frame by
            frame; the message says what to change.
        RuntimeError: If the checkpoint does not fit the config.
    """

    def __init__(
        self,
        config: str | Path | Config,
        checkpoint: str | None = None,
        device: str = 'cpu',
        dtype: torch.dtype = torch.float32,
    ) -> None:
        cfg = config if isinstance(config, Config) else Config.fromfile(config)
        init_default_scope(cfg.get('default_scope', 'mmaction'))
        model = MODELS.build(cfg.model)
        if checkpoint is not None:
            load_whole(model, checkpoint)
        self._init(model, cfg, device, dtype)

    @classmethod
    def from_model(
        cls,
        model: nn.Module,
        config: Config,
        device: str = 'cpu',
        dtype: torch.dtype = torch.float32,
    ) -> 'StreamingRecognizer':
        """Make one of a model that is built already; it is copied.

        Args:
            model (Recognizer3D): The recognizer.
            config (Config): Its config, for the test pipeline.
            device (str): Defaults to 'cpu'.
            dtype (torch.dtype): See the class.

        Returns:
            StreamingRecognizer: It does not follow later changes of ``model``.
        """
        rec = cls.__new__(cls)
        rec._init(model, config, device, dtype)
        return rec

    def _init(self, model: nn.Module, cfg: Config, device: str, dtype: torch.dtype) -> None:
        if dtype not in (torch.float32, torch.bfloat16):
            raise ValueError(f'dtype must be torch.float32 or torch.bfloat16, got {dtype}')
        check_channels(model)
        pipeline = test_pipeline(cfg)
        self.cfg = cfg
        self.device = torch.device(device)
        self.transform = FrameTransform.from_pipeline(pipeline)
        self.frame_interval = next(
            (t['frame_interval'] for t in pipeline if 'frame_interval' in t), 1
        )
        self.model_id = fingerprint(model)
        self.model = StepModel(model, self.device, dtype == torch.bfloat16)
        self.num_classes = model.cls_head.num_classes
        self.normalization = normalization(model.data_preprocessor)
        self._mean, self._std = (
            torch.tensor(self.normalization[name], device=self.device) for name in ('mean', 'std')
        )
        self._shapes: dict[tuple[int, int], dict[str, torch.Size]] = {}

    def step(self, frames: Frames, state: StreamState | None = None) -> tuple[Tensor, StreamState]:
        """Take one more frame of each stream.

        Args:
            frames (ndarray, Tensor or Sequence[ndarray]): One a stream: uint8
                RGB [N, H, W, 3], or N arrays [H, W, 3] of any sizes; or
                prepared ones, float [N, 3, h, w] (:meth:`prepare`).
            state (StreamState, optional): The streams before this frame.
                Defaults to None: all begin.

        Returns:
            tuple[Tensor, StreamState]: Scores [N, classes] and the streams
            after this frame; ``state`` is left as it is. The scores are
            probabilities for a head with ``average_clips='prob'``.

        Raises:
            ValueError: For other frames, or a state that is of another model,
                size or number of streams, or has NaN in it.
        """
        scores, state = self._run(self.prepare(frames)[:, :, None], state)
        return scores[:, 0], state

    def steps(self, chunk: Frames, state: StreamState | None = None) -> tuple[Tensor, StreamState]:
        """Take several more frames of each stream.

        Args:
            chunk (ndarray, Tensor or Sequence[ndarray]): uint8 RGB [N, T, H,
                W, 3], or N arrays [T, H, W, 3]; or prepared ones, float [N,
                3, T, h, w].
            state (StreamState, optional): The streams before these frames.
                Defaults to None: all begin.

        Returns:
            tuple[Tensor, StreamState]: Scores after each frame [N, T,
            classes], and the streams after the last.

        Raises:
            ValueError: See :meth:`step`.
        """
        if not _is_prepared(chunk):
            lengths = {len(stream) for stream in chunk}
            if len(lengths) > 1 or 0 in lengths:
                raise ValueError(
                    'a chunk must have the same number of '
                    'frames, at least 1, of each stream, got '
                    f'{sorted(lengths)}'
                )
            frames = [frame for stream in chunk for frame in stream]
            # [N*T, 3, h, w] -> [N, 3, T, h, w]
            chunk = self.prepare(frames).unflatten(0, (len(chunk), -1)).transpose(1, 2)
        return self._run(chunk, state)

    def prepare(self, frames: Frames) -> Tensor:
        """Resize, crop and normalize frames as in a test of the config.

        Args:
            frames (ndarray, Tensor or Sequence[ndarray]): See :meth:`step`;
                prepared ones are only moved to the device.

        Returns:
            Tensor: float32 [N, 3, h, w] on the device, in channels_last.

        Raises:
            ValueError: For other frames, or frames that end in several sizes.
        """
        if _is_prepared(frames):
            if frames.dim() != 4 or frames.shape[1] != 3:
                raise ValueError(
                    f'prepared frames must be float [N, 3, h, w], got {list(frames.shape)}'
                )
            return frames.to(self.device, torch.float32)
        done = [self.transform(np.asarray(frame)) for frame in frames]
        sizes = {frame.shape for frame in done}
        if len(sizes) != 1:
            raise ValueError(
                f'the frames end in sizes {sorted(sizes)} and cannot be one '
                'batch: use a CenterCrop in the test pipeline, or one state '
                'a stream.'
                if sizes
                else 'there are no frames'
            )
        x = torch.from_numpy(np.stack(done)).to(self.device)
        if self.normalization['to_rgb']:
            x = x.flip(3)
        x = x.float().sub_(self._mean).div_(self._std)  # [N, h, w, 3]
        return x.permute(0, 3, 1, 2)

    def init_state(self, batch: int = 1, frame_size: tuple[int, int] | None = None) -> StreamState:
        """Make streams that have not begun, to join others.

        Args:
            batch (int): How many. Defaults to 1.
            frame_size (tuple[int], optional): Height and width of prepared
                frames, needed if the test pipeline leaves them to the source.

        Returns:
            StreamState: All zeros.

        Raises:
            ValueError: If the size is neither given nor in the pipeline.
        """
        size = frame_size or self.transform.size
        if size is None:
            raise ValueError(
                'the test pipeline leaves the size of a frame to '
                'the source: pass frame_size=(height, width).'
            )
        features = self._features(torch.zeros(1, 3, 1, *size, device=self.device))
        return self._wrap(self.model.init_state(batch, tuple(features.shape[3:]), self.device))

    def reset(self, state: StreamState, mask: Tensor | Sequence[bool]) -> StreamState:
        """Let some streams begin anew.

        Args:
            state (StreamState): N streams.
            mask (Tensor or Sequence[bool]): bool [N], which of them.

        Returns:
            StreamState: A new state; ``state`` is left as it is.

        Raises:
            ValueError: If ``mask`` is no bool [N].
        """
        mask = torch.as_tensor(mask, device=self.device)
        if mask.dtype != torch.bool or mask.shape != (len(state),):
            raise ValueError(
                f'mask must be bool [{len(state)}], got {mask.dtype} {list(mask.shape)}'
            )
        return self._wrap(reset_state(state.tensors, mask))

    @torch.no_grad()
    def _run(self, frames: Tensor, state: StreamState | None) -> tuple[Tensor, StreamState]:
        try:
            features = self._features(frames.to(self.device, torch.float32))
        except RuntimeError as error:
            if 'Kernel size' not in str(error):
                raise
            raise ValueError(
                f'frames of {frames.shape[3]}x{frames.shape[4]} are too small '
                f'for the backbone ({error}): feed larger ones.'
            ) from None
        size = tuple(features.shape[3:])
        if state is None:
            tensors = self.model.init_state(len(frames), size, self.device)
        else:
            if size not in self._shapes:
                empty = self.model.init_state(1, size, torch.device('meta'))
                self._shapes[size] = {name: tensor.shape[1:] for name, tensor in empty.items()}
            check_state(state, self.model_id, len(frames), self._shapes[size], self.device)
            tensors = state.tensors
        scores, after = self.model(features, tensors)
        # oneDNN's fused ReLU6 turns NaN of a frame into a number.
        if not (scores.isfinite().all() and frames.isfinite().all()):
            raise ValueError(blame_nan(tensors, frames, scores))
        return scores, self._wrap(after)

    @torch.no_grad()
    def _features(self, frames: Tensor) -> Tensor:
        return self.model.features(frames)

    def _wrap(self, tensors: dict[str, Tensor]) -> StreamState:
        return StreamState(tensors, self.model_id)


def _is_prepared(frames: Frames) -> bool:
    return isinstance(frames, Tensor) and frames.is_floating_point()
