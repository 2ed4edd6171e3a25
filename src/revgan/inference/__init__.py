"""Translating with a trained model."""

from revgan.inference.padded import translate_padded
from revgan.inference.translator import Translator
from revgan.inference.windows import Windows

__all__ = ["Translator", "Windows", "translate_padded"]
