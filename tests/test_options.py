"""The options of the generators: what each changes, and which exclude each other."""

import itertools
from dataclasses import replace

import pytest
import torch
from torch import nn

from revgan.data.config import DataConfig
from revgan.errors import UsageError
from revgan.networks import (
    DiscriminatorConfig,
    GeneratorConfig,
    PatchDiscriminator,
    ResnetGenerator,
    ResnetPair,
    RevGenerator,
    UnetGenerator,
)
from revgan.networks.layers import InstanceNorm, PaddedConv, init_weights
from revgan.options import Parser, add_run_options, run_config, stored_config
from revgan.options.runs import FOR_PAIRS
from revgan.reversible import AdditiveCoupling, AffineCoupling, OdeCore
from revgan.training.config import LossConfig, RunConfig, RuntimeConfig


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"model": "vit"}, "model must be one of revgan, resnet, unet, not 'vit'"),
        ({"coupling": "cubic"}, "coupling must be one of additive, affine"),
        ({"upsampling": "strided"}, "upsampling must be one of transposed, subpixel"),
        ({"dropout": 1.0}, "dropout must be from 0 to below 1, not 1.0"),
        ({"ode_rtol": 0.0}, "ode_rtol must be above 0"),
        ({"core": "ode", "ode_step": float("nan")}, "ode_step must be above 0, not nan"),
        ({"model": "resnet", "core": "ode"}, "core can't be ode with model resnet, only"),
        ({"model": "resnet", "coupling": "affine"}, "coupling can't be affine with model resnet"),
        ({"model": "resnet", "exact": False}, "exact can't be False with model resnet"),
        ({"model": "resnet", "memory": "lean"}, "memory must be auto or naive with model resnet"),
        *(
            ({"model": "unet", name: value}, f"{name} can't be {value} with model unet, only with")
            for name, value in {
                "depth": 9,
                "core": "ode",
                "coupling": "affine",
                "exact": False,
                "first_kernel": 3,
                "last_kernel": 1,
                "identity_start": True,
                "downsampling": "subpixel",
                "downsampling_padding": "zeros",
                "upsampling": "nearest",
            }.items()
        ),
        ({"model": "unet", "memory": "lean"}, "memory must be auto or naive with model unet"),
        ({"model": "unet", "downsamplings": 1}, "must be from 2 to 10 with model unet, not 1"),
        ({"model": "unet", "downsamplings": (4, 4, 11)}, r"not \[4, 4, 11\]"),
        (
            {"model": "unet", "downsamplings": 5, "dropout": 0.5},
            "dropout must be 0 in a U-Net of 5",
        ),
        ({"core": "ode", "coupling": "affine"}, "coupling can't be affine with core ode"),
        ({"coupling": "affine", "exact": False}, "exact can't be False with coupling affine"),
        ({"ode_solver": "bosh3"}, "ode_solver can't be bosh3 with core reversible, only with ode"),
        ({"core": "ode", "ode_solver": "rk4", "ode_atol": 0.1}, "ode_atol can't be 0.1 with"),
        (
            {"core": "ode", "ode_solver": "dopri5", "ode_step": 0.5},
            "ode_step can't be 0.5 with ode_solver dopri5",
        ),
        ({"core": "ode", "dropout": 0.5}, "dropout must be 0 with core ode"),
        ({"core": "ode", "norm": "batch"}, "norm must be instance or none with core ode"),
        ({"core": "ode", "memory": "lean", "stored_blocks": 1}, "stored_blocks can't be 1 with"),
    ],
)
def test_options_that_would_do_nothing_or_harm_are_refused(options, reason):
    with pytest.raises(ValueError, match=reason):
        GeneratorConfig(**options)


