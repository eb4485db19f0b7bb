"""The checks of ``cnnlstm-mm doctor``; they import the standard library alone."""
