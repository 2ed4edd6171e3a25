"""Checkpoints of other code, imported, compute what that code computes."""

import pytest
import torch

from plain import Kind, PlainRevGAN, resnet, save, save_parts, unet
from revgan import Translator
from revgan.cli import main
from revgan.errors import UserError
from revgan.networks import GeneratorConfig, ResnetPair, UnetPair
from revgan.networks.released import import_pair, import_revgan, read_weights

TOLERANCE = 1e-5
"""Outputs lie in [-1, 1]. They differ by float32 rounding, as norms sum in another order; over six
seeds by up to 5e-6."""

A, B = 3, 2
SIZES = {2: (16, 24), 3: (8, 12, 16)}
CHANNELS = {"AtoB": A, "BtoA": B}


def imported(source, model, *options):
    assert main(["import", str(source), str(model), *options]) == 0
    return Translator.from_pretrained(model, device="cpu")


def image(direction, dims=2, batch=1):
    return torch.rand(batch, CHANNELS[direction], *SIZES[dims]) * 2 - 1


@torch.no_grad()
def assert_same(translator, plain, direction, dims=2):
    x = image(direction, dims, batch=2)
    y = plain(x)
    assert y.std() > 1000 * TOLERANCE  # a constant would be easy to match
    torch.testing.assert_close(translator(x, direction), y, atol=TOLERANCE, rtol=0)


@pytest.mark.parametrize("dims", [2, 3])
@pytest.mark.parametrize("norm", ["instance", "batch"])
def test_a_revgan_translates_both_ways_as_its_own_code(tmp_path, dims, norm):
    plain = PlainRevGAN(Kind(dims, norm), A, B)
    translator = imported(save_parts(plain, tmp_path / "checkpoint"), tmp_path / "model")
    for direction in ("AtoB", "BtoA"):
        assert_same(translator, lambda x, d=direction: plain(x, d), direction, dims)


def test_a_paired_revgan_with_dropout_translates_both_ways_as_its_own_code(tmp_path):
    plain = PlainRevGAN(Kind(dropout=True), A, B)
    translator = imported(save_parts(plain, tmp_path / "checkpoint"), tmp_path / "model")
    assert translator.generator.config.dropout == 0.5
    for direction in ("AtoB", "BtoA"):
        assert_same(translator, lambda x, d=direction: plain(x, d), direction)


def test_a_prefix_of_parallel_training_changes_nothing(tmp_path):
    plain = PlainRevGAN(Kind(), A, B)
    bare, prefixed = (
        imported(save_parts(plain, tmp_path / name, prefix=prefix), tmp_path / f"{name}-model")
        for name, prefix in (("bare", ""), ("prefixed", "module."))
    )
    for direction in ("AtoB", "BtoA"):
        x = image(direction)
        assert torch.equal(bare(x, direction), prefixed(x, direction))


def test_statistics_of_instance_norms_change_nothing(tmp_path):
    plain = PlainRevGAN(Kind(), A, B)
    save_parts(plain, tmp_path / "with")
    for path in (tmp_path / "with").iterdir():
        state = {k: v for k, v in torch.load(path).items() if "running" not in k}
        assert len(state) < len(torch.load(path))
        (tmp_path / "without").mkdir(exist_ok=True)
        torch.save(state, tmp_path / "without" / path.name)
    x = image("AtoB")
    outputs = [imported(tmp_path / n, tmp_path / f"{n}-model")(x) for n in ("with", "without")]
    assert torch.equal(*outputs)


@pytest.mark.parametrize("dims", [2, 3])
@pytest.mark.parametrize("norm", ["instance", "batch", "none"])
@pytest.mark.parametrize("dropout", [False, True])
def test_a_cyclegan_translates_both_ways_as_its_own_code(tmp_path, dims, norm, dropout):
    kind = Kind(dims, norm, dropout)
    forwards, backwards = resnet(kind, A, B), resnet(kind, B, A)
    save(forwards, tmp_path / "latest_net_G_A.pth")
    save(backwards, tmp_path / "latest_net_G_B.pth")
    translator = imported(tmp_path, tmp_path / "model")
    assert_same(translator, forwards, "AtoB", dims)
    assert_same(translator, backwards, "BtoA", dims)
    config = translator.generator.config
    assert (config.norm, config.dropout) == (norm, 0.5 if dropout else 0.0)


