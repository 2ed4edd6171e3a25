"""What reaches f and g of a reversible core besides their half: right gradients, or an error."""

import pytest
import torch
from torch import nn
from torch.nn.utils.parametrizations import spectral_norm
from torch.utils.checkpoint import checkpoint

from cores import DIRECTIONS, core_of, naive_twin, residual, same_bits
from revgan.reversible import AdditiveCoupling, AffineCoupling, ReversibleSequential


class Conditioned(nn.Module):
    """Uses its condition twice, and a second one, if there is one, once."""

    def __init__(self, channels: int = 3, out: int | None = None):
        super().__init__()
        out = out or channels
        self.conv, self.embed = nn.Conv2d(channels, out, 3, padding=1), nn.Linear(5, out)

    def forward(self, x, condition, more=None):
        scale, shift = self.embed(condition), self.embed(condition.square())
        y = torch.tanh(self.conv(x)) * scale[:, :, None, None] + shift[:, :, None, None]
        return y if more is None else y + 0.1 * more


def run(core, x, direction, *conditions):
    return (core if direction == "forward" else core.inverse)(x, *conditions)


def conditional_gradients(core, direction, conditions, x=None):
    x = torch.linspace(-1, 1, 2 * 6 * 16).view(2, 6, 4, 4) if x is None else x
    x = x.clone().requires_grad_()
    wanted = [c for c in conditions if c.requires_grad]
    y = run(core, x, direction, *conditions)
    return y, *torch.autograd.grad(y.square().sum(), [x, *wanted, *core.parameters()])


@pytest.mark.parametrize("direction", DIRECTIONS)
@pytest.mark.parametrize("stored_blocks", [0, 1])
def test_gradients_to_conditions_equal_naive_ones_bit_for_bit(direction, stored_blocks):
    core = core_of(Conditioned, 3, stored_blocks=stored_blocks)
    embedding = nn.Linear(4, 5)(torch.randn(2, 4))  # of a graph of its own
    conditions = embedding, torch.randn(1, 3, 1, 1, requires_grad=True)
    x = torch.randn(2, 6, 4, 4)
    ours, naive = (
        conditional_gradients(c, direction, conditions, x) for c in (core, naive_twin(core))
    )
    assert same_bits(ours, naive)
    assert conditions[1].grad is None


def test_conditions_undo_and_are_needed():
    core = core_of(Conditioned, 3)
    condition = torch.randn(2, 5)
    with torch.no_grad():
        y = core(torch.randn(2, 6, 4, 4), condition)
        assert torch.equal(core(core.inverse(y, condition), condition), y)
    with pytest.raises(TypeError, match="condition"):
        core(y)
    for network in (core, core.blocks[0]):
        with pytest.raises(TypeError, match="must be a tensor, not a list"):
            network(y, [1.0])


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_conditions_under_autocast_and_in_halves_are_as_exact(dtype):
    class Scaled(Conditioned):
        def forward(self, x, condition):  # one use of each weight, as casts are shared by several
            return self.conv(x) * self.embed(condition)[:, :, None, None]

    core = core_of(Scaled, 2)
    condition = torch.randn(2, 5, requires_grad=True)
    x = torch.randn(2, 6, 4, 4)
    results = []
    for c in (core, naive_twin(core)):
        with torch.autocast("cpu", dtype):
            halves = c.halves(x, condition, inverse=True)
            loss = (halves[0] * halves[1]).sum()
        with torch.autocast("cpu", dtype), torch.no_grad():
            assert torch.equal(torch.cat(halves, 1), c.inverse(x, condition))
        results.append(torch.autograd.grad(loss, [condition, *c.parameters()]))
    assert same_bits(*results)


def test_a_condition_gradients_agree_with_numerical_ones():
    core = core_of(Conditioned, 2).double()
    x, condition = (
        torch.randn(shape, dtype=torch.float64, requires_grad=True)
        for shape in ((1, 6, 2, 2), (1, 5))
    )
    assert torch.autograd.gradcheck(core, [x, condition])


