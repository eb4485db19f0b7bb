"""Answers for files, folders and lists without labels; the work of cnnlstm-mm predict."""
