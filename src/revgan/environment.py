"""What this machine offers: devices, versions, and places for caches."""

import os
import platform
import re
from collections.abc import Mapping
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path

import psutil

from revgan import __version__
from revgan.errors import UserError, short

THREADS = ("OMP_NUM_THREADS", "OMP_WAIT_POLICY", "MKL_NUM_THREADS", "CUDA_VISIBLE_DEVICES")
"""Variables that decide where and how quickly a program runs."""

CACHED_KERNELS = 128
"""Twice as many as a training step of a default run makes (57)."""

_KERNEL_CACHES = (
    ("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "DNNL_PRIMITIVE_CACHE_CAPACITY"),
    ("LRU_CACHE_CAPACITY",),
)
"""The variables of oneDNN's cache (of the same meaning, the newer first) and of PyTorch's."""


def bound_kernel_caches() -> None:
    """Lets PyTorch keep `CACHED_KERNELS` kernels on the CPU, where the user hasn't said how many.

    For each shape that a convolution meets, oneDNN makes kernels, and both oneDNN and PyTorch keep
    1,024 of them: memory grew from 270 to 437 MiB over 1,200 images of different sizes, and to 325
    with 128 of each.

    Both libraries read this before their first convolution.
    """
    for names in _KERNEL_CACHES:
        if not any(name in os.environ for name in names):
            os.environ[names[0]] = str(CACHED_KERNELS)


def counted(
    name: str, default: int, least: int = 0, environment: Mapping[str, str] = os.environ
) -> int:
    """The whole number that an environment variable holds.

    Args:
        name: the variable.
        default: where it isn't set, or is empty.
        least: the smallest number that it may hold; none is above 10^9.
        environment: all variables.

    Raises:
        UserError: it holds something else.
    """
    text = environment.get(name) or str(default)
    if not re.fullmatch("[0-9]{1,9}", text) or int(text) < least:
        raise UserError(
            f"the environment variable {name} must be a whole number from {least} up, not "
            f"{short(text)}; unset or correct it"
        )
    return int(text)


def require_device(device: str, option: str) -> None:
    """Refuses a device that isn't available.

    Args:
        device: "auto", "cpu", "cuda" or "mps".
        option: the option's name, for the error.

    Raises:
        UserError: the device isn't available.
    """
    import torch  # here, because commands' help must not import it

    usable = ["auto", "cpu"]
    if torch.cuda.is_available():
        usable.append("cuda")
    if torch.backends.mps.is_available():
        usable.append("mps")
    if device not in usable:
        raise UserError(
            f"{option} {device} is not available on this machine; use one of {', '.join(usable)}"
        )


def usable_cores() -> set[int]:
    """The cores that this process may run on."""
    process = psutil.Process()
    if hasattr(process, "cpu_affinity"):  # not on macOS
        return set(process.cpu_affinity())
    return set(range(psutil.cpu_count() or 1))


def cache_folder() -> Path:
    """Where sample sets and decoded images are kept between runs."""
    cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(cache) / "revgan"


def library_versions() -> dict[str, str]:
    """The software and hardware that results depend on, besides the configuration.

    Versions of Python and of the libraries, operating system, processor or GPU, threads: nothing
    that identifies the machine or its user.
    """
    import torch

    return {
        "python": platform.python_version(),
        **versions_of("torch", "monai", "accelerate", "revgan"),
        "platform": f"{platform.system()} {platform.machine()}",
        "device": torch.cuda.get_device_name() if torch.cuda.is_available() else cpu_model(),
        "threads": str(torch.get_num_threads()),
    }


def versions_of(*packages: str) -> dict[str, str]:
    """The versions of those that are installed; of revgan, also where it runs from its sources."""
    found = {"revgan": __version__} if "revgan" in packages else {}
    for name in packages:
        with suppress(PackageNotFoundError):
            found[name] = version(name)
    return {name: found[name] for name in packages if name in found}


def machine() -> dict[str, str]:
    """What a report of a bug should say of the machine; nothing that identifies it or its user."""
    import torch

    memory, named = psutil.virtual_memory(), library_versions()
    packages: dict[str, str] = {}
    for wanted in requires("revgan") or ():
        if "extra == 'dev'" in wanted.replace('"', "'"):
            continue
        name = re.split(r"[^\w.-]", wanted, maxsplit=1)[0]
        with suppress(PackageNotFoundError):
            packages[name] = version(name)
    gpus = [
        f"{properties.name}, {properties.total_memory / 2**30:.1f} GiB"
        for properties in map(torch.cuda.get_device_properties, range(torch.cuda.device_count()))
    ]
    variables = [f"{name}={os.environ[name]}" for name in THREADS if name in os.environ]
    return {
        "revgan": named["revgan"],
        "python": named["python"],
        "system": f"{named['platform']}, {platform.release()}",
        "processor": f"{cpu_model()}, {len(usable_cores())} of {psutil.cpu_count()} cores",
        "memory": f"{memory.available / 2**30:.1f} of {memory.total / 2**30:.1f} GiB free",
        "threads": ", ".join([named["threads"], *variables]),
        "GPU": "; ".join(gpus)
        or ("Apple's (mps)" if torch.backends.mps.is_available() else "none"),
        "CUDA": torch.version.cuda or "not in this build of PyTorch",
        "packages": ", ".join(f"{name} {number}" for name, number in packages.items()),
    }


def cpu_model() -> str:
    """The processor's name; Linux has it in a file that Python doesn't read."""
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.exists() else []
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.processor() or platform.machine())
