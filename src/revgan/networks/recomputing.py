"""Running layers a second time, so that their activations need not be stored."""

from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint, noop_context_fn

from revgan.networks.layers import BatchNorm
from revgan.reversible.tracing import exporting


class Recomputed(nn.Sequential):
    """Layers in a row that store only their input: the backward pass runs them again.

    A final tanh is not run again: it stores its small output. So the second run may stop before a
    decoder's last and most expensive convolution, as soon as that has its input.

    Args:
        *args: the layers, as for `nn.Sequential`; they must not draw random numbers.
    """

    # As for the reversible core: torch.compile compiles what surrounds it. (The public
    # torch.compiler.disable imports the whole compiler; this one, which has no types, does not.)
    @torch._disable_dynamo  # type: ignore[attr-defined]
    def forward(self, x: Tensor) -> Tensor:
        y: Tensor
        if not torch.is_grad_enabled() or exporting():
            y = self._run(x)
        elif isinstance(self[-1], nn.Tanh):
            y = self[-1](self[:-1](x))
        else:
            batch_norm = any(isinstance(module, BatchNorm) for module in self.modules())
            y = checkpoint(
                self._run,
                x,
                use_reentrant=False,
                preserve_rng_state=False,
                context_fn=self._contexts if batch_norm else noop_context_fn,
            )
        return y

    def _run(self, x: Tensor) -> Tensor:
        for layer in self:
            x = layer(x)
        return x

    def _contexts(self) -> tuple[AbstractContextManager[None], AbstractContextManager[None]]:
        """Of the first and of the second run."""
        return nullcontext(), FrozenStatistics(self)


class FrozenStatistics(AbstractContextManager[None]):
    """A context in which batch norms in training leave their running statistics as they are.

    All else stays the same, even what autograd keeps, as `torch.utils.checkpoint` requires. It may
    be entered several times, one after the other.

    Args:
        module: the one that contains the batch norms.
    """

    def __init__(self, module: nn.Module) -> None:
        self._norms = [m for m in module.modules() if isinstance(m, BatchNorm)]

    def __enter__(self) -> None:
        self._before = [(norm.momentum, norm.num_batches_tracked) for norm in self._norms]
        for norm in self._norms:
            norm.momentum, norm.num_batches_tracked = 0.0, None

    def __exit__(self, *error: object) -> None:
        for norm, (momentum, batches) in zip(self._norms, self._before, strict=True):
            norm.momentum, norm.num_batches_tracked = momentum, batches
