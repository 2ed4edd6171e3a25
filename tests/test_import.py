"""`revgan import`: what it takes, what it writes, what it refuses."""

import os

import numpy as np
import pytest
import torch

from plain import Kind, PlainRevGAN, resnet, save, save_parts, unet
from revgan.cli import main
from scans import read_image, write_image


@pytest.fixture
def checkpoint(tmp_path):
    return tmp_path / "checkpoint"


@pytest.fixture
def model(tmp_path):
    return tmp_path / "model"


@pytest.fixture
def generator():
    return resnet(Kind(), 3, 3)


def refusal(capsys, *arguments, status=1):
    """The one sentence on stderr that a command ends with."""
    capsys.readouterr()
    assert main([*map(str, arguments)]) == status
    error = capsys.readouterr().err
    assert error.startswith("revgan: ")
    assert error.count("\n") == 1
    return error.strip()


def import_refusal(capsys, source, model, *options, status=1):
    before = sorted(model.parent.rglob("*"))
    message = refusal(capsys, "import", source, model, *options, status=status)
    assert sorted(model.parent.rglob("*")) == before, "something was written"
    return message


@pytest.mark.parametrize("direction", ["AtoB", "BtoA"])
def test_an_imported_model_translates_images(capsys, checkpoint, model, tmp_path, direction):
    save_parts(PlainRevGAN(Kind(), 3, 3), checkpoint)
    assert main(["import", str(checkpoint), str(model)]) == 0
    told = "revgan of width 4, depth 2 and norm instance, AtoB and BtoA"
    assert f"Wrote {model}: {told}" in capsys.readouterr().out
    pixels = np.random.default_rng(0).integers(0, 256, (17, 15, 3), np.uint8)
    write_image(tmp_path / "x.png", pixels)
    paths = [str(tmp_path / "x.png"), str(tmp_path / "y.png")]
    assert main(["translate", str(model), *paths, "--direction", direction]) == 0
    assert read_image(tmp_path / "y.png").shape == (17, 15, 3)


def test_the_other_direction_of_a_model_with_one_is_refused(capsys, checkpoint, model, tmp_path):
    save(resnet(Kind(), 3, 3), checkpoint / "latest_net_G.pth")
    assert main(["import", str(checkpoint), str(model), "--direction", "BtoA"]) == 0
    write_image(tmp_path / "x.png", np.zeros((16, 16, 3), np.uint8))
    message = refusal(capsys, "translate", model, tmp_path / "x.png", tmp_path / "y.png")
    assert f"{model} does not translate AtoB; give --direction BtoA" in message
    assert not (tmp_path / "y.png").exists()


def test_a_model_folder_holds_safetensors_and_yaml_and_nothing_else(checkpoint, model, generator):
    save(generator, checkpoint / "latest_net_G.pth")
    assert main(["import", str(checkpoint), str(model)]) == 0
    assert sorted(path.name for path in model.iterdir()) == ["config.yaml", "model.safetensors"]
    assert sorted(path.name for path in model.parent.iterdir()) == ["checkpoint", "model"]


def test_folders_around_a_new_model_are_made_and_an_empty_one_is_used(tmp_path, generator):
    file = save(generator, tmp_path / "x.pth")
    (tmp_path / "empty").mkdir()
    for model in (tmp_path / "new" / "place" / "model", tmp_path / "empty"):
        assert main(["import", str(file), str(model)]) == 0
        assert (model / "model.safetensors").is_file()


def test_an_epoch_is_chosen_by_name(capsys, checkpoint, model, generator):
    save(generator, checkpoint / "latest_net_G.pth")
    save(resnet(Kind(), 3, 3, width=6), checkpoint / "200_net_G.pth")
    assert main(["import", str(checkpoint), str(model), "--epoch", "200"]) == 0
    assert "width 6" in capsys.readouterr().out


