"""Files of images and volumes: one contract, one file a family of formats.

`files.py` is what all else talks to. A new family is a new file here with a subclass of
`revgan.data.formats.contract.Family`, and nothing else.
"""

from revgan.data.formats.contract import (
    KINDS,
    Affine,
    Header,
    Kind,
    Scan,
    Selection,
    Values,
    Window,
)
from revgan.data.formats.files import (
    create,
    cut,
    holds,
    open,
    probe,
    read,
    require_holds,
    write,
)
from revgan.data.formats.registry import stem, suffix_of, suffixes

__all__ = [
    "KINDS",
    "Affine",
    "Ground",
    "Header",
    "Kind",
    "Scan",
    "Selection",
    "Values",
    "Window",
    "create",
    "cut",
    "holds",
    "open",
    "probe",
    "read",
    "require_holds",
    "stem",
    "suffix_of",
    "suffixes",
    "write",
]
