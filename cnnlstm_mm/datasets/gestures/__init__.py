"""Drawn clips of a hand or a blob that traces a path: order without videos."""

from .drawn_gesture_dataset import DrawnGestureDataset

__all__ = ['DrawnGestureDataset']
