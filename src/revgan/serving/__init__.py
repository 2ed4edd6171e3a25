"""The web page for a trained model: drop a file, look at its translation, download it."""

from revgan.serving.server import Address, Limits, opened, serve

__all__ = ["Address", "Limits", "opened", "serve"]