@pytest.mark.parametrize(
    "options",
    [
        {"skip": ["x"]},
        {"skip": 1},
        {"identity_start": {"a": 1}},
        {"exact": None},
        {"width": 2.5},
        {"depth": True},
        {"dropout": "0"},
        {"downsamplings": ((1,), 2)},
        {"first_kernel": None},
        {"model": ["revgan"]},
        {"norm": {}},
    ],
)
def test_options_of_another_type_are_refused_by_name(options):
    # A stranger's model folder may hold anything; a wrong type would fail somewhere far inside.
    (name,) = options
    with pytest.raises(ValueError, match=f"{name} must be "):
        GeneratorConfig(**options)


def test_a_network_without_values_draws_none(monkeypatch):
    # PyTorch would import its compiler to draw them, which takes seconds.
    monkeypatch.setattr(nn.init, "normal_", None)
    with torch.device("meta"):
        assert all(weight.is_meta for weight in RevGenerator(width=2).parameters())


def test_the_core_is_what_the_options_say():
    assert all(isinstance(b, AdditiveCoupling) and b.exact for b in RevGenerator(width=2).core)
    assert not any(b.exact for b in RevGenerator(width=2, exact=False).core)
    affine = RevGenerator(width=2, coupling="affine").core
    assert all(isinstance(block, AffineCoupling) for block in affine)
    ode = RevGenerator(width=2, core="ode", ode_solver="euler", ode_step=0.5).core
    assert isinstance(ode, OdeCore)
    assert (ode.duration, ode.solver, ode.step, ode.memory_saving) == (6, "euler", 0.5, True)


def test_an_affine_core_leads_back_within_rounding():
    net = RevGenerator(width=4, depth=6, coupling="affine").double()
    x = net.encoder_a(torch.rand(1, 3, 16, 16, dtype=torch.float64))
    # The inverse divides by scales below 1: at this depth it amplifies rounding some 1000 times.
    assert torch.allclose(net.core.inverse(net.core(x)), x, atol=1e-11)


def norms_of(net):
    return [m for m in net.modules() if isinstance(m, InstanceNorm | nn.BatchNorm2d)]


@pytest.mark.parametrize(
    "build",
    [
        lambda norm: RevGenerator(width=2, depth=1, norm=norm),
        lambda norm: ResnetGenerator(width=2, depth=1, norm=norm),
        lambda norm: UnetGenerator(width=2, downsamplings=3, norm=norm),
        lambda norm: PatchDiscriminator(width=2, norm=norm),
    ],
)
def test_every_network_takes_each_norm(build):
    count = len(norms_of(build("instance")))
    assert count > 2
    assert len(norms_of(build("batch"))) == count
    assert all(isinstance(norm, nn.BatchNorm2d) for norm in norms_of(build("batch")))
    assert not norms_of(build("none"))
    x = torch.rand(2, 3, 32, 32)
    for norm in ("instance", "batch", "none"):
        assert build(norm)(x).isfinite().all()


def test_dropout_stands_in_the_residual_functions_only():
    for net, functions in (
        (RevGenerator(width=2, depth=3, dropout=0.5), 6),
        (ResnetGenerator(width=2, depth=3, dropout=0.5), 3),
    ):
        drops = [name for name, m in net.named_modules() if isinstance(m, nn.Dropout)]
        assert len(drops) == functions
        assert all(name.startswith(("core", "blocks")) for name in drops)
    assert not any(isinstance(m, nn.Dropout) for m in RevGenerator(width=2).modules())


def test_dropout_in_a_u_net_stands_where_pix2pix_has_it():
    net = UnetGenerator(width=2, dropout=0.5)
    # Of eight upsampling layers, inside out: the first without, three with, four without.
    drops = [any(isinstance(m, nn.Dropout) for m in up.modules()) for up in net.decoder]
    assert drops == [False, True, True, True, False, False, False, False]


@pytest.mark.parametrize(
    ("crop", "expected"),
    [(256, 8), (512, 8), (64, 6), (96, 5), ((256, 192), (8, 6)), ((64, 64, 12), (6, 6, 2))],
)
def test_a_u_net_halves_the_crop_as_often_as_fits(crop, expected):
    sizes = crop if isinstance(crop, tuple) else (crop, crop)
    assert GeneratorConfig("unet").fitted(sizes).downsamplings == expected


