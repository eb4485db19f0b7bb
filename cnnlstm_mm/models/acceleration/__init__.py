"""Inference-only copies of backbones and cheaper training activations."""
