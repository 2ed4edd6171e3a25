"""What this machine offers: devices, versions, where caches go."""

import os
import platform
from importlib.metadata import version
from pathlib import Path

from revgan.errors import UserError


def require_device(device: str, option: str) -> None:
    """Refuses a device that is not there.

    Args:
        device: "auto", "cpu", "cuda" or "mps".
        option: what the user calls the choice.

    Raises:
        UserError: the device asked for is not there.
    """
    import torch  # here, because the help of commands does without

    usable = ["auto", "cpu"]
    if torch.cuda.is_available():
        usable.append("cuda")
    if torch.backends.mps.is_available():
        usable.append("mps")
    if device not in usable:
        raise UserError(
            f"{option} {device} is not available on this machine; use one of {', '.join(usable)}"
        )


def cache_folder() -> Path:
    """Where sample sets and decoded images are kept between runs."""
    cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(cache) / "revgan"


def library_versions() -> dict[str, str]:
    """What a result depends on besides its configuration.

    Versions of Python and of the libraries, operating system, processor or GPU, threads: nothing
    that names the machine or its user.
    """
    import torch

    return {
        "python": platform.python_version(),
        **{name: version(name) for name in ("torch", "monai", "accelerate", "revgan")},
        "platform": f"{platform.system()} {platform.machine()}",
        "device": torch.cuda.get_device_name() if torch.cuda.is_available() else cpu_model(),
        "threads": str(torch.get_num_threads()),
    }


def cpu_model() -> str:
    """The processor's name; Linux has it in a file, where Python doesn't look."""
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.exists() else []
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.processor() or platform.machine())
