"""Checkpoints are whole or not there."""

import errno

import pytest
import torch

from revgan.errors import Notice, UserError
from revgan.networks import pretrained
from revgan.training import checkpoint
from revgan.training.checkpoint import (
    forget_checkpoints_after,
    load_checkpoint,
    save_checkpoint,
)


def tensors(value: float) -> dict[str, torch.Tensor]:
    return {"generator.weight": torch.full((3,), value), "adam_g.0.step": torch.tensor(value)}


def test_the_latest_checkpoint_comes_back(tmp_path):
    for step in (9, 10):
        save_checkpoint(tmp_path, step, tensors(step), {"scaler": {"scale": 2.0}}, keep=5)
    step, loaded, counts = load_checkpoint(tmp_path)
    assert (step, counts) == (10, {"scaler": {"scale": 2.0}})
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
    with pytest.raises(
        UserError, match=r"no space is left on the disk; .* step 1, the last complete"
    ):
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


@pytest.mark.parametrize("damaged", ["state.safetensors", "progress.json"])
@pytest.mark.parametrize("share", [None, 0.0, 0.5, 0.99, 2.0])
def test_of_a_torn_checkpoint_the_one_before_is_taken(tmp_path, damaged, share):
    """Gone, empty, torn in two places, or as long as it was but for one bit."""
    for step in (3, 4):
        save_checkpoint(tmp_path, step, tensors(step), {"skipped": {"total": 5}}, keep=2)
    path = tmp_path / "step-4" / damaged
    content = path.read_bytes()
    if share is None:
        path.unlink()
    elif share <= 1:
        path.write_bytes(content[: int(share * len(content))])
    else:
        path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    with pytest.warns(Notice, match=r"step-4 can't be read \(.*; the one of step 3 is taken"):
        step, loaded, counts = load_checkpoint(tmp_path)
    assert (step, counts) == (3, {"skipped": {"total": 5}})
    assert all(torch.equal(loaded[key], value) for key, value in tensors(3).items())
    forget_checkpoints_after(tmp_path, 3)
    assert [path.name for path in tmp_path.iterdir()] == ["step-3"]


@pytest.mark.parametrize("step", ["-3", "1e400", "10000000", "3", '"4"', "4.5", "NaN", "null"])
def test_a_checkpoint_that_tells_another_step_is_refused(tmp_path, step):
    for each in (3, 4):
        save_checkpoint(tmp_path, each, tensors(each), {}, keep=2)
    (tmp_path / "step-4" / "progress.json").write_text(f'{{"step": {step}, "scaler": {{}}}}')
    with pytest.raises(UserError, match=r"step-4 is damaged: .* says another step"):
        load_checkpoint(tmp_path)


def test_checkpoints_from_before_the_checksums_are_read(tmp_path):
    folder = save_checkpoint(tmp_path, 3, tensors(3), {}, keep=2)
    (folder / "progress.json").write_text('{"step": 3, "scaler": {}}')
    assert load_checkpoint(tmp_path)[0] == 3


def test_progress_that_was_altered_counts_as_damaged(tmp_path):
    for step in (3, 4):
        save_checkpoint(tmp_path, step, tensors(step), {"skipped": {"total": 5}}, keep=2)
    path = tmp_path / "step-4" / "progress.json"
    path.write_text(path.read_text().replace('"total": 5', '"total": 6'))
    with pytest.warns(Notice, match=r"step-4 can't be read \(progress.json isn't what was written"):
        assert load_checkpoint(tmp_path)[0] == 3


@pytest.mark.parametrize(
    "name", ["step-007", "step-9²", "step-٩", "step-", f"step-{'9' * 5000}"[:250]]
)
def test_folders_of_other_names_are_no_checkpoints(tmp_path, name):
    save_checkpoint(tmp_path, 3, tensors(3), {}, keep=2)
    (tmp_path / name).mkdir()
    assert load_checkpoint(tmp_path)[0] == 3
