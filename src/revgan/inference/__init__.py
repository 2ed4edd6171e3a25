"""Translating with a trained model."""

from revgan.inference.translator import Translator, translate_padded

__all__ = ["Translator", "translate_padded"]
