"""Captions while videos run, in PyTorch."""

import copy
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config
from mmengine.registry import init_default_scope
from torch import Tensor, nn

from cnnlstm_mm.captions.caption_head import CaptionHead
from cnnlstm_mm.models.stepping import State
from cnnlstm_mm.resources import find_config
from cnnlstm_mm.weights import load_complete
from mmaction.registry import MODELS

from .base_captioner import BaseStreamingCaptioner, Captions
from .recognizer import StreamingRecognizer


class StepMemory(nn.Module):
    """Head of a stream: what a caption head attends to, one row a step.

    Args:
        head: the caption head.
    """

    average_clips = None

    def __init__(self, head: CaptionHead) -> None:
        super().__init__()
        self.in_channels = self.num_classes = head.in_channels
        self.keeps_space = head.attend == 'space_time'

    def init_state(self, batch: int, *args: Any) -> State:
        """No state."""
        return {}

    def forward_steps(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        """[N, C, T, h, w] to [N, T, C], or [N, T, h*w*C] for a head that attends to positions."""
        if not self.keeps_space:
            x = x.mean(dim=(3, 4), keepdim=True)
        return x.permute(0, 2, 3, 4, 1).flatten(2), state


class StreamingCaptioner(BaseStreamingCaptioner):
    """Captions of a batch of streams: a frame costs one step, a caption one run of the decoder.

    ::

        captioner = StreamingCaptioner('config.py', 'epoch_8.pth')
        state = None
        for frame in camera:  # uint8 RGB [H, W, 3]
            state = captioner.step([frame], state)
        print(captioner.caption(state)[0][0]['caption'])

    The caption is that of the clip of these frames.

    Args:
        config: of a VideoCaptioner with TimeDistributed, a recurrent neck and a CaptionHead.
        checkpoint: its weights; None for random ones.
        device: where the model runs.
        max_steps: most steps that are kept of each stream, the newest; None keeps all.
        **kwargs: of :class:`StreamingRecognizer`.

    Raises:
        ValueError: if the model writes no captions, or cannot run frame by frame.
        RuntimeError: if the checkpoint does not fit the config.
    """

    def __init__(
        self,
        config: str | Path | Config,
        checkpoint: str | None = None,
        device: str = 'cpu',
        max_steps: int | None = None,
        **kwargs: Any,
    ) -> None:
        cfg = config if isinstance(config, Config) else Config.fromfile(find_config(str(config)))
        init_default_scope(cfg.get('default_scope', 'mmaction'))
        model = MODELS.build(cfg.model)
        if checkpoint is not None:
            load_complete(model, checkpoint)
        self._init(model, cfg, device, max_steps, kwargs)

    @classmethod
    def from_model(
        cls,
        model: nn.Module,
        config: Config,
        device: str = 'cpu',
        max_steps: int | None = None,
        **kwargs: Any,
    ) -> 'StreamingCaptioner':
        """Create one from a built captioner, whose weights are copied; see the class."""
        made = cls.__new__(cls)
        made._init(model, config, device, max_steps, kwargs)
        return made

    def _init(
        self, model: nn.Module, cfg: Config, device: str, max_steps: int | None, options: dict
    ) -> None:
        head = model.cls_head
        if not isinstance(head, CaptionHead):
            raise ValueError(
                f'expected a captioner with a CaptionHead, got {type(head).__name__}; fix: '
                'StreamingRecognizer streams the scores of a recognizer'
            )
        self.head = copy.deepcopy(head).to(device).eval()
        encoder = copy.copy(model)
        encoder._modules = dict(model._modules, cls_head=StepMemory(head))
        rec = StreamingRecognizer.from_model(encoder, cfg, device, **options)
        super().__init__(rec, head.in_channels, head.attend, max_steps)

    @torch.no_grad()
    def _write(self, memory: Tensor, mask: list[list[bool]]) -> list[Captions]:
        valid = torch.tensor(mask, device=memory.device)
        return [self.head.describe(found) for found in self.head.write(memory, valid)]
