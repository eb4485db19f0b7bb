"""Feature store: extraction, files and the modules that train on them."""
