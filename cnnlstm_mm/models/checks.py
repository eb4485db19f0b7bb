"""Parts that do not go together, told before the first batch."""
from torch import nn


def check_channels(model: nn.Module) -> None:
    """Compare what a neck of this package gives with what the head takes.

    What the neck takes is compared with the backbone's feature in its first
    forward pass.

    Args:
        model (Recognizer3D): The recognizer; one with other parts is passed
            over.

    Raises:
        ValueError: With both numbers and the key to change.
    """
    gives = getattr(getattr(model, 'neck', None), 'out_channels', None)
    takes = getattr(getattr(model, 'cls_head', None), 'in_channels', None)
    if isinstance(gives, int) and isinstance(takes, int) and gives != takes:
        raise ValueError(
            f'{type(model.cls_head).__name__} has in_channels={takes}, but '
            f'{type(model.neck).__name__} gives {gives} channels: set '
            f'model.cls_head.in_channels={gives}.')
