"""Where the gradient of what f and g compute leads: to their inputs and weights, and nowhere else.

A recomputation hands gradients to the tensors that it knows of. One that reaches f or g by another
way, as an attribute or from the scope around it, would silently get none.
"""

from collections.abc import Iterable
from typing import Any

from torch import Tensor, nn


def refuse_other_origins(features: Tensor, origins: Iterable[Tensor]) -> None:
    """Sees to it that gradients of the features reach these origins only.

    Raises:
        RuntimeError: they also depend on another tensor that requires a gradient.
    """
    if features.grad_fn is None:
        return
    leaves, edges = set(), set()
    for origin in origins:
        if origin.grad_fn is None:
            leaves.add(id(origin))
        else:
            edges.add((origin.grad_fn, origin.output_nr))
    seen: set[Any] = {features.grad_fn}
    nodes: list[Any] = [features.grad_fn]
    while nodes:
        node = nodes.pop()
        earlier = node.next_functions
        # A node without earlier ones stands for a tensor that nothing made.
        if not earlier and id(getattr(node, "variable", None)) not in leaves:
            _refuse(node)
        for edge in earlier:
            before = edge[0]
            if before is not None and before not in seen and edge not in edges:
                seen.add(before)
                nodes.append(before)


def _refuse(node: Any) -> None:
    leaf = getattr(node, "variable", None)
    what = "a tensor" if leaf is None else f"a tensor of shape {tuple(leaf.shape)}"
    advice = "hand it, or what is computed from it, to the core as core(x, condition)"
    if isinstance(leaf, nn.Parameter):
        advice += "; or if it is a sharded weight, shard the blocks or the core, not f and g alone"
    raise RuntimeError(
        f"f or g of a reversible core that saves memory used {what} that requires a gradient and "
        "is neither among its parameters nor a condition, so that its gradient would be lost; "
        f'{advice}; or set memory_saving=False (memory="naive" in RevGenerator)'
    )
