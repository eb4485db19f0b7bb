"""The subcommands of ``cnnlstm-mm``, a module with ``main(argv)`` each."""