def test_a_crop_that_a_u_net_cannot_halve_is_refused():
    with pytest.raises(ValueError, match=r"crop must be a multiple of 4 from 24 up, not 250"):
        RunConfig(data=DataConfig(crop=250), generator=GeneratorConfig("unet"))
    with pytest.raises(ValueError, match=r"generator.dropout must be 0 in a U-Net of 5 downs"):
        RunConfig(data=DataConfig(crop=32), generator=GeneratorConfig("unet", dropout=0.5))


@pytest.mark.parametrize("option", [{"dropout": 0.5}, {"norm": "batch"}, {"norm": "none"}])
@pytest.mark.parametrize("direction", ["AtoB", "BtoA"])
def test_memory_modes_give_the_same_bits_and_statistics(option, direction):
    x = torch.rand(2, 3, 16, 16) * 2 - 1

    def run(memory):
        torch.manual_seed(0)
        net = RevGenerator(width=2, depth=3, memory=memory, **option)
        y = net(x, direction)
        y.square().mean().backward()
        gradients = [p.grad for p in net.parameters() if p.grad is not None]
        return y, *gradients, *net.buffers()

    naive = run("naive")
    for memory in ("reversible", "lean"):
        assert all(itertools.starmap(torch.equal, zip(run(memory), naive, strict=True))), memory


@pytest.mark.parametrize(
    ("init", "std"),
    [
        ("normal", 0.02),
        ("xavier", 0.02 * (2 / (9 * 32 + 9 * 64)) ** 0.5),
        ("kaiming", (2 / (9 * 32)) ** 0.5),
        ("orthogonal", 0.02 * (9 * 32) ** -0.5),
    ],
)
def test_weights_start_from_the_distribution_asked_for(init, std):
    torch.manual_seed(0)
    conv = PaddedConv(2, 32, 64, 3)
    init_weights(conv, init)
    weight = conv.conv.weight.detach()
    # 18,432 draws: within 5 standard errors of 0 and of the standard deviation.
    assert abs(weight.mean()) < 5 * std / weight.numel() ** 0.5
    assert abs(weight.std() - std) < 5 * std / (2 * weight.numel()) ** 0.5
    if init == "orthogonal":
        rows = weight.flatten(1)
        assert torch.allclose(rows @ rows.T, 0.02**2 * torch.eye(64), atol=1e-9)


def test_initial_weights_are_an_option_of_every_network():
    for build in (RevGenerator, ResnetGenerator, PatchDiscriminator):
        weight = next(p for p in build(width=32, init="kaiming").parameters() if p.ndim > 1)
        assert weight.std() > 3 * 0.02


def test_a_pair_translates_by_one_network_a_direction():
    pair = ResnetPair(in_channels=1, out_channels=2, width=2, depth=1)
    a, b = torch.rand(1, 1, 16, 16), torch.rand(1, 2, 16, 16)
    assert torch.equal(pair(a, "AtoB"), pair.generators["AtoB"](a))
    assert torch.equal(pair(b, "BtoA"), pair.generators["BtoA"](b))


def test_a_pair_without_a_direction_says_which_it_has():
    pair = ResnetPair(width=2, depth=1, directions=["BtoA"])
    assert pair(torch.rand(1, 3, 16, 16), "BtoA").shape == (1, 3, 16, 16)
    with pytest.raises(ValueError, match="direction must be BtoA, not 'AtoB'"):
        pair(torch.rand(1, 3, 16, 16), "AtoB")


@pytest.mark.parametrize("directions", [[], ["AtoC"], ["AtoB", "CtoA"]])
def test_a_pair_of_unknown_directions_is_refused(directions):
    with pytest.raises(ValueError, match="directions must be one or both of AtoB and BtoA, not"):
        ResnetPair(width=2, depth=1, directions=directions)