def test_affine_couplings_and_single_blocks_take_conditions():
    block = AffineCoupling(Conditioned(3, 6), Conditioned(3, 6)).double()
    condition = torch.randn(2, 5, dtype=torch.float64, requires_grad=True)
    x = torch.randn(2, 6, 4, 4, dtype=torch.float64)
    torch.testing.assert_close(block.inverse(block(x, condition), condition), x)
    core = ReversibleSequential(block)
    ours, naive = (
        conditional_gradients(c, "forward", [condition], x) for c in (core, naive_twin(core))
    )
    torch.testing.assert_close(ours, naive, rtol=1e-9, atol=1e-11)  # recovered up to rounding


def test_class_numbers_as_a_condition_and_buffers_beside_it():
    class Labelled(nn.Module):
        def __init__(self):
            super().__init__()
            self.table, self.norm = nn.Embedding(4, 3), nn.BatchNorm2d(3)

        def forward(self, x, label):
            return self.norm(x) * self.table(label)[:, :, None, None]

    core = core_of(Labelled, 2)
    label = torch.tensor([3, 1])
    ours, naive = (conditional_gradients(c, "inverse", [label]) for c in (core, naive_twin(core)))
    assert same_bits(ours, naive)


def test_a_condition_changed_before_the_backward_pass_is_noticed():
    core = core_of(Conditioned, 2)
    condition = torch.randn(2, 5)
    loss = core(torch.randn(2, 6, 4, 4), condition).sum()
    condition.mul_(2)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        loss.backward()


class Closure(nn.Module):
    """Uses tensors from outside: an attribute, which nothing registers."""

    def __init__(self):
        super().__init__()
        self.conv, self.scale = nn.Conv2d(3, 3, 3, padding=1), None

    def forward(self, x):
        return self.conv(x) * self.scale


def closing_over(scale, **options):
    core = core_of(Closure, 2, **options)
    for block in core:
        block.f.scale = block.g.scale = scale
    return core


OUTSIDE = {
    "leaf": lambda: torch.ones(3, 1, 1, requires_grad=True),
    "computed": lambda: nn.Linear(2, 3)(torch.ones(2))[:, None, None],
}


@pytest.mark.parametrize("kind", OUTSIDE)
def test_a_gradient_that_would_be_lost_is_refused_and_in_naive_mode_arrives(kind):
    core = closing_over(scale := OUTSIDE[kind]())
    with pytest.raises(RuntimeError, match=r"core\(x, condition\)"):
        core(torch.randn(1, 6, 4, 4))
    core.memory_saving = False
    assert torch.autograd.grad(core(torch.randn(1, 6, 4, 4)).sum(), scale)[0].abs().sum() > 0
    with torch.no_grad():
        core(torch.randn(1, 6, 4, 4))


def test_another_half_or_an_input_from_outside_is_refused():
    core = closing_over(None)
    x = torch.randn(1, 6, 4, 4, requires_grad=True)
    core.blocks[0].f.scale = core.blocks[1].f.scale = x[:, :3]
    core.blocks[0].g.scale = core.blocks[1].g.scale = 1.0
    with pytest.raises(RuntimeError, match="neither among its parameters nor a condition"):
        core(x)


def test_weights_made_by_another_network_are_refused():
    core = core_of(lambda: nn.Conv2d(3, 3, 1), 1)
    maker = nn.Linear(1, 9)
    conv = core.blocks[0].g
    del conv.weight
    conv.weight = maker(torch.ones(1)).view(3, 3, 1, 1)
    with pytest.raises(RuntimeError, match="neither among its parameters nor a condition"):
        core(torch.randn(1, 6, 4, 4))


def test_parametrised_and_functional_weights_are_a_nets_own():
    core = core_of(lambda: spectral_norm(nn.Conv2d(3, 3, 1)), 2)
    twin = naive_twin(core)
    x = torch.randn(1, 6, 4, 4)

    def grads(c):
        weights = {name: 2 * weight for name, weight in c.named_parameters()}
        y = torch.func.functional_call(c, weights, (x,))
        return torch.autograd.grad(y.square().sum(), list(c.parameters()))

    assert same_bits(grads(core), grads(twin))


CHANGES = {
    "an attribute": lambda core: setattr(core.blocks[0].f, "scale", torch.tensor(2.0)),
    "a number": lambda core: setattr(core.blocks[1].g, "scale", 0.5),
    "a weight's data": lambda core: setattr(
        core.blocks[1].f.conv.weight, "data", torch.randn(3, 3, 3, 3)
    ),
    "a weight, past autograd": lambda core: core.blocks[0].g.conv.weight.data.mul_(1.5),
}


