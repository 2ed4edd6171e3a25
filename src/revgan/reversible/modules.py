"""What a module consists of, found in one quick walk.

PyTorch's own iterators walk all submodules again for each question, and name them: for a small net
that takes longer than to run it. Its public names have no quicker way to the same dictionaries.
"""

from collections.abc import Iterable

from torch import Tensor, nn


def modules_of(net: nn.Module) -> list[nn.Module]:
    """The module and all that it contains, each once, in the order of `modules()`."""
    found: dict[int, nn.Module] = {}
    _add(net, found)
    return list(found.values())


def _add(module: nn.Module, found: dict[int, nn.Module]) -> None:
    found[id(module)] = module
    for child in module._modules.values():
        if child is not None and id(child) not in found:
            _add(child, found)


def weights_of(modules: Iterable[nn.Module]) -> list[nn.Parameter]:
    """Their parameters, each once, in the order of `parameters()`."""
    weights = [w for module in modules for w in module._parameters.values() if w is not None]
    return list({id(weight): weight for weight in weights}.values())


def first_weight(net: nn.Module) -> nn.Parameter | None:
    """The first of `parameters()`, if there is one."""
    for weight in net._parameters.values():
        if weight is not None:
            return weight
    for child in net._modules.values():
        weight = None if child is None else first_weight(child)
        if weight is not None:
            return weight
    return None


def have_buffers(modules: Iterable[nn.Module]) -> bool:
    """Whether any of them has a buffer."""
    return any(module._buffers for module in modules)


_PLAIN = frozenset(
    {
        nn.Sequential,
        nn.Identity,
        *(nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.Linear),
        *(nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d),
        *(nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d),
        *(nn.ReLU, nn.LeakyReLU, nn.ELU, nn.Tanh, nn.Sigmoid),
    }
)

_REPLACED = frozenset(
    {
        *("weight", "bias", "running_mean", "running_var", "num_batches_tracked"),
        *("forward", "_conv_forward", "_output_padding", "_call_impl", "_compiled_call_impl"),
    }
)
"""What plain layers have as weights, buffers and methods, and not as ordinary attributes."""


def are_plain(modules: Iterable[nn.Module]) -> bool:
    """Whether these modules, all of one net, surely compute the same bits if no graph is recorded.

    Then they draw no random numbers either, nothing but their input and weights requires a
    gradient, and nobody is shown what they compute on the way. Layers of PyTorch's of which that is
    true are listed; the class of another one says so as `plain_layer`.
    """
    return all(map(_is_plain, modules))


def _is_plain(module: nn.Module) -> bool:
    kind = type(module)
    if not (kind in _PLAIN or "plain_layer" in vars(kind)) or has_hooks(module):
        return False
    for weight in module._parameters.values():
        if weight is not None and type(weight) is not nn.Parameter:
            return False
    for buffer in module._buffers.values():
        if buffer is not None and buffer.requires_grad:
            return False
    return _REPLACED.isdisjoint(vars(module))


def is_hooked(weight: Tensor) -> bool:
    """Whether somebody wants to see the sum of the tensor's gradients."""
    return bool(weight._backward_hooks)


def has_hooks(module: nn.Module) -> bool:
    """Whether calling a module does more than run its `forward`; PyTorch asks so before a call."""
    of_all = nn.modules.module._has_any_global_hook()
    return bool(
        of_all
        or module._forward_hooks
        or module._forward_pre_hooks
        or module._backward_hooks
        or module._backward_pre_hooks
    )
