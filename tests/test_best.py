"""The best model: which it is, that it loads, and what resuming knows of it."""

import errno
import json

import pytest
import torch

from revgan import Translator
from revgan.networks import RevGenerator
from revgan.training import best
from revgan.training.best import Best, BestModel, forget_best_after


def generator(value: float) -> RevGenerator:
    network = RevGenerator(width=2, depth=1)
    for weight in network.parameters():
        weight.detach().fill_(value)
    return network


def scores(**changes: float) -> dict[str, float]:
    return {"mae": 10.0, "psnr": 20.0, "ssim": 0.5} | changes


def keeper(folder, by="psnr") -> BestModel:
    return BestModel(folder, by, "val", None)


def kept(folder) -> float:
    """What the weights are filled with."""
    return next(Translator.from_pretrained(folder).generator.parameters()).flatten()[0].item()


@pytest.mark.parametrize(
    ("by", "offers", "chosen"),
    [
        ("psnr", [20, 22, 21, 22], 1),
        ("ssim", [0.5, -0.1, 0.6, 0.4], 2),
        ("mae", [10, 9, 11, 9], 1),
        ("psnr", [float("nan"), 5, float("nan")], 1),
    ],
)
def test_the_best_offer_is_kept_the_first_of_equals(tmp_path, by, offers, chosen):
    model = keeper(tmp_path / "best", by)
    taken = [model.offer(generator(i), i, scores(**{by: s})) for i, s in enumerate(offers)]
    assert max(i for i, better in enumerate(taken) if better) == chosen
    assert kept(tmp_path / "best") == chosen
    record = json.loads((tmp_path / "best" / "best.json").read_text())
    assert sorted(record.pop("sha256")) == ["config.yaml", "model.safetensors"]
    assert record == {"step": chosen, "by": by, "split": "val", **scores(**{by: offers[chosen]})}


def test_a_resumed_run_knows_the_best_so_far_by_any_score(tmp_path):
    keeper(tmp_path).offer(generator(1), 1, scores())
    assert not keeper(tmp_path).offer(generator(2), 2, scores(psnr=19))
    assert not keeper(tmp_path, "mae").offer(generator(2), 2, scores(mae=11))
    assert keeper(tmp_path, "mae").offer(generator(2), 2, scores(mae=9))
    assert Best.read(tmp_path) == Best(2, "mae", "val", **scores(mae=9))


@pytest.mark.parametrize(("step", "stays"), [(3, True), (4, True), (2, False)])
def test_a_best_of_a_step_that_will_be_done_again_is_forgotten(tmp_path, step, stays):
    keeper(tmp_path / "best").offer(generator(1), 3, scores())
    forget_best_after(tmp_path / "best", step)
    assert (tmp_path / "best").exists() == stays
    assert keeper(tmp_path / "best").offer(generator(2), 3, scores(psnr=1)) != stays


def test_weights_whose_record_was_not_written_are_not_taken_for_the_best(tmp_path, monkeypatch):
    keeper(tmp_path).offer(generator(1), 1, scores())

    def fail(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(best, "write_text", fail)
    with pytest.raises(OSError, match="No space"):
        keeper(tmp_path).offer(generator(2), 2, scores(psnr=30))
    monkeypatch.undo()
    assert Best.read(tmp_path) is None
    assert keeper(tmp_path).offer(generator(3), 3, scores(psnr=1))
    assert kept(tmp_path) == 3


def test_the_best_model_translates_like_any_other(tmp_path):
    keeper(tmp_path / "run" / "best").offer(generator(0.01), 5, scores())
    image = torch.rand(3, 32, 32)
    assert Translator.from_pretrained(tmp_path / "run" / "best")(image).shape == image.shape