@pytest.mark.parametrize("dims", [2, 3])
@pytest.mark.parametrize("norm", ["instance", "batch", "none"])
@pytest.mark.parametrize(("levels", "dropout"), [(2, 0.0), (3, 0.0), (6, 0.5)])
def test_a_u_net_of_pix2pix_translates_as_its_own_code(tmp_path, dims, norm, levels, dropout):
    plain = unet(Kind(dims, norm, dropout > 0), A, B, levels=levels)
    file = save(plain, tmp_path / "latest_net_G.pth")
    translator = imported(file, tmp_path / "model")
    x = torch.rand(2, A, *(2**levels * n for n in (1, 2, 1)[:dims])) * 2 - 1
    with torch.no_grad():
        y = plain(x)
    assert y.std() > 1000 * TOLERANCE
    torch.testing.assert_close(translator(x), y, atol=TOLERANCE, rtol=0)
    generator = translator.generator
    assert isinstance(generator, UnetPair)
    assert (generator.config.norm, generator.config.dropout) == (norm, dropout)
    assert (generator.config.width, generator.config.halvings) == (4, levels)


def test_u_nets_of_both_directions_are_one_model(tmp_path):
    forwards, backwards = unet(Kind(), A, B), unet(Kind(), B, A)
    save(forwards, tmp_path / "latest_net_G_A.pth", prefix="module.")
    save(backwards, tmp_path / "latest_net_G_B.pth", prefix="module.")
    translator = imported(tmp_path, tmp_path / "model")
    assert_same(translator, forwards, "AtoB")
    assert_same(translator, backwards, "BtoA")


@pytest.mark.parametrize(("name", "direction"), [("G_A", "AtoB"), ("G_B", "BtoA")])
def test_one_generator_of_a_cyclegan_translates_its_way(tmp_path, name, direction):
    channels = (A, B) if direction == "AtoB" else (B, A)
    plain = resnet(Kind(), *channels)
    file = save(plain, tmp_path / f"latest_net_{name}.pth")
    for source, model in ((tmp_path, "of-folder"), (file, "of-file")):
        translator = imported(source, tmp_path / model)
        assert translator.generator.directions == (direction,)
        assert_same(translator, plain, direction)


@pytest.mark.parametrize("direction", ["AtoB", "BtoA"])
def test_a_pix2pix_translates_the_way_it_is_told(tmp_path, direction):
    channels = (A, B) if direction == "AtoB" else (B, A)
    plain = resnet(Kind(norm="batch", dropout=True), *channels)
    file = save(plain, tmp_path / "latest_net_G.pth")
    for source, model in ((tmp_path, "of-folder"), (file, "of-file")):
        translator = imported(source, tmp_path / model, "--direction", direction)
        assert translator.generator.directions == (direction,)
        assert_same(translator, plain, direction)


def test_the_file_format_of_old_versions_of_pytorch_is_read(tmp_path):
    plain = resnet(Kind(), A, B)
    file = tmp_path / "horse2zebra.pth"
    torch.save(plain.state_dict(), file, _use_new_zipfile_serialization=False)
    assert_same(imported(file, tmp_path / "model"), plain, "AtoB")


def test_batch_norms_of_old_versions_of_pytorch_count_no_batches(tmp_path):
    plain = resnet(Kind(norm="batch"), A, B)
    state = plain.state_dict()
    counts = [key for key in state if key.endswith("num_batches_tracked")]
    for key in counts:
        del state[key]
    assert counts
    torch.save(state, tmp_path / "old.pth")
    assert_same(imported(tmp_path / "old.pth", tmp_path / "model"), plain, "AtoB")


def test_the_shapes_decide_the_architecture(tmp_path):
    plain = PlainRevGAN(Kind(3), a=1, b=5, width=6, depth=4)
    parts = read_parts(plain, tmp_path)
    generator = import_revgan(parts)
    assert (generator.spatial_dims, generator.in_channels, generator.out_channels) == (3, 1, 5)
    # Memory aside, which is for training: nothing on a grid, and zeros around images.
    expected = GeneratorConfig(
        width=6, depth=4, exact=False, downsampling_padding="zeros", memory="naive"
    )
    assert generator.config == expected


def read_parts(plain, folder):
    names = {
        "encoder_a": "G_A_enc",
        "core": "G_core",
        "decoder_b": "G_A_dec",
        "encoder_b": "G_B_enc",
        "decoder_a": "G_B_dec",
    }
    save_parts(plain, folder)
    return {ours: read_weights(folder / f"latest_net_{name}.pth") for ours, name in names.items()}


def test_an_imported_resnet_has_generators_for_what_was_given_only(tmp_path):
    pair = import_pair({"BtoA": read_weights(save(resnet(Kind(), 1, 4), tmp_path / "x.pth"))})
    assert isinstance(pair, ResnetPair)
    assert (pair.in_channels, pair.out_channels, pair.directions) == (4, 1, ("BtoA",))


