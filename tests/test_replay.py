"""The recomputation sees what the forward pass saw."""

import pytest
import torch
from torch import nn
from torch.nn.utils.parametrizations import spectral_norm

from cores import (
    DEVICES,
    DIRECTIONS,
    additive_core,
    core_of,
    gradients,
    naive_twin,
    run,
    same_bits,
)
from revgan.networks import GeneratorConfig
from revgan.networks.core import residual_functions, reversible_core
from revgan.reversible import recomputation, replay, round_to_grid
from revgan.reversible.modules import are_plain, modules_of

SIGNIFICANDS = [(torch.bfloat16, 8), (torch.float16, 11)]


def dropping():
    return nn.Sequential(nn.Conv2d(3, 3, 3, padding=1), nn.Dropout(0.5), nn.Conv2d(3, 3, 1))


def batch_normalised():
    return nn.Sequential(nn.Conv2d(3, 3, 3, padding=1), nn.BatchNorm2d(3))


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("direction", DIRECTIONS)
def test_dropout_drops_the_same_units_and_leaves_the_generators_as_naive(direction, device):
    core = core_of(dropping, 3).to(device)
    x = torch.randn(1, 6, 8, 8, device=device)
    results, following = [], []
    for c in (core, naive_twin(core)):
        torch.manual_seed(7)
        results.append(gradients(c, x, direction)[1])
        following.append(torch.cat((torch.rand(3), torch.rand(3, device=device).cpu())))
    assert same_bits(*results)
    assert torch.equal(*following)


def test_dropout_in_several_uses_before_one_backward():
    core = core_of(dropping, 2).double()
    x = torch.randn(1, 6, 8, 8, dtype=torch.float64)
    results = []
    for c in (core, naive_twin(core)):
        torch.manual_seed(7)
        loss = (c.inverse(c(c(x))) * c(x)).sum()
        torch.rand(5)  # what was drawn since does not matter
        results.append(torch.autograd.grad(loss, c.parameters()))
    for ours, naive in zip(*results, strict=True):
        # Four uses are summed in an order that autograd chooses: equal up to rounding.
        assert torch.allclose(ours, naive, rtol=1e-12, atol=1e-12)


def test_while_a_cuda_graph_is_captured_no_generator_is_asked_and_random_numbers_are_refused(
    monkeypatch,
):
    # The state of a GPU's generator can't be read then; here a CPU pretends to capture.
    core, x = additive_core(depth=2), torch.randn(2, 6, 5, 5)
    _, expected = gradients(core, x)
    for module in (replay, recomputation):
        monkeypatch.setattr(module, "capturing", lambda device: True)
    monkeypatch.setattr(replay.RandomState, "now", None)
    _, captured = gradients(core, x)
    assert all(map(torch.equal, captured, expected))
    noisy = core_of(dropping, depth=2)
    with pytest.raises(RuntimeError, match="can't be replayed while a CUDA graph is captured"):
        noisy(x.requires_grad_())
    noisy.eval()(x)


def test_running_statistics_are_updated_once():
    core = core_of(batch_normalised, 3)
    twin = naive_twin(core)
    x = torch.randn(2, 6, 8, 8)
    assert same_bits(*(gradients(c, x)[1] for c in (core, twin)))
    assert same_bits(core.buffers(), twin.buffers())
    assert core.state_dict()["blocks.0.f.1.num_batches_tracked"] == 1


def test_a_net_whose_buffers_change_its_result_is_exact():
    # Spectral normalisation improves its estimate in each forward pass and divides by it.
    core = core_of(lambda: nn.Sequential(spectral_norm(nn.Conv2d(3, 3, 1)), nn.Tanh()), 3)
    twin = naive_twin(core)
    x = torch.randn(2, 6, 8, 8)

    def grads(c):
        return torch.autograd.grad(c(x).sum() + c(x).square().sum(), c.parameters())

    for ours, naive in zip(grads(core), grads(twin), strict=True):  # two uses: another order
        assert torch.allclose(ours, naive, rtol=1e-5, atol=1e-5)
    assert same_bits(core.buffers(), twin.buffers())
    assert same_bits(gradients(core, x)[1], gradients(twin, x)[1])


@pytest.mark.parametrize("function", [dropping, batch_normalised])
def test_eval_mode_is_exact(function):
    core = core_of(function, 3)
    core(torch.randn(2, 6, 8, 8))  # statistics that differ from those of a fresh net
    core.eval()
    x = torch.randn(2, 6, 8, 8)
    assert same_bits(gradients(core, x)[1], gradients(naive_twin(core), x)[1])
    with torch.no_grad():
        assert torch.equal(core.inverse(core(x)), round_to_grid(x))


def test_statistics_updated_between_forward_and_backward_do_not_disturb_it():
    core = core_of(batch_normalised, 2)
    core.eval()
    x = torch.randn(2, 6, 8, 8)
    expected = gradients(core, x)[1]
    x = x.requires_grad_()
    loss = core(x).square().sum()
    for buffer in core.buffers():
        buffer.add_(1)
    assert same_bits(torch.autograd.grad(loss, [x, *core.parameters()]), expected)


