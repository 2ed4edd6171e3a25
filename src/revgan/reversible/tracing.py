"""Whether a network is being written down as a graph, for export, rather than run."""

import torch


def exporting() -> bool:
    """Whether `torch.export` or `torch.jit.trace` records what runs.

    They record plain operators alone. What a module does by `torch.autograd.Function`, to save
    memory in training, has to be done by those then, with the same values.
    """
    return traced() or torch.compiler.is_exporting()


def traced() -> bool:
    """Whether `torch.jit.trace` records what runs."""
    tracing: bool = torch.jit.is_tracing()  # type: ignore[attr-defined, no-untyped-call]
    return tracing


def plain_only() -> bool:
    """Whether a graph of plain operators is asked for: for export, compilation or `torch.func`."""
    # PyTorch has no public way to ask for torch.func's transforms.
    functorch: bool = torch._C._are_functorch_transforms_active()
    return functorch or torch.compiler.is_compiling() or exporting()
