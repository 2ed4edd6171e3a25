"""Networks in slabs compute what their layers compute one after the other."""

import pytest
import torch
from accelerate import Accelerator
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from revgan.memory import measure_step, predict_step
from revgan.networks import (
    DiscriminatorConfig,
    GeneratorConfig,
    PatchDiscriminator,
    RevGenerator,
)
from revgan.networks.layers import CHANNELS_LAST, init_weights
from revgan.networks.parts import decoder, encoder
from revgan.networks.slabs import Slabs
from revgan.training.batch import Batch
from revgan.training.config import LossConfig, RunConfig
from revgan.training.setup import make_trainer

WIDTH = 4
PARTS = {"encoder": encoder, "decoder": decoder}


@st.composite
def stacks(draw, norms, tanh):
    """An encoder or decoder of some kind, and the shape of an input that it can take."""
    part, dims, downsamplings = draw(
        st.sampled_from(
            [(p, d, n) for p in PARTS for d in (2, 3) for n in range(5) if d == 2 or n < 3]
        )
    )
    config = GeneratorConfig(
        width=WIDTH,
        downsamplings=downsamplings,
        first_kernel=draw(st.sampled_from([1, 3, 7])),
        last_kernel=draw(st.sampled_from([1, 3, 7])),
        downsampling=draw(st.sampled_from(["strided", "subpixel"])),
        downsampling_padding=draw(st.sampled_from(["reflect", "zeros"])),
        upsampling=draw(st.sampled_from(["transposed", "subpixel", "nearest", "bilinear"])),
        norm=draw(st.sampled_from(norms)),
        tanh=draw(st.sampled_from(tanh)),
    )
    # Between encoder and decoder, reflection and norms need a few positions.
    low = [draw(st.integers(2, 3 if dims == 3 else 5)) for _ in range(dims)]
    if part == "encoder":
        scale, least, channels = 2**downsamplings, config.first_kernel // 2 + 1, 2
        sizes = [max(scale * size, least) for size in low]
        if config.downsampling == "strided":  # which takes odd sizes
            sizes = [size + draw(st.integers(0, 1)) for size in sizes]
        else:
            sizes = [-(-size // scale) * scale for size in sizes]
    else:
        least = -(-(config.last_kernel // 2 + 1) // 2**downsamplings)
        sizes, channels = [max(size, least) for size in low], config.core_channels
    layers = PARTS[part](config, dims, 2)
    init_weights(layers, "kaiming")
    for name, value in layers.state_dict().items():  # a fresh batch norm's are all 0 and 1
        if value.ndim == 1:
            value.copy_(
                0.5 + torch.rand(value.shape) if "bias" not in name else torch.randn(value.shape)
            )
    return layers.double(), (draw(st.integers(1, 2)), channels, *sizes)


def run(net, x, grad=None):
    """Output and all gradients; biases that a norm makes irrelevant have rounding errors alone."""
    x = x.detach().requires_grad_()
    net.zero_grad()
    y = net(x)
    if grad is None:
        grad = torch.randn(y.shape, generator=torch.Generator().manual_seed(1)).to(y.dtype)
    kept = grad.clone()
    y.backward(grad)
    assert torch.equal(grad, kept)  # autograd may hand it to others, too
    gradients = {name: p.grad for name, p in net.named_parameters()}
    net.zero_grad()  # or a change of the weights' type changes them
    return {"y": y.detach(), "x": x.grad} | gradients


_PARAMETRIZED = "parametrizations.weight.original"


def distance(ours, plain):
    """The largest relative error of any tensor; a bias counts relative to its weight's gradient."""
    scales = {name: value.abs().max() for name, value in plain.items()}
    errors = []
    for name, value in plain.items():
        weights = name.replace("bias", "weight"), name.replace("bias", _PARAMETRIZED)
        scale = max(scales.get(each, scales[name]) for each in (name, *weights))
        scale = max(scale, torch.finfo(value.dtype).tiny)  # where ReLUs leave nothing but zeros
        errors.append(((ours[name] - value).abs().max() / scale).item())
    return max(errors)


slab_counts = st.sampled_from([1, 2, 3, 5, 40])
layouts = st.sampled_from([True, False])


@settings(max_examples=40, deadline=None)
@given(stacks(["none"], tanh=[False]), slab_counts, layouts)
def test_without_norms_values_and_gradients_are_those_of_the_layers_bit_for_bit(stack, slabs, last):
    # Sums of integers are exact in any order; bilinear weights are multiples of 1/4.
    layers, shape = stack
    with torch.no_grad():
        for weight in layers.parameters():
            weight.copy_(torch.randint(-2, 3, weight.shape))
    x = torch.randint(-2, 3, shape).double()
    if last:
        x = x.contiguous(memory_format=CHANNELS_LAST[x.ndim])
    grad = torch.randint(-2, 3, layers(x).shape).double()
    plain, ours = run(layers, x, grad), run(Slabs(*layers, slabs=slabs), x, grad)
    assert all(torch.equal(ours[name], plain[name]) for name in plain)


@settings(max_examples=60, deadline=None)
@given(
    stacks(["instance", "batch", "none"], tanh=[True, False]), slab_counts, layouts, st.booleans()
)
def test_with_norms_values_and_gradients_differ_by_rounding(stack, slabs, last, training):
    layers, shape = stack
    layers.train(training)
    x = torch.randn(shape, dtype=torch.float64)
    if last:
        x = x.contiguous(memory_format=CHANNELS_LAST[x.ndim])
    before = {name: buffer.clone() for name, buffer in layers.named_buffers()}
    plain = run(layers, x)
    after = {name: buffer.clone() for name, buffer in layers.named_buffers()}
    layers.load_state_dict(before, strict=False)
    ours = run(Slabs(*layers, slabs=slabs).train(training), x)
    assert distance(ours, plain) < 1e-12
    # Running statistics change once, in the forward pass.
    for name, buffer in layers.named_buffers():
        torch.testing.assert_close(buffer, after[name], rtol=1e-12, atol=1e-12)


def stack(part, dims=2, size=24, width=WIDTH, **fields):
    """An encoder or decoder in float32, and an input that is or becomes an image of this size."""
    config = GeneratorConfig(width=width, **fields)
    layers = PARTS[part](config, dims, 3)
    init_weights(layers, "kaiming")
    if part == "encoder":
        return layers, torch.rand(1, 3, *[size] * dims) * 2 - 1
    low = [size // config.size_multiple] * dims
    return layers, torch.randn(1, config.core_channels, *low)


def error(values, exact, name):
    """The relative error of a tensor as a whole."""
    return ((values[name] - exact[name]).norm() / exact[name].norm()).item()


@pytest.mark.parametrize("norm", ["instance", "batch", "none"])
@pytest.mark.parametrize("part", PARTS)
def test_in_float32_gradients_are_as_near_to_real_numbers_as_those_of_the_layers(part, norm):
    layers, x = stack(part, size=64, norm=norm)
    ours = run(Slabs(*layers, slabs=5), x)
    exact = run(layers.double(), x.double())
    # A bias before a norm has no gradient but rounding errors.
    for name in [name for name in exact if norm == "none" or "bias" not in name]:
        assert error(ours, exact, name) < 2e-6


class Autocast(nn.Sequential):
    """Layers under autocast, whose backward pass is not."""

    dtype = torch.bfloat16

    def forward(self, x):
        with torch.autocast("cpu", self.dtype):
            return super().forward(x)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("norm", ["instance", "batch", "none"])
@pytest.mark.parametrize("part", PARTS)
def test_under_autocast_slabs_compute_in_its_type(monkeypatch, part, norm, dtype):
    monkeypatch.setattr(Autocast, "dtype", dtype)
    layers, x = stack(part, size=32, norm=norm)
    ours, plain = run(Autocast(Slabs(*layers, slabs=3)), x), run(Autocast(layers), x)
    exact = run(Autocast(layers.double()), x.double())
    assert error(ours, exact, "y") < 2 * error(plain, exact, "y")
    for name in exact:
        assert ours[name].dtype == plain[name].dtype
        if norm == "none" or "bias" not in name:
            # Roundings tip ReLUs over, for the layers as for us; a wrong formula is off by 1.
            assert error(ours, exact, name) < 0.25


@pytest.mark.parametrize("direction", ["AtoB", "BtoA"])
@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"dims": 3, "downsamplings": 0, "first_kernel": 3, "last_kernel": 1, "tanh": False},
        {"dims": 3, "norm": "batch", "downsamplings": 1, "upsampling": "bilinear"},
        {"norm": "none", "downsampling": "subpixel", "upsampling": "subpixel"},
        {"dims": 3, "norm": "none", "downsamplings": 1, "first_kernel": 3, "last_kernel": 1},
        {"core": "ode"},
    ],
    ids=lambda fields: " ".join(f"{name}={value}" for name, value in fields.items()) or "default",
)
def test_a_generator_in_slabs_has_the_gradients_of_one_that_is_not(fields, direction):
    dims = fields.get("dims", 2)
    kind = {name: value for name, value in fields.items() if name != "dims"}
    plain, ours = (
        RevGenerator(dims, 2, 2, width=4, depth=2, memory="lean", init="kaiming", slabs=n, **kind)
        for n in (0, 3)
    )
    ours.load_state_dict(plain.state_dict())
    x = torch.rand(2, 2, *[12] * (dims - 1), 16, dtype=torch.float64) * 2 - 1
    results = []
    for net in (plain.double(), ours.double()):
        y = net(x, direction)
        y.square().sum().backward()
        used = {name: p.grad for name, p in net.named_parameters() if p.grad is not None}
        results.append({"y": y.detach(), **used})
    assert results[0].keys() == results[1].keys()
    assert distance(results[1], results[0]) < 1e-11


@pytest.mark.parametrize("norm", ["instance", "none"])
def test_with_slabs_any_number_of_stored_blocks_trains_in_the_same_bits(norm):
    results = []
    for stored in range(3):
        torch.manual_seed(0)
        net = RevGenerator(
            2, width=4, depth=2, memory="lean", stored_blocks=stored, norm=norm, slabs=3
        )
        x = torch.rand(1, 3, 16, 16)
        results.append(run(net, x))
    for name, value in results[0].items():
        if value is not None:  # of the parts for the other direction
            assert all(torch.equal(value, other[name]) for other in results[1:]), name


@pytest.mark.parametrize("norm", ["instance", "batch"])
@pytest.mark.parametrize("part", PARTS)
def test_frozen_weights_get_no_gradient_and_change_no_other(part, norm):
    layers, x = stack(part, size=16, norm=norm)
    net = Slabs(*layers, slabs=3)
    every = run(net, x)
    names = [name for name, _ in net.named_parameters()]
    for trained in (names[:1], names[-1:], names[2:4], []):
        for name, weight in net.named_parameters():
            weight.requires_grad_(name in trained)
        some = run(net, x)
        assert torch.equal(some["x"], every["x"])
        for name in names:
            if name in trained:
                assert torch.equal(some[name], every[name])
            else:
                assert some[name] is None
        # The input is an image that needs no gradient.
        net.zero_grad()
        y = net(x)
        assert y.requires_grad == bool(trained)
        if trained:
            y.backward(torch.randn(y.shape, generator=torch.Generator().manual_seed(1)))
            for name, weight in net.named_parameters():
                assert name not in trained or torch.equal(weight.grad, every[name])


def test_a_graph_that_is_kept_gives_the_same_gradients_twice():
    layers, x = stack("encoder")
    net = Slabs(*layers, slabs=3)
    x.requires_grad_()
    y = net(x).square().sum()
    first, second = (
        torch.autograd.grad(y, [x, *net.parameters()], retain_graph=True) for _ in "12"
    )
    assert all(map(torch.equal, first, second))


@pytest.mark.filterwarnings("ignore:.*torch.jit.*:DeprecationWarning")  # forward mode's
def test_what_would_give_wrong_gradients_is_refused():
    layers, x = stack("decoder")
    net = Slabs(*layers, slabs=3)
    x.requires_grad_()
    with pytest.raises(RuntimeError, match="first derivatives only"):
        torch.autograd.grad(net(x).sum(), x, create_graph=True)
    with pytest.raises(RuntimeError, match="first derivatives only"):
        torch.func.grad(lambda x: net(x).sum())(x)
    with pytest.raises(RuntimeError, match="first derivatives only"):
        torch.func.jvp(net, (x.detach(),), (x.detach(),))
    y = net(x)
    with torch.no_grad():
        net[0].weight.add_(1)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        y.sum().backward()
    with pytest.raises(TypeError, match="a Dropout can't run in slabs"):
        Slabs(*layers, nn.Dropout(), slabs=3)(x)


def test_gradients_are_those_of_the_forward_passs_statistics():
    layers, x = stack("encoder", norm="batch")
    net = Slabs(*layers, slabs=3).eval()
    expected = run(net, x)
    net.zero_grad()
    x.requires_grad_()
    y = net(x)
    net.train()(x)  # changes the running ones
    y.backward(torch.randn(y.shape, generator=torch.Generator().manual_seed(1)))
    assert torch.equal(x.grad, expected["x"])


def test_without_gradients_the_output_has_the_same_bits():
    for part in PARTS:
        layers, x = stack(part)
        net = Slabs(*layers, slabs=3)
        y = net(x)
        with torch.no_grad():
            assert torch.equal(net(x), y)


def test_several_inputs_are_parts_of_one():
    layers, x = stack("decoder")
    net = Slabs(*layers, slabs=3)
    whole = run(net, x)
    halves = [half.clone().requires_grad_() for half in x.chunk(2, dim=1)]
    y = net(*halves)
    y.backward(torch.randn(y.shape, generator=torch.Generator().manual_seed(1)))
    assert torch.equal(y, whole["y"])
    assert torch.equal(torch.cat([half.grad for half in halves], dim=1), whole["x"])


class Largest(TorchDispatchMode):
    """The most numbers in any tensor that an operator returns."""

    numbers = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        sizes = [x.numel() for x in tree_leaves(out) if isinstance(x, torch.Tensor)]
        self.numbers = max(self.numbers, *sizes, 0)
        return out


@pytest.mark.parametrize("dims", [2, 3])
@pytest.mark.parametrize("part", PARTS)
def test_no_tensor_is_as_large_as_the_hidden_ones_of_full_resolution(part, dims):
    size = {2: 64, 3: 20}[dims]
    layers, x = stack(part, dims, size, width=16, first_kernel=3, last_kernel=3)
    with Largest() as largest:
        run(Slabs(*layers, slabs=4), x)
    assert largest.numbers < 0.6 * 16 * size**dims


@pytest.mark.parametrize("part", PARTS)
def test_the_planner_sees_what_slabs_save(part):
    def peak(slabs):
        def make_step():
            layers, x = stack(part, size=96, width=16, memory="lean", slabs=slabs)
            return lambda: layers(x).sum().backward()

        return predict_step(make_step).peak

    assert peak(8) < 0.6 * peak(0)


def test_slabs_are_for_lean_alone():
    for memory in ("auto", "naive", "reversible"):
        with pytest.raises(
            ValueError, match=f"slabs must be null or 0 with memory {memory}, not 8"
        ):
            GeneratorConfig(memory=memory, slabs=8)
    with pytest.raises(ValueError, match="slabs must be 0 or more, not -1"):
        GeneratorConfig(memory="lean", slabs=-1)
    assert not isinstance(RevGenerator(memory="lean", slabs=1).encoder_a, Slabs)


def test_a_generator_in_slabs_keeps_no_joined_copy_of_the_cores_output():
    network = RevGenerator(2, 1, 1, width=8, depth=1, memory="lean", slabs=4)
    x = torch.rand(1, 1, 64, 64)
    graph = []
    kept = measure_step(lambda: graph.append(network(x))).retained
    core_bytes = 4 * 32 * 16 * 16
    # The output of the core, of the generator and of tanh, what norms keep, and little else.
    assert kept <= 1.5 * core_bytes + 2 * 4 * 64 * 64
    seen = []
    network.core.register_forward_hook(lambda core, args, out: seen.append(out.shape))
    expected = graph[0].detach()
    assert torch.equal(network(x), expected)
    assert seen == [(1, 32, 16, 16)]


@st.composite
def judges(draw):
    """What makes a discriminator, and the shape of a batch that it can take."""
    dims = draw(st.sampled_from([2, 2, 3]))
    form = draw(st.sampled_from(["paper", "patch70"]))
    levels = 4 if form == "paper" else 3
    halvings = draw(
        st.one_of(st.integers(0, levels), st.tuples(*[st.integers(0, levels) for _ in range(dims)]))
    )
    config = DiscriminatorConfig(
        form,
        width=2,
        norm=draw(st.sampled_from(["instance", "batch", "none"])),
        init="kaiming",
        downsamplings=halvings,
        spectral_norm=draw(st.booleans()),
    )
    least = config.min_sizes(dims)
    sizes = [size + draw(st.integers(2, 9 if dims == 2 else 3)) for size in least]
    return config, (draw(st.integers(1, 2)), 2, *sizes)


@settings(max_examples=60, deadline=None)
@given(judges(), slab_counts, layouts, st.booleans())
def test_discriminators_in_slabs_differ_by_rounding(kind, slabs, last, training):
    config, shape = kind
    dims = len(shape) - 2
    plain, ours = (
        PatchDiscriminator.from_config(config, dims, 2, n).double().train(training)
        for n in (0, slabs)
    )
    assert isinstance(ours.layers, Slabs) == (slabs > 1)
    ours.load_state_dict(plain.state_dict())
    x = torch.randn(shape, dtype=torch.float64)
    if last:
        x = x.contiguous(memory_format=CHANNELS_LAST[x.ndim])
    assert distance(run(ours, x), run(plain, x)) < 1e-12
    # What a pass changes, it changes once: running statistics and spectral norm's vectors.
    for name, buffer in plain.named_buffers():
        torch.testing.assert_close(ours.get_buffer(name), buffer, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("dims", [2, 3])
def test_a_discriminator_in_slabs_hands_the_generator_its_gradient_while_frozen(dims):
    judge = PatchDiscriminator(dims, 1, width=4, init="kaiming", slabs=3)
    x = torch.randn(2, 1, *[32] * dims)
    every = run(judge, x)
    assert error(every, run(PatchDiscriminator.double(judge), x.double()), "x") < 2e-6
    judge.float().requires_grad_(False)
    some = run(judge, x)
    assert torch.equal(some["x"], every["x"])
    assert all(some[name] is None for name, _ in judge.named_parameters())


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_a_discriminator_in_slabs_follows_autocast(monkeypatch, dtype):
    monkeypatch.setattr(Autocast, "dtype", dtype)
    plain, ours = (PatchDiscriminator(2, 3, width=8, init="kaiming", slabs=n) for n in (0, 3))
    ours.load_state_dict(plain.state_dict())
    x = torch.randn(2, 3, 64, 64)
    found, expected = run(Autocast(ours), x), run(Autocast(plain), x)
    exact = run(Autocast(plain.double()), x.double())
    assert error(found, exact, "y") < 2 * error(expected, exact, "y")
    assert error(found, exact, "x") < 2 * error(expected, exact, "x")
    assert all(found[name].dtype == expected[name].dtype for name in found)


@pytest.mark.parametrize("weights", [{}, {"r1_weight": 1.0}])
def test_discriminators_take_the_generators_slabs_unless_their_gradient_is_differentiated(weights):
    config = RunConfig(
        generator=GeneratorConfig(width=4, depth=1, memory="lean", slabs=2),
        discriminator=DiscriminatorConfig(width=4),
        losses=LossConfig(**weights),
    )
    made = make_trainer(config, 2, (1, 1), Accelerator(cpu=True), total=2)
    for judge in (made.players.judge_a, made.players.judge_b):
        assert isinstance(judge.layers, Slabs) == (not weights)
    losses = made.step(Batch(*(torch.rand(1, 1, 32, 32) for _ in "ab")), 0)
    assert all(loss.isfinite() for loss in losses.values())


@pytest.mark.parametrize("tanh", [True, False])
def test_images_leave_a_generator_in_slabs_without_a_copy(tanh):
    network = RevGenerator(2, 3, 3, width=4, depth=1, memory="lean", slabs=3, tanh=tanh)
    made = []
    network.decoder_b.register_forward_hook(lambda *call: made.append(call[2]))
    y = network(torch.rand(1, 3, 32, 32))
    assert y.is_contiguous()
    assert y.data_ptr() == made[0].data_ptr()


def test_the_way_back_through_slabs_of_a_core_makes_no_negative_copy_of_a_gradient():
    network = RevGenerator(
        3, 1, 1, width=4, depth=1, memory="lean", slabs=4, norm="none", downsamplings=0
    )
    half = 2 * 16**3

    class Negatives(TorchDispatchMode):
        largest = 0

        def __torch_dispatch__(self, func, types, args=(), kwargs=None):
            out = func(*args, **(kwargs or {}))
            if func is torch.ops.aten.neg.default:
                self.largest = max(self.largest, out.numel())
            return out

    x = torch.randn(1, 4, 16, 16, 16, requires_grad=True)
    with Negatives() as negatives:
        network.core.inverse(x).square().sum().backward()
    assert negatives.largest < half
    assert not x.grad.is_neg()
    plain = RevGenerator(3, 1, 1, width=4, depth=1, norm="none", downsamplings=0, memory="naive")
    plain.load_state_dict(network.state_dict())
    again = x.detach().requires_grad_()
    plain.core.inverse(again).square().sum().backward()
    assert error({"x": x.grad}, {"x": again.grad}, "x") < 2e-6
    for ours, theirs in zip(network.core.parameters(), plain.core.parameters(), strict=True):
        assert not ours.grad.is_neg()
        assert error({"w": ours.grad}, {"w": theirs.grad}, "w") < 2e-6


def test_what_a_discriminator_keeps_serves_one_backward_pass_and_is_computed_again_for_others():
    judge = PatchDiscriminator(2, 1, width=4, init="kaiming", slabs=3)
    x = torch.randn(1, 1, 48, 48, requires_grad=True)
    y = judge(x).square().sum()
    first, second = (
        torch.autograd.grad(y, [x, *judge.parameters()], retain_graph=True) for _ in "12"
    )
    assert all(map(torch.equal, first, second))
