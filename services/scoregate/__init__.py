"""scoregate: what a scoring service is made of. Read README.md in this folder for the order of the rooms."""

__version__ = "0.1.0"
