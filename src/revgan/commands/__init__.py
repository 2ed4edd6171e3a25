"""The commands, which put the package's rooms together."""