def test_a_switch_between_train_and_eval_before_the_backward_pass_is_refused():
    core = core_of(batch_normalised, 2)
    loss = core(torch.randn(2, 6, 8, 8)).sum()
    core.eval()
    with pytest.raises(RuntimeError, match=r"between train\(\) and eval\(\)"):
        loss.backward()
    core.train()
    torch.autograd.grad(core(torch.randn(2, 6, 8, 8)).sum(), core.parameters())


def test_kernels_that_depend_on_whether_gradients_are_recorded():
    class Fickle(nn.Module):
        """Stands for attention's fast path and for compiled nets."""

        def __init__(self):
            super().__init__()
            self.conv = nn.Conv2d(3, 3, 1)

        def forward(self, x):
            return self.conv(x) * (1 if torch.is_grad_enabled() else 1.001)

    core = core_of(Fickle, 3)
    x = torch.randn(1, 6, 8, 8)
    assert same_bits(gradients(core, x)[1], gradients(naive_twin(core), x)[1])


def replaced_weight(net):
    weight = net[0].weight
    del net[0].weight
    net[0].weight = 2 * weight


@pytest.mark.parametrize(
    "change",
    [
        lambda net: net.append(nn.Dropout()),
        lambda net: net[0].register_forward_hook(print),
        lambda net: net[1].register_buffer("other", torch.ones(1, requires_grad=True)),
        lambda net: setattr(net[0], "forward", net[1].forward),
        lambda net: setattr(net[1], "_compiled_call_impl", net[0].forward),  # as compile() does
        lambda net: spectral_norm(net[0]),
        lambda net: net.append(nn.MultiheadAttention(3, 1)),
        replaced_weight,
    ],
)
def test_only_nets_that_surely_need_no_graph_are_recorded_without_one(change):
    net = nn.Sequential(nn.Conv2d(3, 3, 1), nn.ReLU())
    assert are_plain(modules_of(net))
    change(net)
    assert not are_plain(modules_of(net))


def test_the_networks_own_layers_are_recorded_without_a_graph():
    for slabs in (0, 2):
        config = GeneratorConfig(width=2, depth=1, memory="lean", slabs=slabs, norm="none")
        for function in residual_functions(reversible_core(config, 2)):
            assert are_plain(modules_of(function))


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("direction", DIRECTIONS)
@pytest.mark.parametrize("dtype", [dtype for dtype, _ in SIGNIFICANDS])
def test_autocast_is_exact_around_a_float32_stream(dtype, direction, device):
    core = additive_core(6).to(device)
    seen = []
    core.blocks[0].f[0].register_forward_hook(lambda net, args, out: seen.append(out.dtype))
    x = round_to_grid(torch.randn(1, 6, 8, 8, device=device))
    with torch.autocast(device, dtype=dtype):
        y = run(core, x, direction)
        back = core.inverse(y) if direction == "forward" else core(y)
        assert y.dtype == torch.float32
        assert torch.equal(back, x)
        loss = y.square().sum()
        naive_loss = run(twin := naive_twin(core), x, direction).square().sum()
    # Outside of autocast, as recommended. Bit for bit: the same casts of the same numbers go
    # through the same kernels, and only the float32 stream is reconstructed, which is exact.
    grads = torch.autograd.grad(loss, core.parameters())
    assert same_bits(grads, torch.autograd.grad(naive_loss, twin.parameters()))
    assert set(seen) == {dtype}


@pytest.mark.parametrize("direction", DIRECTIONS)
@pytest.mark.parametrize(("dtype", "bits"), SIGNIFICANDS)
def test_autocast_gradients_are_near_those_of_float32(dtype, bits, direction):
    def smooth():  # without the jumps of ReLU's derivative
        return nn.Sequential(nn.Conv2d(3, 3, 3, padding=1), nn.Tanh(), nn.Conv2d(3, 3, 1))

    core = core_of(smooth, 6)
    x = torch.randn(2, 6, 8, 8)
    with torch.autocast("cpu", dtype=dtype):
        _, grads = gradients(core, x, direction)
    _, full = gradients(core, x, direction)
    ours, reference = (torch.cat([g.flatten() for g in gs]) for gs in (grads, full))
    # Independent roundings by 2**-bits at most, of weights, activations and gradients, mostly
    # average out: 20 seeds, both directions and depths up to 12 stayed below 2 of them.
    assert (ours - reference).norm() <= 4 * 2**-bits * reference.norm()


def test_autocast_with_stored_blocks_in_both_directions_keeps_all_gradients():
    # Stored in one direction and recomputed in the other: the cached casts of its weights are both
    # directions', and must lead back to the weights.
    core = additive_core(2, stored_blocks=1)
    x = torch.randn(1, 6, 8, 8)

    def grads(c):
        with torch.autocast("cpu", dtype=torch.bfloat16):
            loss = c(x).square().sum() + c.inverse(x).square().sum()
        return torch.autograd.grad(loss, c.parameters())

    for ours, naive in zip(grads(core), grads(naive_twin(core)), strict=True):
        # Two uses of a weight are summed in bfloat16 where its cast is shared, else in float32.
        assert (ours - naive).norm() <= 4 * 2**-8 * naive.norm()
