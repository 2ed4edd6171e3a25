"""Predicted memory: the categories, and that it is what the real step takes."""

import pytest
import torch
from torch import nn
from torch._subclasses.fake_tensor import DataDependentOutputException
from torch.nn.modules import module as nn_module

from revgan.memory import measure_step, predict_step

MIB = 2**20


def empty(mib: float) -> torch.Tensor:
    return torch.empty(int(mib * MIB), dtype=torch.uint8)


def test_views_and_in_place_operations_take_nothing_and_what_is_freed_counts_no_more():
    def make_step():
        kept = empty(4)

        def step():
            a = empty(2)
            a.view(-1, 2).add_(1)
            del a
            b = kept + 1
            return b[1:]

        return step

    prediction = predict_step(make_step)
    assert (prediction.held, prediction.peak, prediction.total) == (4 * MIB, 4 * MIB, 8 * MIB)
    assert prediction.activations == prediction.total


def test_a_size_that_no_machine_has_is_predicted_all_the_same():
    assert predict_step(lambda: lambda: empty(2**26)).peak == 2**46


class Classifier(nn.Module):
    """A user's own module: images with the channels first, shared and frozen weights."""

    def __init__(self, spatial_dims: int):
        super().__init__()
        conv, norm = {
            1: (nn.Conv1d, nn.BatchNorm1d),
            2: (nn.Conv2d, nn.BatchNorm2d),
            3: (nn.Conv3d, nn.BatchNorm3d),
        }[spatial_dims]
        self.first = conv(3, 32, 3, padding=1)
        self.shared = conv(32, 32, 3, padding=1, bias=False)
        self.norm = norm(32)
        self.frozen = nn.Linear(32, 10).requires_grad_(False)

    def forward(self, x):
        x = self.first(x).relu()
        x = self.norm(self.shared(self.shared(x))).relu()
        return self.frozen(x.flatten(2).mean(2))


def classifier_step(spatial_dims: int, size: int):
    def make_step():
        net = Classifier(spatial_dims)
        optimizer = torch.optim.Adam(net.parameters())
        images = torch.rand(2, 3, *[size] * spatial_dims)

        def step():
            net(images).square().sum().backward()
            optimizer.step()
            optimizer.zero_grad()

        step()
        return step

    return make_step


@pytest.mark.parametrize(("spatial_dims", "size"), [(1, 2048), (2, 64), (3, 20)])
def test_a_users_own_step_is_predicted(spatial_dims, size):
    make_step = classifier_step(spatial_dims, size)
    # Kernels' scratch memory is modelled to within some 10 KiB.
    assert predict_step(make_step).peak == pytest.approx(measure_step(make_step()).peak, rel=0.02)


def test_each_byte_is_counted_for_what_it_is():
    prediction = predict_step(classifier_step(2, 64))
    net = Classifier(2)
    weights = sum(p.nbytes for p in net.parameters())
    trained = sum(p.nbytes for p in net.parameters() if p.requires_grad)
    steps = 4 * sum(p.requires_grad for p in net.parameters())
    assert prediction.parameters == weights
    assert prediction.optimizer_states == 2 * trained + steps
    buffers = sum(b.nbytes for b in net.buffers())
    images = 4 * 2 * 3 * 64**2
    assert prediction.held == weights + prediction.optimizer_states + images + buffers
    assert prediction.total == prediction.held + prediction.peak


def test_gradients_are_what_parameters_hold_and_what_is_added_to_them_is_temporary():
    def make_step():
        weight = nn.Linear(1024, 1024, bias=False)
        x = torch.rand(1, 1024)

        def step():
            for _ in range(2):
                weight(x).sum().backward()
            weight.zero_grad()

        return step

    prediction = predict_step(make_step, cpu_kernels=False)
    assert prediction.parameters == 4 * MIB
    assert prediction.gradients == 4 * MIB
    assert 4 * MIB <= prediction.activations < 4 * MIB + 64 * 1024


def test_nothing_is_left_behind():
    state = torch.get_rng_state()
    predict_step(classifier_step(2, 16))
    assert torch.equal(torch.get_rng_state(), state)
    assert not nn_module._global_parameter_registration_hooks
    assert type(torch.rand(1)) is torch.Tensor


def test_a_step_that_looks_at_values_is_refused():
    with pytest.raises(DataDependentOutputException):
        predict_step(lambda: lambda: torch.rand(1).item())


def convolution(spatial_dims, ins, outs, size, kernel, stride, transposed, last, batch):
    """A step of one convolution, forward and backward."""

    def make_step():
        shape = (ins, outs) if transposed else (outs, ins)
        weight = torch.randn(*shape, *[kernel] * spatial_dims)
        x = torch.randn(batch, ins, *[size] * spatial_dims)
        layout = torch.channels_last if spatial_dims == 2 else torch.channels_last_3d
        if last:
            x, weight = (t.contiguous(memory_format=layout) for t in (x, weight))
        x.requires_grad_()
        weight.requires_grad_()
        bias = torch.zeros(outs)
        padding = [1] * spatial_dims
        options = [stride] * spatial_dims, padding, [1] * spatial_dims, transposed, padding, 1
        if not transposed:
            options = *options[:4], [0] * spatial_dims, 1

        def step():
            y = torch.ops.aten.convolution(x, weight, bias, *options)
            torch.autograd.grad(y, (x, weight), torch.ones_like(y))

        return step

    return make_step


@pytest.mark.parametrize("batch", [1, 2])
@pytest.mark.parametrize("last", [True, False], ids=["channels last", "channels first"])
@pytest.mark.parametrize(
    ("spatial_dims", "ins", "outs", "size", "kernel", "stride", "transposed"),
    [
        (2, 64, 64, 34, 3, 1, False),
        (2, 20, 36, 66, 3, 2, False),
        (2, 40, 24, 32, 3, 2, True),
        (2, 3, 32, 70, 7, 1, False),
        (2, 32, 3, 70, 7, 1, False),
        (2, 128, 256, 17, 4, 1, False),
        (2, 16, 16, 20, 3, 1, False),
        (3, 16, 16, 18, 3, 1, False),
        (3, 16, 32, 18, 3, 2, False),
        (3, 32, 16, 12, 3, 2, True),
        (3, 2, 32, 32, 4, 2, False),
    ],
)
def test_convolutions_are_predicted_with_their_workspace(
    spatial_dims, ins, outs, size, kernel, stride, transposed, last, batch
):
    make_step = convolution(spatial_dims, ins, outs, size, kernel, stride, transposed, last, batch)
    measured = measure_step(make_step()).peak
    # Some kernels' scratch memory of up to 100 KiB is modelled roughly.
    assert predict_step(make_step).peak == pytest.approx(measured, rel=0.05, abs=64 * 1024)