def test_discriminators_beside_the_generator_are_left_alone(checkpoint, model, generator):
    save(generator, checkpoint / "latest_net_G.pth")
    (checkpoint / "latest_net_D.pth").write_bytes(b"whatever")
    assert main(["import", str(checkpoint), str(model)]) == 0


# Sources that are refused


def test_a_missing_folder_is_refused(capsys, checkpoint, model):
    assert f"{checkpoint} does not exist" in import_refusal(capsys, checkpoint, model)


def test_a_folder_without_a_checkpoint_is_told_what_would_be_one(capsys, checkpoint, model):
    checkpoint.mkdir()
    message = import_refusal(capsys, checkpoint, model)
    for name in ("G_A_enc", "G_core", "G_A_dec", "G_B_enc", "G_B_dec", "G_A", "G_B", "G"):
        assert f"latest_net_{name}.pth" in message


def test_a_missing_epoch_is_told_those_that_are_there(capsys, checkpoint, model, generator):
    for epoch in ("latest", "100"):
        save(generator, checkpoint / f"{epoch}_net_G_A.pth")
    message = import_refusal(capsys, checkpoint, model, "--epoch", "50")
    assert "no generator of the epoch 50; choose with --epoch among 100, latest" in message


def test_missing_parts_of_a_revgan_are_named(capsys, checkpoint, model):
    save_parts(PlainRevGAN(Kind()), checkpoint)
    for name in ("G_core", "G_B_dec"):
        (checkpoint / f"latest_net_{name}.pth").unlink()
    message = import_refusal(capsys, checkpoint, model)
    assert "but not latest_net_G_core.pth, latest_net_G_B_dec.pth; copy" in message


def test_a_folder_with_two_kinds_of_generators_is_refused(capsys, checkpoint, model, generator):
    for name in ("G", "G_A"):
        save(generator, checkpoint / f"latest_net_{name}.pth")
    message = import_refusal(capsys, checkpoint, model)
    assert "different kinds of generators, latest_net_G_A.pth, latest_net_G.pth; give" in message


def test_one_part_of_a_revgan_is_refused(capsys, checkpoint, model):
    save_parts(PlainRevGAN(Kind()), checkpoint)
    message = import_refusal(capsys, checkpoint / "latest_net_G_core.pth", model)
    assert "latest_net_G_core.pth is one of the five parts of a RevGAN" in message


def test_a_u_net_and_a_resnet_are_no_model(capsys, checkpoint, model, generator):
    save(unet(Kind(), 3, 3), checkpoint / "latest_net_G_A.pth")
    save(generator, checkpoint / "latest_net_G_B.pth")
    message = import_refusal(capsys, checkpoint, model)
    assert "latest_net_G_B.pth isn't a U-Net of width 4, 3 downsamplings" in message


def test_weights_that_do_not_fit_are_refused(capsys, checkpoint, model, generator):
    save(generator, checkpoint / "latest_net_G_A.pth")
    save(resnet(Kind(), 3, 3, depth=3), checkpoint / "latest_net_G_B.pth")
    message = import_refusal(capsys, checkpoint, model)
    assert "latest_net_G_B.pth isn't a ResNet generator of width 4, depth 2" in message


class Malicious:
    """Runs a command when it is unpickled."""

    def __init__(self, witness):
        self.witness = witness

    def __reduce__(self):
        return os.mkdir, (str(self.witness),)


def test_code_in_a_file_is_never_run(capsys, tmp_path, model):
    file, witness = tmp_path / "latest_net_G.pth", tmp_path / "witness"
    torch.save({"model.1.weight": Malicious(witness)}, file)
    assert "holds more than tensors, which revgan refuses" in import_refusal(capsys, file, model)
    assert not witness.exists()


def test_a_whole_network_instead_of_its_weights_is_refused(capsys, tmp_path, model, generator):
    torch.save(generator, tmp_path / "x.pth")
    message = import_refusal(capsys, tmp_path / "x.pth", model)
    assert "x.pth can't be read as weights" in message
    assert "give a file that holds a network's state_dict()" in message


