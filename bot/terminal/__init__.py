"""The command line, one subcommand a file; heavy imports wait until a command needs them."""
