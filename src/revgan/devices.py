"""Which devices this machine can run on."""

import torch

from revgan.errors import UserError


def require_device(device: str, option: str) -> None:
    """Refuses a device that is not there.

    Args:
        device: "auto", "cpu", "cuda" or "mps".
        option: what the user calls the choice.

    Raises:
        UserError: the device asked for is not there.
    """
    usable = ["auto", "cpu"]
    if torch.cuda.is_available():
        usable.append("cuda")
    if torch.backends.mps.is_available():
        usable.append("mps")
    if device not in usable:
        raise UserError(
            f"{option} {device} is not available on this machine; use one of {', '.join(usable)}"
        )
