"""Files of images and volumes: one contract, and one module per family of formats.

All other code talks to `files.py`. To add a family, add a module here with a subclass of
`revgan.data.formats.contract.Family`, and nothing else.
"""

from revgan.data.formats.contract import (
    NOWHERE,
    WHOLE,
    Affine,
    Ground,
    Header,
    Listing,
    Passed,
    Place,
    Scan,
    Selection,
    Values,
    Window,
)
from revgan.data.formats.files import cut, header_of_part, open, probe, read, understood
from revgan.data.formats.kinds import KINDS, Kind
from revgan.data.formats.listing import gathered, passed_over, scans_in
from revgan.data.formats.registry import is_scan, stem, suffix_of, suffixes, writable
from revgan.data.formats.writing import create, holds, require_holds, write

__all__ = [
    "KINDS",
    "NOWHERE",
    "WHOLE",
    "Affine",
    "Ground",
    "Header",
    "Kind",
    "Listing",
    "Passed",
    "Place",
    "Scan",
    "Selection",
    "Values",
    "Window",
    "create",
    "cut",
    "gathered",
    "header_of_part",
    "holds",
    "is_scan",
    "open",
    "passed_over",
    "probe",
    "read",
    "require_holds",
    "scans_in",
    "stem",
    "suffix_of",
    "suffixes",
    "understood",
    "writable",
    "write",
]
