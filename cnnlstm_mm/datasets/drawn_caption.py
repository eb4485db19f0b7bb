"""One of a clip's captions, drawn at each visit in training."""

import numpy as np

from mmaction.structures import ActionDataSample


def draw_caption(sample: ActionDataSample) -> None:
    """Draw one of a sample's ``captions`` as ``caption``, with numpy's random state."""
    captions = sample.metainfo['captions']
    sample.set_metainfo(dict(caption=captions[np.random.randint(len(captions))]))