# What doesn't fit is told by the first key that doesn't


def misfit(state, tmp_path, **changes):
    for key, value in changes.items():
        name = key.replace("__", ".")
        state = {k: v for k, v in state.items() if k != name} | (
            {} if value is None else {name: value}
        )
    torch.save(state, tmp_path / "latest_net_G.pth")
    with pytest.raises(UserError) as error:
        import_pair({"AtoB": read_weights(tmp_path / "latest_net_G.pth")})
    message = str(error.value)
    assert "latest_net_G.pth" in message
    assert "give a checkpoint of the original code" in message
    return message


@pytest.mark.parametrize(
    ("key", "value", "expected"),
    [
        ("model__1__weight", None, "has no model.1.weight"),
        ("model__1__weight", torch.zeros(4), "shape (4,), which isn't a convolution's"),
        ("model__1__weight", torch.zeros(0, 3, 7, 7), "shape (0, 3, 7, 7), which isn't a conv"),
        ("model__1__weight", torch.zeros(4, 3, 3, 3), "has shape (4, 3, 3, 3), not (4, 3, 7, 7)"),
        ("model__4__weight", None, "has no model.4.weight"),
        ("model__4__bias", None, "has no model.4.bias"),
        ("model__11__conv_block__5__weight", None, "has no model.11.conv_block.5.weight"),
        ("model__12__weight", torch.zeros(2, 2, 3, 3), "its model.12.weight has shape"),
        ("model__19__weight", None, "has no model.19.weight"),
        ("model__19__weight", torch.tensor(1.0), "shape (), which isn't a convolution's"),
        ("model__30__weight", torch.zeros(1), "also has 'model.30.weight'"),
    ],
)
def test_a_key_or_shape_that_does_not_fit_is_named(tmp_path, key, value, expected):
    state = resnet(Kind(), A, B).state_dict()
    assert expected in misfit(state, tmp_path, **{key: value})


@pytest.mark.parametrize(
    ("key", "value", "expected"),
    [
        ("model__model__3__weight", None, "has no model.model.3.weight"),
        ("model__model__1__model__1__weight", None, "has 1 levels, but U-Nets from 2 to 10"),
        ("model__model__1__model__5__weight", None, "downsamplings and norm instance: it has no"),
        ("model__model__1__model__1__weight", torch.zeros(8, 4, 3, 3), "not (8, 4, 4, 4)"),
        ("model__model__9__weight", torch.zeros(1), "also has 'model.model.9.weight'"),
        # As 4 KiB of weights that would be of a network of 400 GiB:
        ("model__model__0__weight", torch.zeros(16384, 3, 1, 1), "has shape (16384, 3, 1, 1)"),
        ("model__model__0__weight", torch.zeros(20000, 3, 1, 1), "width must be"),
    ],
)
def test_a_key_or_shape_that_does_not_fit_a_u_net_is_named(tmp_path, key, value, expected):
    assert expected in misfit(unet(Kind(), A, B).state_dict(), tmp_path, **{key: value})


def test_missing_statistics_of_a_batch_norm_are_named(tmp_path):
    state = resnet(Kind(norm="batch"), A, B).state_dict()
    message = misfit(state, tmp_path, model__5__running_mean=None)
    assert "width 4, depth 2 and norm batch: it has no model.5.running_mean" in message


def test_a_revgan_whose_parts_are_of_different_trainings_is_refused(tmp_path):
    parts = read_parts(PlainRevGAN(Kind(), A, B), tmp_path)
    others = read_parts(PlainRevGAN(Kind(), A, B, width=6), tmp_path)
    message = (
        r"G_B_enc.pth isn't a RevGAN of width 4, .*: its model.1.weight has shape \(6, 2, 7, 7"
    )
    with pytest.raises(UserError, match=message):
        import_revgan(parts | {"encoder_b": others["encoder_b"]})


def test_a_core_that_is_not_a_chain_of_additive_couplings_is_refused(tmp_path):
    parts = read_parts(PlainRevGAN(Kind(), A, B), tmp_path)
    key = "model.0.odefunc.conv_block.1.weight"
    torch.save({key: torch.zeros(8, 8, 3, 3)}, tmp_path / "latest_net_G_core.pth")
    core = read_weights(tmp_path / "latest_net_G_core.pth")
    with pytest.raises(UserError, match=f"depth 0 .* it also has '{key}'"):
        import_revgan(parts | {"core": core})
