"""Which held-out scans count as pairs, and who says so."""

import nibabel
import numpy as np
import pytest

from revgan.cli import main
from revgan.data.sets import DataConfig, open_data_set
from revgan.errors import Notice, UserError
from scans import write_image

GUESS = "taken for pairs, as their names and sizes match"


@pytest.fixture(autouse=True)
def _cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.fixture
def folder(tmp_path):
    for seed, name in enumerate(("trainA", "trainB", "testA", "testB")):
        (tmp_path / "images" / name).mkdir(parents=True)
        pixels = np.random.default_rng(seed).integers(0, 256, (24, 24, 1), np.uint8)
        write_image(tmp_path / "images" / name / "1.png", pixels)
    return tmp_path / "images"


def opened(folder, aligned, *, paired=False):
    config = DataConfig(path=str(folder), crop=24, aligned=aligned)
    return open_data_set(config, paired=paired)


def test_equal_names_are_said_to_be_taken_for_pairs(folder, recwarn):
    with pytest.warns(Notice, match=GUESS):
        data = opened(folder, "auto")
    assert (data.test_aligned, data.val_aligned, data.guessed) == (True, True, True)
    recwarn.clear()
    data = opened(folder, aligned=True)
    assert (data.test_aligned, data.guessed) == (True, False)
    assert not opened(folder, aligned=False).test_aligned
    assert not opened(folder, "auto", paired=True).guessed
    with pytest.raises(UserError, match="objective paired trains on pairs"):
        opened(folder, aligned=False, paired=True)
    assert not recwarn


def test_what_is_said_must_be_so(folder):
    (folder / "testB" / "1.png").rename(folder / "testB" / "2.png")
    assert not opened(folder, "auto").test_aligned
    with pytest.raises(UserError, match=r"each name must occur exactly once in both, unlike 1, 2"):
        opened(folder, aligned=True)
    write_image(folder / "testB" / "1.png", np.zeros((24, 28, 1), np.uint8))
    (folder / "testB" / "2.png").unlink()
    with pytest.raises(UserError, match=r"is 24 x 24 pixels and .* 28 x 24"):
        opened(folder, aligned=True)


@pytest.mark.parametrize("aligned", ["auto", "true"])
def test_the_best_model_is_not_chosen_by_pairs_that_are_a_guess(folder, tmp_path, capsys, aligned):
    run = tmp_path / "run"
    tiny = ["--generator.width=2", "--generator.depth=1", "--discriminator.width=2"]
    steps = ["--training.steps=1", "--training.validate_every=1", "--data.crop=24"]
    options = [*tiny, *steps, f"--data.aligned={aligned}", f"--run={run}", "--runtime.device=cpu"]
    assert main(["train", str(folder), *options]) == 0
    assert (GUESS in capsys.readouterr().err) == (aligned == "auto")
    assert (run / "best").exists() == (aligned == "true")


@pytest.mark.parametrize(
    ("ours", "theirs"), [((1, 24), (2, 12)), ((0.7, 34), (1.5, 16))], ids=["1, 2", "0.7, 1.5"]
)
def test_pairs_of_other_resolutions_train_with_a_spacing(tmp_path, recwarn, ours, theirs):
    for domain, (side, count) in (("A", ours), ("B", theirs)):
        affine = np.diag([side, side, side, 1.0])
        affine[:3, 3] = side / 2  # both begin at 0 mm
        x = (np.arange(count) + 0.5) * side
        values = np.broadcast_to(x[:, None, None], (count,) * 3).astype(np.float32)
        (tmp_path / f"train{domain}").mkdir()
        nibabel.save(nibabel.Nifti1Image(values, affine), tmp_path / f"train{domain}" / "1.nii")
    config = DataConfig(path=str(tmp_path), spatial_dims=3, crop=16, spacing=(1.0, 1.0, 1.0))
    data = open_data_set(config, paired=True)
    assert any("B is resampled onto that of A" in str(told.message) for told in recwarn)
    a, b = (domain.values(domain.train[0])[0] for domain in (data.a, data.b))
    assert a.shape == b.shape
    # Both hold x in mm, which is interpolated exactly but beyond B's outermost voxels' centres.
    inside = (slice(2, -2),) * 3
    np.testing.assert_allclose(b[inside], a[inside], atol=1e-4)
