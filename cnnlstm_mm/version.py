"""Version of cnnlstm_mm, read by setup.cfg too."""

__version__ = '0.1.0'