@pytest.mark.parametrize("what", CHANGES)
@pytest.mark.parametrize("exact", [True, False])
def test_a_change_before_the_backward_pass_that_makes_gradients_wrong_is_noticed(what, exact):
    core = closing_over(torch.tensor(1.0))
    for block in core:
        block.exact = exact
    loss = core(torch.randn(1, 6, 4, 4)).square().sum()
    CHANGES[what](core)
    with pytest.raises(RuntimeError, match="didn't recover its input"):
        loss.backward()


def test_such_a_change_is_noticed_behind_a_frozen_first_block():
    core = closing_over(torch.tensor(1.0))
    core.blocks[0].requires_grad_(False)
    loss = core(torch.randn(1, 6, 4, 4)).square().sum()
    core.blocks[1].g.scale = 3.0
    with pytest.raises(RuntimeError, match="didn't recover its input"):
        loss.backward()


def test_weights_put_in_place_of_others_before_the_backward_pass_change_nothing():
    core = core_of(lambda: residual(3), 2)
    x = torch.randn(1, 6, 4, 4)

    def grads(c):
        weights = list(c.parameters())
        loss = c(x).square().sum()
        for net in (c.blocks[0].f, c.blocks[1].g):
            net[0].weight = nn.Parameter(torch.randn(3, 3, 3, 3))
        return torch.autograd.grad(loss, weights)

    twin = naive_twin(core)
    assert same_bits(grads(core), grads(twin))


def test_modules_and_weights_added_before_the_backward_pass_are_named():
    core = core_of(lambda: residual(3), 1)
    net = core.blocks[0].f
    for add in (
        lambda: net.append(nn.Conv2d(3, 3, 1)),
        lambda: net.register_parameter("more", nn.Parameter(torch.ones(1))),
    ):
        loss = core(torch.randn(1, 6, 4, 4)).sum()
        add()
        with pytest.raises(RuntimeError, match="after the backward pass"):
            loss.backward()


class Noisy(nn.Module):
    """Draws from a generator of its own."""

    def __init__(self):
        super().__init__()
        self.conv, self.generator = nn.Conv2d(3, 3, 1), torch.Generator().manual_seed(3)

    def forward(self, x):
        kept = torch.rand(x.shape, generator=self.generator) < 0.9
        return self.conv(x) * kept


def test_a_net_with_a_generator_of_its_own_is_recomputed_with_the_same_draws():
    core = core_of(Noisy, 3)
    x = torch.randn(1, 6, 4, 4)
    results = []
    for saving in (True, False):
        core.memory_saving = saving
        for block in core:
            for net in (block.f, block.g):
                net.generator.manual_seed(7)
        y = core(x)
        results.append([*torch.autograd.grad(y.square().sum(), core.parameters())])
        results[-1] += [torch.rand(2, generator=block.g.generator) for block in core]
    assert same_bits(*results)


def test_checkpoints_inside_a_net_are_recomputed_with_it():
    class Checkpointed(nn.Module):
        def __init__(self):
            super().__init__()
            self.layers = nn.Sequential(nn.Conv2d(3, 3, 1), nn.Dropout(0.5), nn.Conv2d(3, 3, 1))

        def forward(self, x):
            return checkpoint(self.layers, x, use_reentrant=False)

    core = core_of(Checkpointed, 2)
    x = torch.randn(1, 6, 4, 4)
    results = []
    for c in (core, naive_twin(core)):
        torch.manual_seed(2)
        results.append(torch.autograd.grad(c(x).square().sum(), c.parameters()))
    assert same_bits(*results)


def test_draws_that_cannot_be_replayed_are_noticed():
    outside = torch.Generator()

    class Random(nn.Module):
        def forward(self, x):
            return x + torch.randn(x.shape, generator=outside)

    core = core_of(Random, 2)
    with pytest.raises(RuntimeError, match="didn't recover its input"):
        core(torch.randn(1, 6, 4, 4, requires_grad=True)).sum().backward()


class Tapped(nn.Module):
    """Leaves an activation behind."""

    def __init__(self):
        super().__init__()
        self.first, self.last = nn.Conv2d(3, 3, 3, padding=1), nn.Conv2d(3, 3, 1)

    def forward(self, x):
        self.tap = torch.tanh(self.first(x))
        return self.last(self.tap)


