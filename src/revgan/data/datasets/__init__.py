"""Data sets by name: the built-in samples and the paper's, each written as an ordinary folder."""
