"""What can be added to the game: R1, spectral norm, and features of another network."""

import sys
from types import ModuleType

import pytest
import torch
import torch.nn.functional as F
import yaml
from accelerate import Accelerator
from safetensors.torch import save_file
from torch import nn

from revgan.cli import main
from revgan.data.config import DataConfig
from revgan.errors import UserError
from revgan.networks import DiscriminatorConfig, GeneratorConfig, PatchDiscriminator
from revgan.training import features
from revgan.training.batch import Batch
from revgan.training.config import LossConfig, RunConfig, RuntimeConfig, TrainingConfig
from revgan.training.prediction import Workload, predict_training
from revgan.training.setup import make_trainer
from small_runs import write_images


def trainer(objective="unpaired", losses=None, **discriminator):
    config = RunConfig(
        objective,
        generator=GeneratorConfig(width=4, depth=2, memory="reversible"),
        discriminator=DiscriminatorConfig(width=4, **discriminator),
        losses=LossConfig(**(losses or {})),
    )
    return make_trainer(config, 2, (1, 1), Accelerator(cpu=True), total=10)


def images():
    draws = torch.Generator().manual_seed(0)
    return Batch(*(torch.rand(2, 1, 32, 32, generator=draws) * 2 - 1 for _ in "ab"))


@pytest.mark.parametrize("objective", ["unpaired", "paired"])
def test_r1_is_the_squared_gradient_of_a_patch_at_real_images(objective):
    made, batch = trainer(objective, {"r1_weight": 3.0}), images()
    judge = made.players.judge_b.double()
    real = batch.b if objective == "unpaired" else torch.cat((batch.a, batch.b), 1)
    real = real.double()

    def total(image):
        return judge(image).sum()

    gradients = torch.func.vmap(torch.func.grad(lambda x: total(x[None])))(real)
    patches = judge(real)[0].numel()
    expected = gradients.square().flatten(1).sum(1).mean() / patches
    batch = Batch(batch.a.double(), batch.b.double())
    torch.testing.assert_close(made.objective.penalty("b", made.players, batch), expected)
    judge.float()
    losses = made.step(images(), 0)
    assert losses["d_a_r1"] > 0
    assert losses["d_b_r1"] > 0


def test_spectral_norm_bounds_each_convolution_and_is_part_of_the_state():
    made = trainer(spectral_norm=True)
    for step in range(8):
        made.step(images(), step)
    judge = made.players.judge_a
    convs = [layer for layer in judge.layers if isinstance(layer, nn.Conv2d)]
    for conv in convs:
        assert torch.linalg.matrix_norm(conv.weight.flatten(1), 2) < 1.2
    before = {name: value.clone() for name, value in made.state().items()}
    made.losses(images())
    assert all(torch.equal(value, before[name]) for name, value in made.state().items())
    again = trainer(spectral_norm=True)
    again.load_state(before)
    one, other = made.step(images(), 8), again.step(images(), 8)
    assert all(torch.equal(one[name], other[name]) for name in one)
    plain = PatchDiscriminator(2, 1, width=4).state_dict()
    assert not any("parametrizations" in name for name in plain)


def test_the_planner_counts_penalties_and_features(tmp_path):
    def need(objective="paired", spectral_norm=False, train_mask=False, **losses):
        config = RunConfig(
            objective,
            data=DataConfig(train_mask=train_mask),
            generator=GeneratorConfig(width=2, depth=1, memory="naive"),
            discriminator=DiscriminatorConfig(width=16, spectral_norm=spectral_norm),
            losses=LossConfig(**losses),
        )
        return predict_training(Workload(config, 64, 2, (1, 1))).total

    assert need() < need(r1_weight=1.0)
    assert need() < need(spectral_norm=True)
    assert need() < need(train_mask=True)
    assert need("unpaired") < need("unpaired", train_mask=True)
    assert need() < need(feature_weight=1.0, feature_network=str(unet(tmp_path, channels=32)))


def unet(folder, channels=4):
    from monai.networks.nets import UNet

    arguments = {"spatial_dims": 2, "in_channels": 1, "out_channels": 2}
    arguments |= {"channels": [channels, 2 * channels], "strides": [2]}
    torch.manual_seed(3)
    save_file(UNet(**arguments).state_dict(), folder / "unet.safetensors")
    (folder / "unet.yaml").write_text(yaml.safe_dump(arguments))
    return folder / "unet.safetensors"


