"""Checkpoints are whole or not there."""

import errno

import pytest
import torch

from revgan.errors import UserError
from revgan.networks import pretrained
from revgan.training import checkpoint
from revgan.training.checkpoint import load_checkpoint, save_checkpoint


def tensors(value: float) -> dict[str, torch.Tensor]:
    return {"generator.weight": torch.full((3,), value), "adam_g.0.step": torch.tensor(value)}


def test_the_latest_checkpoint_comes_back(tmp_path):
    for step in (9, 10):
        save_checkpoint(tmp_path, step, tensors(step), {"scale": 2.0}, keep=5)
    step, loaded, scaler = load_checkpoint(tmp_path)
    assert (step, scaler) == (10, {"scale": 2.0})
    assert all(torch.equal(loaded[key], value) for key, value in tensors(10).items())


def test_only_the_latest_are_kept(tmp_path):
    for step in (5, 50, 500):
        save_checkpoint(tmp_path, step, tensors(step), {}, keep=2)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["step-50", "step-500"]


@pytest.mark.parametrize("broken", ["save_tensors", "write_text"])
def test_a_full_disk_leaves_the_last_checkpoint_and_no_litter(tmp_path, monkeypatch, broken):
    save_checkpoint(tmp_path, 1, tensors(1), {}, keep=2)

    def fail(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(checkpoint, broken, fail)
    with pytest.raises(UserError, match=r"no space is left on the disk; .* step 1, the last whole"):
        save_checkpoint(tmp_path, 2, tensors(2), {}, keep=2)
    assert [path.name for path in tmp_path.iterdir()] == ["step-1"]
    assert load_checkpoint(tmp_path)[0] == 1


def test_what_safetensors_says_of_a_full_disk_is_understood(tmp_path, monkeypatch):
    def fail(*_):
        raise pretrained.SafetensorError("I/O error: No space left on device (os error 28)")

    monkeypatch.setattr(pretrained, "save_file", fail)
    with pytest.raises(UserError, match="no space is left on the disk; make room"):
        save_checkpoint(tmp_path, 2, tensors(2), {}, keep=2)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_without_checkpoints_is_named(tmp_path):
    with pytest.raises(UserError, match="holds no checkpoint"):
        load_checkpoint(tmp_path)


@pytest.mark.parametrize("damaged", ["state.safetensors", "progress.json"])
def test_a_damaged_checkpoint_is_named(tmp_path, damaged):
    folder = save_checkpoint(tmp_path, 3, tensors(3), {}, keep=2)
    (folder / damaged).write_bytes(b"\x00" * 7)
    with pytest.raises(UserError, match="step-3 can't be read"):
        load_checkpoint(tmp_path)
