"""mmpretrain and timm, with or without torchvision."""

import importlib

from cnnlstm_mm.models.backbones.torchvision_stand_in import without_torchvision


def import_mmpretrain() -> None:
    """Import mmpretrain, timm and what MMAction2 makes of mmpretrain.

    Raises:
        ModuleNotFoundError: Where mmpretrain or timm is not installed.
    """
    with without_torchvision():
        importlib.import_module('mmpretrain.models')
        importlib.import_module('timm')
        importlib.import_module('mmaction.models.backbones.mobileone_tsm')