def losses_by(path, weight=2.0, **more):
    return {"feature_weight": weight, "feature_network": str(path), **more}


def test_features_are_compared_with_the_truth_or_through_the_cycle(tmp_path):
    path, batch = unet(tmp_path), images()
    paired = trainer("paired", losses_by(path))
    network = paired.objective.features.network
    assert not any(weight.requires_grad for weight in network.parameters())
    with torch.no_grad():
        fake = paired.players.generator(batch.a)
        expected = 2 * F.l1_loss(network(fake), network(batch.b))
    torch.testing.assert_close(paired.step(batch, 0)["feature_b"], expected)
    unpaired = trainer("unpaired", losses_by(path, feature_domain="a"))
    with torch.no_grad():
        generator = unpaired.players.generator
        cycled = generator(generator(batch.a), "BtoA")
        expected = 2 * F.l1_loss(network(cycled), network(batch.a))
    torch.testing.assert_close(unpaired.step(batch, 0)["feature_a"], expected)


class Edges(nn.Module):
    """Two kinds of features."""

    def __init__(self, channels=1):
        super().__init__()
        self.first = nn.Conv2d(1, channels, 3)

    def forward(self, x):
        return [x, self.first(x)]


@pytest.fixture
def edges(tmp_path, monkeypatch):
    module = ModuleType("users_networks")
    module.Edges = Edges
    monkeypatch.setitem(sys.modules, "users_networks", module)
    monkeypatch.setattr(features, "_trusted", set())
    save_file(Edges(3).state_dict(), tmp_path / "edges.safetensors")
    (tmp_path / "edges.yaml").write_text("channels: 3")
    return tmp_path / "edges.safetensors"


def test_a_class_needs_trust(edges):
    losses = losses_by(edges, feature_class="users_networks.Edges")
    with pytest.raises(UserError, match=r"give --losses.feature_class users_networks.Edges on the"):
        trainer("paired", losses)
    features.trust_class("users_networks.Edges")
    made = trainer("paired", losses)
    assert made.step(images(), 0)["feature_b"] > 0


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"feature_class": "users_networks.Corners"}, "can't be made with the weights"),
        ({"feature_network": "edges.onnx"}, "isn't a .safetensors file"),
    ],
)
def test_networks_that_can_not_be_made_are_named(edges, change, reason):
    features.trust_class("users_networks.Corners")
    losses = losses_by(edges, feature_class="users_networks.Edges") | change
    with pytest.raises(UserError, match=reason):
        trainer("paired", losses)


def test_losses_that_do_nothing_are_refused():
    with pytest.raises(ValueError, match="belong together"):
        LossConfig(feature_weight=1.0)
    with pytest.raises(ValueError, match="feature_class does nothing"):
        LossConfig(feature_class="a.B")
    with pytest.raises(ValueError, match=r"use bf16 or float32 with losses.r1_weight above 0"):
        RunConfig(losses=LossConfig(r1_weight=1), runtime=RuntimeConfig(precision="fp16"))


def test_a_configuration_can_not_bring_a_class_but_the_command_line_can(edges, tmp_path, capsys):
    folder, root = write_images(tmp_path), tmp_path / "run"
    options = ["--data.crop", "32", "--generator.width", "4", "--generator.depth", "1"]
    options += ["--generator.memory", "naive", "--discriminator.width", "4", "--data.channels_a"]
    options += ["1", "--data.channels_b", "1", "--training.steps", "1", "--runtime.device", "cpu"]
    options += ["--objective", "paired", "--losses.feature_weight", "1"]
    network = ["--losses.feature_network", str(edges)]
    named = ["--losses.feature_class", "users_networks.Edges"]
    assert main(["train", str(folder), "--run", str(root), *options, *network, *named]) == 0
    features._trusted.clear()
    assert main(["train", "--resume", str(root), "--training.steps", "2"]) == 1
    assert "or add --trust if you know where the configuration is from" in capsys.readouterr().err
    assert main(["plan", str(root), "--memory-budget", "1GiB"]) == 1
    assert main(["train", "--resume", str(root), "--training.steps", "2", "--trust"]) == 0
    assert TrainingConfig().steps is None