@pytest.mark.parametrize("tapped", [0, 1, 2])
def test_losses_on_activations_inside_f_are_right_with_one_on_the_output(tapped):
    core = core_of(Tapped, 3).double()
    twin = naive_twin(core)
    x = torch.randn(1, 6, 4, 4, dtype=torch.float64)

    def grads(c):
        start = x * next(c.parameters()).sum()  # so that the input has a way to the weights
        y = c(start)
        loss = y.square().sum() + c.blocks[tapped].f.tap.square().sum()
        return torch.autograd.grad(loss, c.parameters())

    # Two ways through a net are summed in another order.
    torch.testing.assert_close(grads(core), grads(twin), rtol=1e-10, atol=1e-12)


def test_a_loss_on_activations_inside_f_alone_is_right_or_refused():
    core = core_of(Tapped, 2)
    twin = naive_twin(core)
    x = torch.randn(1, 6, 4, 4)
    found = []
    for c in (core, twin):
        c(x)
        found.append(torch.autograd.grad(c.blocks[0].f.tap.sum(), c.blocks[0].f.first.parameters()))
    assert same_bits(*found)
    core(x)
    with pytest.raises(RuntimeError, match="without a loss on the core's output"):
        core.blocks[1].f.tap.sum().backward()


@pytest.mark.parametrize("saving", [True, False])
def test_a_net_that_changes_its_input_is_refused_in_both_modes(saving):
    core = ReversibleSequential(
        *(AdditiveCoupling(nn.Conv2d(3, 3, 1), nn.ReLU(inplace=True)) for _ in range(2)),
        memory_saving=saving,
    )
    with pytest.raises(RuntimeError, match="in-place operation"):
        core(torch.randn(1, 6, 4, 4))


def test_lazy_nets_learn_their_shapes_in_the_first_run():
    def lazy():
        return nn.Sequential(nn.LazyConv2d(3, 3, padding=1), nn.LazyBatchNorm2d(), nn.Dropout(0.5))

    results = []
    for saving in (True, False):
        torch.manual_seed(4)
        c = core_of(lazy, 2, memory_saving=saving)
        for _ in range(2):
            c.zero_grad()
            y = c(torch.randn(2, 6, 4, 4))
            y.square().sum().backward()
        results.append([y, *(p.grad for p in c.parameters()), *c.buffers()])
    assert same_bits(*results)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("power", [0.1, 0.35, 0.7, 0.95])
def test_finite_values_beyond_the_range_stay_finite(dtype, power):
    scale = torch.finfo(dtype).max ** power
    x = (scale * torch.randn(1, 4, 3, 3, dtype=torch.float64)).to(dtype).requires_grad_()
    core = core_of(nn.Identity, 2)
    plain = naive_twin(core)
    for block in plain:
        block.exact = False
    for direction in DIRECTIONS:
        y, expected = run(core, x, direction), run(plain, x, direction)
        torch.testing.assert_close(y, expected, rtol=1e-5, atol=1e-3)
        assert y.isfinite().all()
        (grad,) = torch.autograd.grad(y.sum(), x)
        assert same_bits([grad], torch.autograd.grad(expected.sum(), x))


def test_infinite_features_stay_infinite():
    class Infinite(nn.Module):
        def forward(self, x):
            return x + torch.tensor([float("inf"), float("nan")])

    y = core_of(Infinite, 1)(torch.zeros(1, 2, 2))
    assert y[0, 0, 0].isinf()
    assert y[0, 0, 1].isnan()


def test_gradients_that_values_beyond_the_range_would_spoil_are_refused():
    def growing():
        net = nn.Sequential(nn.Conv2d(3, 3, 3, padding=1), nn.ReLU())
        return net.requires_grad_(False)

    torch.manual_seed(0)
    core = core_of(growing, 60)
    x = 100 * torch.randn(1, 6, 8, 8)
    with torch.no_grad():
        y = core(x)
        lost = (core.inverse(y) - x).norm() > 0.02 * x.norm()
    assert lost
    with pytest.raises(RuntimeError, match="values beyond 256"):
        core(x.requires_grad_()).sum().backward()
