"""Cost of a model, and its use of the order of frames."""
