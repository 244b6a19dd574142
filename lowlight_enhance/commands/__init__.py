"""The subcommands of ``lowlight``: they parse options, call the package and print results.

A command imports what it needs when it runs, so that ``lowlight --help`` stays fast.
"""
