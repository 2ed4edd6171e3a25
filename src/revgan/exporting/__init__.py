"""Trained models as files that other programs run: ONNX, and PyTorch's pt2."""

from revgan.exporting.checking import Difference
from revgan.exporting.files import ExportOptions, export_model

__all__ = ["Difference", "ExportOptions", "export_model"]
