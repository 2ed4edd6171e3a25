"""Trainings that start from a trained model, and models in checkpoints."""

from dataclasses import replace

import pytest
import torch

from revgan import Translator
from revgan.cli import main
from revgan.errors import UserError
from revgan.networks import ResnetPair, RevGenerator
from revgan.networks.places import StoredModel
from revgan.networks.pretrained import save_generator
from revgan.options import named_runs
from small_runs import configuration, run, weights, write_images


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    return write_images(tmp_path_factory.mktemp("images"))


@pytest.fixture(scope="module")
def trained(images, tmp_path_factory):
    """A run of four steps with checkpoints of steps 2 and 4."""
    root = tmp_path_factory.mktemp("trained") / "run"
    run(configuration(images, steps=4, ema=0.9, validate_every=None), root)
    return root


def fine_tune(images, root, model, optimizer=None, **changes):
    config = configuration(images, steps=1, pretrained=str(model), **changes)
    return run(replace(config, optimizer=replace(config.optimizer, lr=1e-12)), root)


def test_a_training_starts_from_the_models_weights(images, trained, tmp_path):
    _, said = fine_tune(images, tmp_path / "run", trained)
    assert f"The weights are those of {trained}\n" in said
    ours, theirs = weights(tmp_path / "run"), weights(trained)
    assert ours.keys() == theirs.keys()
    # Adam's first step moves each weight by the learning rate, 1e-12.
    assert all(torch.allclose(ours[name], theirs[name], rtol=0, atol=1e-11) for name in ours)


def test_a_checkpoint_gives_the_average_of_its_step_if_there_is_one(trained):
    last, before = (StoredModel.find(trained / "checkpoints" / f"step-{n}").load() for n in (4, 2))
    model = StoredModel.find(trained).load()
    same = [torch.equal(a, b) for a, b in zip(last.parameters(), model.parameters(), strict=True)]
    assert all(same)
    first = zip(before.parameters(), model.parameters(), strict=True)
    assert not all(torch.equal(a, b) for a, b in first)


def test_checkpoints_are_translated_and_compared_like_models(images, trained, tmp_path, capsys):
    checkpoint = trained / "checkpoints" / "step-2"
    source, whole = images / "testA" / "0.png", ["--device=cpu", "--window=whole"]
    assert main(["translate", str(checkpoint), str(source), str(tmp_path / "y.png"), *whole]) == 0
    assert (tmp_path / "y.png").exists()
    named = named_runs([str(checkpoint), str(trained)], None)
    assert {name: run.trained for name, run in named.items()} == {
        "run step-2": checkpoint,
        "run": trained,
    }
    assert main(["evaluate", str(checkpoint), "--model", "best"]) == 1
    assert main(["train", "--resume", str(checkpoint)]) == 2
    assert "or start another run with --from" in capsys.readouterr().err


def test_ends_towards_other_channels_start_afresh_and_are_named(images, tmp_path):
    model = RevGenerator(in_channels=1, out_channels=3, width=4, depth=2)
    save_generator(model, tmp_path / "model")
    _, said = fine_tune(images, tmp_path / "run", tmp_path / "model")
    assert "but encoder_a, decoder_a, which start afresh" in said.replace("\n", " ")
    ours = weights(tmp_path / "run")
    for name, weight in model.state_dict().items():
        same = ours[name].shape == weight.shape
        assert not same or torch.allclose(ours[name], weight, rtol=0, atol=1e-11)


def test_a_direction_that_the_model_lacks_starts_afresh(images, tmp_path):
    pair = ResnetPair(width=4, depth=2, directions=["BtoA"])
    save_generator(pair, tmp_path / "model")
    config = configuration(images, steps=1, pretrained=str(tmp_path / "model"))
    networks = replace(config.generator, model="resnet", memory="naive")
    _, said = run(replace(config, generator=networks), tmp_path / "run")
    assert "AtoB's encoder" in said
    assert "BtoA's" not in said


def test_the_command_takes_the_networks_from_the_model(images, tmp_path, capsys):
    save_generator(RevGenerator(width=6, depth=1, upsampling="nearest"), tmp_path / "model")
    command = ["train", str(images), "--from", str(tmp_path / "model"), "--data.crop=32"]
    command += ["--training.steps=1", "--discriminator.width=4", "--runtime.device=cpu"]
    assert main([*command, f"--run={tmp_path / 'run'}"]) == 0
    config = StoredModel.find(tmp_path / "run").load().config
    assert (config.width, config.depth, config.upsampling) == (6, 1, "nearest")
    assert main([*command, f"--run={tmp_path / 'other'}", "--generator.width=8"]) == 1
    assert "generator.width is 6 in" in capsys.readouterr().err
    assert not (tmp_path / "other").exists()
    assert main(["train", "--resume", str(tmp_path / "run"), "--from", str(images)]) == 2


def test_a_model_that_is_not_there_ends_in_a_sentence(images, tmp_path, capsys):
    assert main(["train", str(images), "--from", "nowhere"]) == 1
    assert "nowhere does not exist; give a run folder" in capsys.readouterr().err
    assert main(["train", str(images), "--from", str(images)]) == 1
    assert "isn't a model folder" in capsys.readouterr().err


def test_a_damaged_checkpoint_ends_in_a_sentence(tmp_path):
    save_generator(RevGenerator(width=4, depth=1), tmp_path / "run" / "model")
    checkpoint = tmp_path / "run" / "checkpoints" / "step-2"
    checkpoint.mkdir(parents=True)
    (checkpoint / "state.safetensors").write_bytes(bytes(20))
    with pytest.raises(UserError, match=r"step-2.* can't be read"):
        Translator.from_pretrained(checkpoint)


def test_an_existing_folder_wins_over_a_model_of_the_package(tmp_path, monkeypatch):
    shipped = tmp_path / "package"
    save_generator(RevGenerator(width=4, depth=1), shipped / "earth")
    monkeypatch.setattr("revgan.networks.places.SHIPPED", shipped)
    monkeypatch.chdir(tmp_path)
    assert len(Translator.from_pretrained("earth").generator.core) == 1
    save_generator(RevGenerator(width=4, depth=2), tmp_path / "earth")
    with pytest.warns(UserWarning, match="is used, not the model earth"):
        assert len(Translator.from_pretrained("earth").generator.core) == 2
    with pytest.raises(UserError, match=r"does not exist; .* \(earth\)"):
        Translator.from_pretrained("mars")


def test_weights_of_16_bits_become_those_of_32(tmp_path):
    net = RevGenerator(width=4, depth=1)
    save_generator(net.half(), tmp_path)
    loaded = StoredModel.find(tmp_path).load()
    assert all(weight.dtype == torch.float32 for weight in loaded.parameters())
    assert torch.equal(loaded.encoder_a[0].conv.weight, net.encoder_a[0].conv.weight.float())
