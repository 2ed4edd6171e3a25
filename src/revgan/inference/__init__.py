"""Translating with a trained model."""

from revgan.inference.translator import Translator, translate_padded
from revgan.inference.windows import Windows

__all__ = ["Translator", "Windows", "translate_padded"]
