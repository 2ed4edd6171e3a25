"""Predicted memory: the categories, and that it is what real steps take, on any x86 CPU.

With ``ONEDNN_MAX_CPU_ISA=AVX2 ATEN_CPU_CAPABILITY=avx2`` in the environment, a CPU with AVX-512
passes for one without, whose kernels need other memory.
"""

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch._subclasses.fake_tensor import DataDependentOutputException
from torch.nn.modules import module as nn_module

from revgan.inference import translate_padded
from revgan.inference.planning import Translation, predict_translation
from revgan.memory import measure_step, predict_step
from revgan.networks import GeneratorConfig, build_generator, resizing
from revgan.networks.resampling import upsampling_layer
from revgan.training.prediction import predict_training
from trainings import TOLERANCE, known_kernels, measured, workload

MIB = 2**20


@pytest.fixture
def one_thread():
    """Kernels' scratch memory grows with threads, and with the padding in it."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


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


@known_kernels
@pytest.mark.parametrize(("spatial_dims", "size"), [(1, 2048), (2, 64), (3, 24)])
def test_a_users_own_step_is_predicted(one_thread, spatial_dims, size):
    make_step = classifier_step(spatial_dims, size)
    measured = measure_step(make_step()).peak
    assert predict_step(make_step).peak == pytest.approx(measured, rel=TOLERANCE)


def strided_step():
    layout = {"memory_format": torch.channels_last_3d}
    weights = [torch.rand(64, 16, 3, 3, 3), torch.rand(64, 64, 4, 4, 4)]
    x, *weights = (t.contiguous(**layout) for t in (torch.rand(2, 16, 29, 29, 29), *weights))
    variables = [t.requires_grad_() for t in (x, *weights)]

    def step():
        y = F.conv3d(F.conv3d(x, weights[0], stride=2), weights[1], padding=1)
        torch.autograd.grad(y.sum(), variables)

    return step


@known_kernels
@pytest.mark.parametrize("threads", [1, 4])
def test_each_threads_scratch_memory_is_predicted(one_thread, threads):
    torch.set_num_threads(threads)
    measured = measure_step(strided_step()).peak
    assert predict_step(strided_step).peak == pytest.approx(measured, rel=TOLERANCE)


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


VOLUMES = {"downsamplings": 1, "first_kernel": 3, "last_kernel": 1, "norm": "none"}
MR = {"spatial_dims": 3, "channels": (1, 1)}
ROWS = {
    "2D naive": workload(depth=2),
    "2D reversible, blocks stored": workload(
        memory="reversible", stored_blocks=1, depth=3, batch_size=2
    ),
    "2D lean, large discriminators": workload(memory="lean", depth=2, judge=64, size=32),
    "2D lean, paired, bilinear": workload(
        "paired", "lean", depth=2, width=36, size=96, variant={"upsampling": "bilinear"}
    ),
    "2D reversible, bf16": workload(memory="reversible", depth=2, precision="bf16"),
    "2D lean, bf16": workload(memory="lean", depth=2, precision="bf16", variant={"norm": "batch"}),
    "3D naive": workload(depth=2, size=24, width=8, **MR),
    "3D lean, paired, small": workload(
        "paired", "lean", depth=1, size=32, width=8, spatial_dims=3, channels=(1, 2)
    ),
    "3D lean, batch of 2": workload(
        memory="lean", depth=1, size=32, width=20, judge=24, batch_size=2, variant=VOLUMES, **MR
    ),
    "3D reversible, cubes of 2 in the discriminators": workload(
        memory="reversible", depth=1, size=24, width=8, judge=16, variant=VOLUMES, **MR
    ),
    "3D naive, bf16": workload(
        depth=1, size=24, width=8, judge=16, precision="bf16", variant=VOLUMES, **MR
    ),
    "2D lean, in slabs": workload(
        memory="lean", depth=1, judge=32, batch_size=2, variant={"slabs": 4}
    ),
    "2D lean, paired, in slabs, bf16": workload(
        "paired", "lean", depth=1, judge=32, precision="bf16", variant={"slabs": 3}
    ),
    "3D lean, in slabs": workload(
        memory="lean", depth=1, size=32, variant=VOLUMES | {"slabs": 4}, **MR
    ),
    "3D lean, bf16": workload(
        memory="lean",
        depth=1,
        size=24,
        precision="bf16",
        variant=VOLUMES | {"last_kernel": 3, "norm": "batch"},
        **MR,
    ),
    "2D ResNet": workload(depth=2, variant={"model": "resnet"}),
    "2D U-Net": workload(depth=6, size=64, variant={"model": "unet", "downsamplings": 6}),
    "3D U-Net, batch norm": workload(
        "paired",
        depth=6,
        size=32,
        width=8,
        spatial_dims=3,
        variant={"model": "unet", "downsamplings": 5, "norm": "batch"},
    ),
    "3D ResNet, bilinear": workload(
        "paired",
        depth=1,
        size=24,
        width=8,
        spatial_dims=3,
        variant={"model": "resnet", "upsampling": "bilinear"},
    ),
    "affine, dropout, zeros": workload(
        memory="reversible",
        depth=2,
        variant={"coupling": "affine", "dropout": 0.5, "downsampling_padding": "zeros"},
    ),
    "subpixel": workload(
        memory="lean", depth=2, variant={"downsampling": "subpixel", "upsampling": "subpixel"}
    ),
    "consensus": workload(consensus=0.1, depth=1, size=32),
}


@pytest.mark.parametrize(("slabs", "most"), [(8, 175), (16, 155)])
def test_volumes_in_slabs_take_at_most_so_many_bytes_a_voxel(slabs, most):
    # Preset volumes, but for its depth, which changes no activations. Pools are in main memory.
    kind = VOLUMES | {"slabs": slabs}
    work = workload(
        memory="lean", width=32, depth=2, judge=32, size=128, device_type="cuda", variant=kind, **MR
    )
    assert predict_training(work).activations <= most * 128**3


@pytest.mark.usefixtures("one_thread")
def test_the_papers_width_at_256_pixels_takes_at_most_56_mebibytes():
    # At full depth, or the discriminators' step would be the largest: it takes ten seconds.
    width, depth, deeper = 58, 9, 30
    work = workload(
        memory="lean", width=width, depth=depth, judge=64, size=256, variant={"slabs": 16}
    )
    peak = predict_training(work).peak
    assert peak <= 56 * MIB
    # A block leaves nothing but the gradients of its four convolutions.
    channels = 2 * width
    assert peak + (deeper - depth) * 4 * 4 * (9 * channels**2 + channels) <= 95 * MIB


def test_resize_convs_keep_their_input_and_enlarge_half_of_it_at_a_time():
    enlarged = 4 * 64 * 256**2

    def make_step():
        layer = upsampling_layer(GeneratorConfig(upsampling="bilinear"), 2, 64)
        x = torch.empty(1, 64, 128, 128).contiguous(memory_format=torch.channels_last)
        x.requires_grad_()

        def step():
            y = layer(x)
            torch.autograd.grad(y, [x, *layer.parameters()], torch.empty_like(y))

        return step

    # Output and its gradient take half as much each, the input's gradient a quarter, half of the
    # channels an eighth, enlarged and padded a half, and their gradient another half. The layers
    # one after the other take 4.0 in all.
    assert predict_step(make_step).peak <= 2.45 * enlarged


def results_twice(x: torch.Tensor, other: torch.Tensor) -> list:
    """Of operators that return new tensors, views, their argument, several or some of these."""
    results = []
    for _ in range(2):
        results += [x + other, x.relu_(), x.mul(2.5), x.mul(2), x[1:, ::2], x.detach(), other.t()]
        results += [*x.split(2), *x.max(1), x.to(torch.bfloat16), x.t().contiguous(), x.view(-1)]
        results += [*torch.ops.aten.native_layer_norm(x, [6], None, None, 1e-5), x + 1j, x.sum()]
        results += [x.clone().t_(), x.expand(2, 4, 6), torch.zeros(3), x > other, x.long()]
        # Some are asked of their kernels for shapes directly: in layouts that images have.
        image = x.reshape(2, 2, 2, 3).contiguous(memory_format=torch.channels_last)
        results += [*_of_images(image), *_of_images(image[..., 1:].bfloat16())]
    return results


def _of_images(x: torch.Tensor) -> list:
    mask = torch.ones(1, 2, 1, 1)
    slopes = torch.ops.aten.leaky_relu_backward(x, x * 2, 0.2, False), F.leaky_relu(x, 0.2)
    return [
        *slopes,
        *(torch.ops.aten.threshold_backward(x, x, 0), torch.ops.aten.tanh_backward(x, x)),
        *(x * mask, x + mask, x - x.contiguous(), x.clone().sub_(x), x.permute(0, 2, 3, 1)),
        *(x.flip(2), x.sum((2, 3)), torch.cat([x, x], 2), F.pad(x, (1, 0, 2, 1)), x[:, :, ::2]),
        *(torch.zeros_like(x).copy_(x).mul_(0.5).add_(x), torch.addcmul(x, x, x).addcmul_(x, x)),
        F.interpolate(x, scale_factor=2, mode="bilinear"),
    ]


def test_what_is_answered_without_asking_pytorch_again_is_what_it_would_have_answered():
    def described(results, *arguments):
        """Each result's looks, and which tensors share its storage."""
        tensors = [*arguments, *results]
        where = [t.untyped_storage()._cdata for t in tensors]
        return [
            (t.shape, t.stride(), t.storage_offset(), t.dtype, t.untyped_storage().nbytes(), places)
            for t, places in zip(tensors, (where.index(place) for place in where), strict=True)
        ]

    fakes = []

    def make_step():
        arguments = torch.rand(4, 6), torch.rand(4, 6)

        def step():
            results = results_twice(*arguments)
            fakes.extend(described(results, *arguments))

        return step

    predict_step(make_step)
    real = torch.rand(4, 6), torch.rand(4, 6)
    assert fakes == described(results_twice(*real), *real)


@known_kernels
@pytest.mark.parametrize("work", ROWS.values(), ids=ROWS)
def test_a_training_steps_predicted_peak_is_the_measured_one(one_thread, monkeypatch, work):
    monkeypatch.setattr(resizing, "PIECE", 2**18)  # enlarged in parts, as larger ones
    if work.precision == "bf16" and torch.cpu._is_amx_tile_supported():
        # Seen on a Xeon, one thread: from 9% above to 4% below what was measured.
        pytest.skip("AMX's kernels of bf16, which copy into tiles, are not known yet")
    assert predict_training(work).peak == pytest.approx(measured(work), rel=TOLERANCE)


@known_kernels
def test_a_translations_predicted_peak_is_the_measured_one(one_thread):
    config = workload().config.generator
    network = build_generator(config, 2, 3, 3)
    image = torch.rand(1, 3, 128, 128)
    peak = measure_step(lambda: translate_padded(network, image, "AtoB")).peak
    assert predict_translation(Translation(config), 128).peak == pytest.approx(peak, rel=TOLERANCE)
