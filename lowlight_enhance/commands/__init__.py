"""`lowlight`'s commands: options in, calls, lines out; what a command needs is imported when it runs."""