@pytest.mark.parametrize("norm", ["instance", "batch"])
@pytest.mark.parametrize("memory", ["naive", "reversible", "lean"])
def test_a_graph_may_be_walked_twice(memory, norm):
    net = RevGenerator(width=2, depth=2, memory=memory, norm=norm)
    loss = net(torch.rand(1, 3, 16, 16)).square().sum()
    weight = net.encoder_a[0].conv.weight
    first, second = (torch.autograd.grad(loss, weight, retain_graph=True)[0] for _ in range(2))
    assert torch.equal(first, second)


@pytest.mark.parametrize(
    "options", [{"form": "patch16"}, {"norm": "layer"}, {"init": "zeros"}, {"width": 0}]
)
def test_impossible_discriminators_are_refused(options):
    with pytest.raises(ValueError, match=next(iter(options))):
        DiscriminatorConfig(**options)


@pytest.mark.parametrize("memory", ["reversible", "lean"])
def test_consensus_optimization_is_refused_where_there_are_no_second_derivatives(memory):
    with pytest.raises(
        ValueError, match=f"generator.memory {memory} doesn't support; set generator.memor"
    ):
        RunConfig(generator=GeneratorConfig(memory=memory), losses=LossConfig(consensus_weight=0.1))


@pytest.mark.parametrize(
    "options",
    [
        {"generator": GeneratorConfig(core="ode")},
        {"losses": LossConfig(consensus_weight=0.1)},
    ],
)
def test_fp16_is_refused_where_its_scaled_gradients_would_be_wrong(options):
    with pytest.raises(ValueError, match=r"runtime.precision fp16"):
        RunConfig(**options, runtime=RuntimeConfig(precision="fp16"))


def test_what_another_network_would_be_is_known():
    config = RunConfig()
    other = RunConfig("paired", generator=GeneratorConfig(upsampling="nearest", memory="lean"))
    assert config.changed_networks(config) == []
    assert config.changed_networks(other) == ["objective", "generator.upsampling"]


@pytest.mark.parametrize(
    ("preset", "expected"),
    [
        ("cyclegan", {"model": "resnet", "width": 32, "depth": 9, "lr": 2e-4}),
        ("pix2pix", {"model": "resnet", "width": 32, "depth": 9, "objective": "paired"}),
        (
            "released-code",
            {"downsampling_padding": "zeros", "exact": False, "lr": 2e-4, "form": "patch70"},
        ),
        (
            "pix2pix-unet",
            {"model": "unet", "width": 64, "downsamplings": 8, "dropout": 0.5, "norm": "instance"},
        ),
        (
            "paper",
            {
                "downsampling_padding": "reflect",
                "exact": True,
                "lr": 2e-3,
                "form": "paper",
                "identity_start": False,
                "upsampling": "transposed",
            },
        ),
        ("default", {"identity_start": True, "upsampling": "bilinear", "norm": "instance"}),
        ("pairs", {"objective": "paired", "norm": "none", "tanh": False, "init": "kaiming"}),
        ("volume-pairs", {"objective": "paired", "norm": "none", "upsampling": "bilinear"}),
    ],
)
def test_presets_are_what_the_docs_say(preset, expected):
    parser = Parser("train")
    add_run_options(parser)
    config = run_config(parser.parse_args(["--preset", preset]))
    generator, discriminator = vars(config.generator), vars(config.discriminator)
    found = {"objective": config.objective, "lr": config.optimizer.lr} | discriminator | generator
    found["width"], found["norm"] = config.generator.width, config.generator.norm
    assert {name: found[name] for name in expected} == expected


@pytest.mark.parametrize(
    ("preset", "options", "given_up"),
    [
        ("default", "--generator.coupling=affine", ["identity_start"]),
        ("default", "--generator.model=unet", ["identity_start"]),
        ("default", "--generator.core=ode", []),
        ("cyclegan", "--generator.model=unet", ["identity_start"]),
    ],
)
def test_what_a_preset_has_gives_way_where_it_means_nothing(preset, options, given_up):
    """What a user asks for beside it is refused as before."""
    given = [f"--preset={preset}", options]
    usual, config = parsed(given[0]).generator, parsed(*given).generator
    for name in ("identity_start", "width"):
        source = GeneratorConfig() if name in given_up else usual
        assert getattr(config, name) == getattr(source, name)
    for name in given_up:
        with pytest.raises(UsageError, match=f"--generator.{name} can't be"):
            parsed(*given, f"--generator.{name}={getattr(usual, name)}")


