"""Encoders and decoders in slabs compute what their layers compute one after the other."""

from math import prod

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from revgan.memory import predict_step
from revgan.networks import GeneratorConfig, RevGenerator
from revgan.networks.layers import init_weights
from revgan.networks.parts import decoder, encoder
from revgan.networks.rows import CHANNELS_LAST
from revgan.networks.slabs import Slabs

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
    return {"y": y.detach(), "x": x.grad} | {n: p.grad for n, p in net.named_parameters()}


def distance(ours, plain):
    """The largest relative error of any tensor; a bias counts relative to its weight's gradient."""
    scales = {name: value.abs().max() for name, value in plain.items()}
    errors = []
    for name, value in plain.items():
        scale = max(scales[name], scales[name.replace("bias", "weight")])
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
