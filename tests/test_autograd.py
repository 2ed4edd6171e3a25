"""Autograd sees a reversible core as it sees any other network."""

import threading

import pytest
import torch
from torch import nn
from torch.autograd import forward_ad
from torch.utils.checkpoint import checkpoint

from cores import (
    DIRECTIONS,
    additive_core,
    core_of,
    gradients,
    naive_twin,
    residual,
    run,
    same_bits,
)
from revgan.memory import measure_step
from revgan.reversible import AdditiveCoupling, ReversibleSequential, round_to_grid

# PyTorch's own, as it imports its forward-mode derivatives.
pytestmark = pytest.mark.filterwarnings("ignore:.*torch.jit.*:DeprecationWarning")


def image(requires_grad: bool = False) -> torch.Tensor:
    return torch.randn(1, 6, 8, 8, requires_grad=requires_grad)


def test_backward_can_run_twice_over_a_retained_graph():
    core = additive_core(3)
    y = core(image()).square().sum()
    first = torch.autograd.grad(y, core.parameters(), retain_graph=True)
    second = torch.autograd.grad(y, core.parameters())
    assert same_bits(first, second)
    with pytest.raises(RuntimeError, match="second time"):
        torch.autograd.grad(y, core.parameters())


@pytest.mark.parametrize("direction", DIRECTIONS)
@pytest.mark.parametrize("block", [0, 2, 3])
def test_gradients_of_some_weights_only(block, direction):
    core = additive_core(4)
    x = image()
    _, (_, *expected) = gradients(core, x, direction)
    names = [name for name, _ in core.named_parameters()]
    loss = run(core, x, direction).square().sum()
    wanted = [i for i, name in enumerate(names) if name.startswith(f"blocks.{block}.")]
    for _ in range(2):  # what one backward pass leaves half done must not reach the next
        some = [list(core.parameters())[i] for i in wanted]
        grads = torch.autograd.grad(loss, some, retain_graph=True)
        assert same_bits(grads, [expected[i] for i in wanted])
    assert same_bits(torch.autograd.grad(loss, core.parameters()), expected)


def held_halves(loss: torch.Tensor) -> int:
    """How many pairs of halves wait in the graph behind a loss."""
    seen, nodes = set(), [loss.grad_fn]
    while nodes:
        node = nodes.pop()
        if node is not None and node not in seen:
            seen.add(node)
            nodes += [earlier for earlier, _ in node.next_functions]
    return sum(len(getattr(node, "handed_over", ())) for node in seen)


def test_backward_passes_hold_nothing_when_they_are_over():
    core = additive_core(3)
    loss = core(image(requires_grad=True)).square().sum()
    torch.autograd.grad(loss, core.blocks[1].parameters(), retain_graph=True)
    assert held_halves(loss) == 0
    loss.backward()
    assert held_halves(loss) == 0


def test_a_first_part_that_needs_no_gradient():
    core = additive_core(4)
    core.blocks[:2].requires_grad_(False)
    core.blocks[3].f.requires_grad_(False)
    x = image()
    results = []
    for c in (core, naive_twin(core)):
        c(x).square().sum().backward()
        results.append({name: p.grad for name, p in c.named_parameters() if p.grad is not None})
    ours, naive = results
    assert ours.keys() == naive.keys()
    assert same_bits(ours.values(), naive.values())


def test_a_frozen_core_passes_gradients_through():
    core = additive_core(3).requires_grad_(False)
    x = image(requires_grad=True)
    ours, naive = (torch.autograd.grad(c(x).square().sum(), x) for c in (core, naive_twin(core)))
    assert same_bits(ours, naive)
    assert not core(image()).requires_grad


def test_an_exception_in_a_backward_pass_does_not_spoil_the_next():
    core = additive_core(3)
    x = image()
    _, (_, *expected) = gradients(core, x)
    loss = core(x).square().sum()

    def interrupt(grad):
        raise KeyboardInterrupt

    parameter = core.blocks[1].f[0].weight
    hook = parameter.register_hook(interrupt)
    with pytest.raises(KeyboardInterrupt):
        loss.backward(retain_graph=True)
    hook.remove()
    assert same_bits(torch.autograd.grad(loss, core.parameters()), expected)