@pytest.mark.parametrize("preset", FOR_PAIRS)
def test_a_paired_objective_takes_the_presets_counterpart_for_pairs(preset, tmp_path):
    """However it is asked for; presets that have none stay as they are."""
    file = tmp_path / "paired.yaml"
    file.write_text("objective: paired")
    counterpart = parsed("--preset", FOR_PAIRS[preset])
    original = parsed("--preset", preset)
    assert (original.objective, counterpart.objective) == ("unpaired", "paired")
    assert counterpart.data == original.data
    assert counterpart.discriminator == original.discriminator
    for asked in (["--objective", "paired"], ["--objective=paired"], ["--config", file]):
        assert parsed("--preset", preset, *asked) == counterpart
    assert parsed("--objective", "paired") == parsed("--preset", "pairs")
    paper = parsed("--preset", "paper")
    assert parsed("--preset", "paper", "--objective", "paired") == replace(
        paper, objective="paired"
    )


@pytest.mark.parametrize(("one", "other"), [("default", "cyclegan"), ("pairs", "pix2pix")])
def test_the_papers_rivals_differ_by_their_generators_alone(one, other):
    ours, theirs = parsed("--preset", one), parsed("--preset", other)
    resnet = replace(ours.generator, model="resnet", width=32, depth=9)
    assert replace(ours, generator=resnet) == theirs


def test_configurations_are_printed_with_their_presets_values(capsys):
    for preset, shown in (("pix2pix", "model: resnet"), ("default", "ema: 0.999")):
        with pytest.raises(SystemExit):
            parsed("--preset", preset, "--print_config")
        assert shown in capsys.readouterr().out


def parsed(*arguments):
    parser = Parser("train")
    add_run_options(parser)
    return run_config(parser.parse_args([str(argument) for argument in arguments]))


def test_options_override_files_which_override_the_preset_wherever_it_stands(tmp_path):
    first, second = tmp_path / "first.yaml", tmp_path / "second.yaml"
    first.write_text("{optimizer: {lr: 0.5, beta1: 0.1}, runtime: {memory_budget: 1GiB}}")
    second.write_text("{optimizer: {beta1: 0.2}, data: {crop: 64}}")
    given = ["--config", first, "--config", second, "--data.crop", "32", "--preset", "paper"]
    config = parsed(*given)
    assert (config.optimizer.lr, config.optimizer.beta1, config.data.crop) == (0.5, 0.2, 32)
    assert config.runtime.memory_budget == "1GiB"
    assert (config.discriminator.form, config.data.resize) == ("paper", 286)
    assert parsed(*given, "--memory-budget", "2GiB").runtime.memory_budget == "2GiB"
    assert parsed("--preset", "default") == parsed()


def test_a_stored_configuration_is_read_as_it_was_written(tmp_path):
    config = parsed("--preset", "volumes", "--data.spacing", "[1,1,2.5]", "--memory-budget", "1GiB")
    assert config.data.spacing == (1.0, 1.0, 2.5)
    (tmp_path / "config.yaml").write_text(config.to_yaml())
    assert stored_config(tmp_path / "config.yaml") == config
    changed = stored_config(tmp_path / "config.yaml", {"runtime.device": "cpu"})
    assert changed == replace(config, runtime=replace(config.runtime, device="cpu"))


def test_models_have_the_names_of_the_literature():
    resnet = GeneratorConfig(model="resnet")
    assert RunConfig().model_name == "RevGAN"
    assert RunConfig("unpaired", generator=resnet).model_name == "CycleGAN"
    assert RunConfig("paired", generator=resnet).model_name == "pix2pix"
