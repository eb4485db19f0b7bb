"""Inference copies of backbones, and a cheaper activation for training."""