def in_threads(jobs) -> list:
    """What the jobs return, run at once."""
    results = [None] * len(jobs)
    start = threading.Barrier(len(jobs))

    def work(i):
        start.wait()
        results[i] = jobs[i]()

    threads = [threading.Thread(target=work, args=(i,)) for i in range(len(jobs))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return results


@pytest.mark.parametrize("stored_blocks", [0, 2])
def test_threads_may_train_one_core_at_once(stored_blocks):
    core = additive_core(6, stored_blocks=stored_blocks)
    parameters = list(core.parameters())
    inputs = [torch.randn(2, 6, 24, 24) for _ in range(3)]

    def train(x):
        return [torch.autograd.grad(core(x).square().sum(), parameters) for _ in range(5)]

    found = in_threads([lambda x=x: train(x) for x in inputs])
    for x, results in zip(inputs, found, strict=True):
        expected = torch.autograd.grad(core(x).square().sum(), parameters)
        assert all(same_bits(grads, expected) for grads in results)


def test_threads_may_walk_one_graph_at_once():
    core = additive_core(6)
    parameters = list(core.parameters())
    y = core(torch.randn(2, 6, 24, 24))
    losses = [y.square().sum(), y.sin().sum()]

    def backward(loss):
        return torch.autograd.grad(loss, parameters, retain_graph=True)

    found = in_threads([lambda x=x: [backward(x) for _ in range(5)] for x in losses])
    for loss, results in zip(losses, found, strict=True):
        assert all(same_bits(grads, backward(loss)) for grads in results)


def test_hooks_on_parameters_see_the_sum_over_all_uses_once():
    core = additive_core(2)
    parameter = next(core.parameters())
    seen, accumulated = [], []
    parameter.register_hook(lambda grad: seen.append(grad.clone()))
    parameter.register_post_accumulate_grad_hook(lambda p: accumulated.append(p.grad.clone()))
    core(core(image())).sum().backward()
    assert len(seen) == len(accumulated) == 1
    assert torch.equal(seen[0], parameter.grad)
    assert torch.equal(accumulated[0], parameter.grad)


def test_hooks_on_activations_and_modules_see_and_change_the_gradient():
    core = additive_core(2)
    twin = naive_twin(core)
    x = image()

    def grads(c):
        seen = []
        c.register_full_backward_hook(lambda net, into, out: seen.extend([*into, *out]))
        c.blocks[0].g.register_full_backward_hook(lambda net, into, out: seen.extend(into))
        hidden = x * next(c.parameters()).sum()
        hidden.register_hook(lambda grad: 2 * grad)
        y = c(hidden)
        y.register_hook(lambda grad: 3 * grad)
        return [*torch.autograd.grad(y.square().sum(), c.parameters()), *seen]

    ours = grads(core)
    assert len(ours) == len(list(core.parameters())) + 3
    assert same_bits(ours, grads(twin))


@pytest.mark.parametrize("saving", [True, False])
def test_hooks_on_blocks_fire_once_and_may_change_what_they_see(saving):
    core = additive_core(3, stored_blocks=1, memory_saving=saving)
    plain = nn.Sequential(*naive_twin(core))
    x = round_to_grid(image())
    results = []
    for network, block in ((core, core.blocks[1]), (plain, plain[1])):
        seen, taps = [], []
        block.register_forward_pre_hook(lambda net, args, seen=seen: seen.append(args[0]))
        block.register_forward_hook(lambda net, args, out, taps=taps: taps.append(out) or 2 * out)
        block.register_full_backward_hook(lambda net, into, out, seen=seen: seen.extend(into + out))
        loss = network(x).square().sum() + taps[0].square().sum()
        grads = torch.autograd.grad(loss, list(network.parameters()))
        assert [len(seen), len(taps)] == [3, 1]
        results.append([*seen, *taps, *grads])
    assert same_bits(*results)
    with torch.no_grad():
        assert core.inverse(core(x)).isfinite().all()  # a call more, and none by the inverse
    assert len(seen) == 3


def test_a_block_with_hooks_is_recomputed_as_well():
    kept = []
    for hooked in (False, True):
        core = additive_core(4, channels=16)
        if hooked:
            core.blocks[2].register_forward_hook(lambda *args: None)
        x = torch.randn(1, 16, 32, 32)
        graph = []
        kept.append(measure_step(lambda core=core, x=x, g=graph: g.append(core(x))).retained)
    half = 4 * 8 * 32 * 32
    # The output and its halves; and three times the halves between the block and the others.
    assert kept[1] - kept[0] <= 6 * half + 2**16


def test_hooks_on_all_modules_see_blocks_too():
    core = additive_core(2)
    x = image()
    expected = gradients(core, x)[1]
    kinds = []
    hook = torch.nn.modules.module.register_module_forward_hook(
        lambda net, args, out: kinds.append(type(net))
    )
    with hook:
        loss = core(x).square().sum()
        assert kinds.count(AdditiveCoupling) == 2
        grads = torch.autograd.grad(loss, core.parameters())
    assert same_bits(grads, expected[1:])


@pytest.mark.filterwarnings("ignore:Anomaly Detection has been enabled")
def test_anomaly_mode():
    core = additive_core(2)
    x = image()
    with torch.autograd.set_detect_anomaly(True):
        assert same_bits(gradients(core, x)[1], gradients(naive_twin(core), x)[1])


@pytest.mark.parametrize("reentrant", [True, False])
def test_checkpoint_around_the_core(reentrant):
    core = additive_core(2)
    x = image(requires_grad=True)
    loss = checkpoint(core, x, use_reentrant=reentrant).square().sum()
    loss.backward()
    assert same_bits([x.grad, *(p.grad for p in core.parameters())], gradients(core, x.detach())[1])


def test_activations_kept_elsewhere():
    core = additive_core(2)
    x = image()
    with torch.autograd.graph.save_on_cpu():
        _, grads = gradients(core, x)
    assert same_bits(grads, gradients(core, x)[1])


def test_a_weight_changed_between_forward_and_backward_is_noticed():
    core = additive_core(2)
    loss = core(image()).sum()
    with torch.no_grad():
        next(core.parameters()).mul_(2)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        loss.backward()


def test_nets_that_change_their_input_are_refused():
    # The half that they would change belongs to the next step as well.
    core = core_of(lambda: nn.ReLU(inplace=True), 1)
    with pytest.raises(RuntimeError, match="in-place operation"):
        core(image())


def test_batched_gradients():
    core = additive_core(2)
    twin = naive_twin(core)
    x = image(requires_grad=True)
    grad = torch.randn(3, *x.shape)
    ours, naive = (
        torch.autograd.grad(c(x), [x, *c.parameters()], grad, is_grads_batched=True)
        for c in (core, twin)
    )
    assert same_bits(ours, naive)


def squared(core):
    return lambda x: core(x).square().sum()


def hessian(core, x):
    return torch.autograd.functional.hessian(squared(core), x)


def gradient_of_gradient(core, x):
    x = x.clone().requires_grad_()
    (grad,) = torch.autograd.grad(squared(core)(x), x, create_graph=True)
    return torch.autograd.grad(grad.square().sum(), x)[0]


def dual(core, x):
    with forward_ad.dual_level():
        return forward_ad.unpack_dual(core(forward_ad.make_dual(x, x))).tangent


def per_sample(core, x):
    return torch.func.vmap(torch.func.grad(squared(core)))(x[None])[0]


HIGHER = {
    "hessian": hessian,
    "gradient of gradient": gradient_of_gradient,
    "dual": dual,
    "func.grad": lambda core, x: torch.func.grad(squared(core))(x),
    "func.jvp": lambda core, x: torch.func.jvp(core.inverse, (x,), (x,))[1],
    "func.hessian": lambda core, x: torch.func.hessian(squared(core))(x),
    "vmap": lambda core, x: torch.func.vmap(core)(x[None])[0],
    "per sample": per_sample,
}


@pytest.mark.parametrize("name", HIGHER)
def test_what_a_recomputation_cannot_do_is_refused_in_one_sentence(name):
    core = core_of(lambda: residual(1), 2)
    with pytest.raises(RuntimeError, match=r"first derivatives only.*memory_saving=False"):
        HIGHER[name](core, torch.randn(1, 2, 3, 3))


class Unrounded(AdditiveCoupling):
    """The coupling as mathematics has it, for which PyTorch's derivatives are a reference."""

    def couple(self, target, features):
        return target + features

    def uncouple(self, target, features):
        return target - features


@pytest.mark.parametrize("name", HIGHER)
def test_a_naive_run_has_all_derivatives(name):
    def smooth():
        return nn.Sequential(nn.Conv2d(1, 1, 3, padding=1), nn.Tanh())

    core = core_of(smooth, 2, memory_saving=False).double()
    plain = (Unrounded(block.f, block.g, exact=False) for block in core)
    reference = ReversibleSequential(*plain, memory_saving=False)
    x = torch.randn(1, 2, 3, 3, dtype=torch.float64)
    # Rounding to multiples of 2**-45 = 3e-14 passes derivatives straight through.
    expected = HIGHER[name](reference, x)
    assert torch.allclose(HIGHER[name](core, x), expected, rtol=1e-10, atol=1e-10)


def test_vmap_of_a_core_that_need_not_be_differentiated():
    core = additive_core(2)
    x = torch.randn(3, 1, 6, 4, 4)
    with torch.no_grad():
        together, alone = torch.func.vmap(core)(x), torch.stack([core(sample) for sample in x])
    # On some CPUs a convolution over three samples adds in another order than one over each: that
    # may tip the rounding of f and g by a step of the grid, 2**-16, in each of four additions.
    torch.testing.assert_close(together, alone, rtol=0, atol=8 * 2**-16)
