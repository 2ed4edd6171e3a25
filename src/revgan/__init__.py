"""Memory-efficient image-to-image translation in 2D and 3D with reversible GANs."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from revgan.inference import Translator

__version__ = "0.1.0"
__all__ = ["Translator", "__version__"]


def __getattr__(name: str) -> Any:
    # Imported on first use: PyTorch takes seconds, and `revgan --help` doesn't need it.
    if name == "Translator":
        from revgan.inference import Translator

        return Translator
    raise AttributeError(f"module 'revgan' has no attribute {name!r}")