@pytest.mark.parametrize(
    "content",
    [{"state_dict": {}, "epoch": 3}, {}, {1: torch.zeros(1)}, torch.zeros(3), [torch.zeros(3)]],
)
def test_anything_but_tensors_by_name_is_refused(capsys, tmp_path, model, content):
    torch.save(content, tmp_path / "x.pth")
    assert "x.pth holds no named tensors" in import_refusal(capsys, tmp_path / "x.pth", model)


@pytest.mark.parametrize("zipped", [True, False])
def test_a_damaged_file_is_refused_wherever_it_is_cut(capsys, tmp_path, model, generator, zipped):
    file = tmp_path / "x.pth"
    torch.save(generator.state_dict(), file, _use_new_zipfile_serialization=zipped)
    content = file.read_bytes()
    for length in (0, 1, 10, 100, 1000, len(content) // 2, len(content) - 1):
        file.write_bytes(content[:length])
        message = import_refusal(capsys, file, model)
        assert "x.pth can't be read as weights: it is damaged" in message


@pytest.mark.parametrize("content", [b"\x80", b"\x80\x02.", b"text", b"\0" * 99, b"PK\3\4" * 9])
def test_garbage_is_refused(capsys, tmp_path, model, content):
    (tmp_path / "x.pth").write_bytes(content)
    assert "x.pth can't be read as weights" in import_refusal(capsys, tmp_path / "x.pth", model)


# Options and targets that are refused


@pytest.mark.parametrize("name", ["G_A", "G_B"])
def test_a_direction_is_refused_where_the_file_names_one(
    capsys, checkpoint, model, generator, name
):
    file = save(generator, checkpoint / f"latest_net_{name}.pth")
    for source in (checkpoint, file):
        message = import_refusal(capsys, source, model, "--direction", "AtoB", status=2)
        assert (
            f"--direction is for pix2pix, whose file does not name one; omit it with {source}"
            in (message)
        )


def test_a_direction_is_refused_where_both_are_there(capsys, checkpoint, model):
    save_parts(PlainRevGAN(Kind()), checkpoint)
    message = import_refusal(capsys, checkpoint, model, "--direction", "BtoA", status=2)
    assert "--direction is for pix2pix" in message


def test_an_epoch_is_refused_with_a_single_file(capsys, tmp_path, model, generator):
    file = save(generator, tmp_path / "x.pth")
    message = import_refusal(capsys, file, model, "--epoch", "200", status=2)
    assert "--epoch chooses among the files of a folder" in message


def test_a_direction_that_is_none_is_refused(capsys, checkpoint, model):
    message = refusal(capsys, "import", checkpoint, model, "--direction", "there", status=2)
    assert "--direction must be one of AtoB, BtoA, not there" in message


@pytest.mark.parametrize("kind", ["file", "folder"])
def test_a_target_that_is_in_the_way_stays_as_it_is(capsys, tmp_path, model, generator, kind):
    source = save(generator, tmp_path / "x.pth")
    content = model if kind == "file" else model / "notes.txt"
    content.parent.mkdir(exist_ok=True)
    content.write_text("mine")
    assert f"{model} exists and isn't an empty folder; name a new or empty" in import_refusal(
        capsys, source, model
    )
    assert content.read_text() == "mine"


def test_the_current_folder_is_not_replaced(capsys, tmp_path, monkeypatch, model, generator):
    source = save(generator, tmp_path / "x.pth")
    model.mkdir()
    monkeypatch.chdir(model)
    assert "isn't an empty folder" in refusal(capsys, "import", source, ".")


def test_nothing_remains_of_a_model_that_can_not_be_written(
    capsys, tmp_path, model, monkeypatch, generator
):
    source = save(generator, tmp_path / "x.pth")

    def full(*arguments):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("revgan.networks.pretrained.save_file", full)
    assert f"{model / 'model.safetensors'} can't be read or written: No space" in import_refusal(
        capsys, source, model
    )
