"""Data sets: what is downloaded or generated becomes checked lists."""
