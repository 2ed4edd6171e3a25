"""Losses inside masks, and foreground from a mask, a threshold, or Otsu's inside percentiles."""

from dataclasses import replace

import nibabel as nib
import numpy as np
import pytest
import torch
from accelerate import Accelerator

from revgan.data.config import DataConfig
from revgan.data.foreground import foreground_positions
from revgan.data.sampling import TrainingSamples, cut
from revgan.data.sets import open_data_set
from revgan.errors import Notice, UserError
from revgan.networks import DiscriminatorConfig, GeneratorConfig
from revgan.training.batch import Batch
from revgan.training.config import LossConfig, RunConfig
from revgan.training.objectives import Fakes
from revgan.training.setup import make_trainer
from scans import write_image
from small_runs import configuration, run, same_weights
from test_volume_sets import save

SHAPE = (20, 24, 16)


@pytest.fixture(autouse=True)
def _own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def place(shape=SHAPE):
    """Values that tell where they are."""
    return np.arange(np.prod(shape)).reshape(shape).astype(np.int16)


@pytest.fixture
def volumes(tmp_path):
    """One pair, and a mask of its middle."""
    for domain in "AB":
        save(tmp_path / f"train{domain}" / "1.nii.gz", place())
    inside = np.zeros(SHAPE, np.uint8)
    inside[5:12, 6:18, 4:9] = 3
    save(tmp_path / "trainMask" / "1.nii.gz", inside)
    return tmp_path


def samples(folder, *, paired=True, **options):
    config = DataConfig(**{"path": str(folder), "spatial_dims": 3, "crop": 12} | options)
    return TrainingSamples(open_data_set(config, paired=paired), config, paired=paired, seed=0)


def test_a_mask_is_cut_with_its_scan(volumes):
    inside = nib.load(volumes / "trainMask" / "1.nii.gz").get_fdata() > 0
    drawn = samples(volumes, train_mask=True, intensity_a="range", low_a=0, high_a=7680)
    for number in range(6):
        a, _, mask_a, mask_b = drawn[number]
        places = ((a + 1) * 3840).round().long()
        assert torch.equal(mask_a, torch.from_numpy(inside.ravel())[places])
        assert torch.equal(mask_a, mask_b)
        assert mask_a.dtype == torch.bool


def test_a_mask_lies_where_its_header_says(volumes):
    coarse = np.zeros((10, 12, 8), np.uint8)
    coarse[3:6, 3:9, 2:4] = 1
    affine = np.diag([2, 2, 2, 1.0])
    affine[:3, 3] = 0.5
    save(volumes / "trainMask" / "1.nii.gz", coarse, affine)
    domain = samples(volumes, train_mask=True).data.a
    found = domain.masks.of(domain.train[0]).values[0]
    expected = np.zeros(SHAPE, np.uint8)
    expected[6:12, 6:18, 4:8] = 1
    assert np.array_equal(found, expected)


@pytest.mark.parametrize(
    ("mask", "reason"),
    [
        (None, "no folder .*trainMask with masks"),
        (np.zeros(SHAPE, np.uint8), "1.nii.gz is empty; give a mask with values above 0"),
    ],
)
def test_masks_that_are_missing_or_empty_are_named(volumes, mask, reason):
    path = volumes / "trainMask" / "1.nii.gz"
    path.unlink()
    if mask is None:
        path.parent.rmdir()
    else:
        save(path, mask)
    with pytest.raises(UserError, match=reason):
        samples(volumes, train_mask=True)


def test_a_scan_without_a_mask_is_named_and_unused_masks_are_told(volumes):
    with pytest.warns(Notice, match="data.train_mask true makes losses count only inside them"):
        samples(volumes)
    (volumes / "trainMask" / "1.nii.gz").rename(volumes / "trainMask" / "2.nii.gz")
    with pytest.raises(UserError, match=r"has no mask for .*1\.nii\.gz"):
        samples(volumes, train_mask=True)


@pytest.mark.filterwarnings("ignore:.*has masks")
def test_crops_are_centred_inside_the_mask_or_above_a_threshold(volumes):
    for options in ({"foreground_from": "mask"}, {"foreground_from": 7000.0}):
        drawn = samples(volumes, foreground=1.0, crop=(2, 2, 2), flip=False, **options)
        domain = drawn.data.a
        source = {"a": (domain, domain.train[0])}
        for seed in range(20):
            crop = cut(source, drawn.config, np.random.default_rng(seed))["a"]
            centre = int(domain.intensity.from_unit(crop.numpy())[0, 1, 1, 1].round())
            x, y, z = np.unravel_index(centre, SHAPE)
            if options["foreground_from"] == "mask":
                assert 5 <= x < 12
                assert 6 <= y < 18
                assert 4 <= z < 9
            else:
                assert centre > 7000


def test_a_hot_spot_and_padding_do_not_take_over_the_foreground():
    draws = np.random.default_rng(0)
    pet = np.zeros((40, 40, 40), np.float32)
    pet[8:32, 8:32, 8:32] = draws.normal(1, 0.2, (24, 24, 24))
    pet[18:21, 18:21, 18:21] = 60
    found = foreground_positions(pet[None])
    assert (np.ptp(found, axis=0) == 23).all()
    assert len(found) > 0.9 * 24**3
    rows, columns = np.indices((64, 64))
    radius = np.hypot(rows - 31.5, columns - 31.5)
    ct = np.select([radius < 5, radius < 18, radius < 31], [1000, 40, -1000], -3024)
    ct = ct + draws.normal(0, 10, ct.shape) * (ct > -3024)
    found = foreground_positions(ct[None, ..., None].astype(np.float32))
    assert np.array_equal(np.unique(radius[tuple(found.T[:2])] < 18), [True])
    assert len(found) == (radius < 18).sum()
    # Air at one value is no padding.
    found = foreground_positions(np.where(radius < 18, 40, -1000)[None].astype(np.float32))
    assert len(found) == (radius < 18).sum()


@pytest.mark.parametrize("objective", ["unpaired", "paired"])
def test_no_loss_has_a_gradient_outside_the_mask(objective):
    config = RunConfig(
        objective,
        generator=GeneratorConfig(width=4, depth=1, memory="naive"),
        discriminator=DiscriminatorConfig(width=4),
        losses=LossConfig(identity_weight=0),
    )
    made = make_trainer(config, 2, (1, 1), Accelerator(cpu=True), total=1)
    draws = torch.Generator().manual_seed(0)
    a, b = (torch.rand(2, 1, 32, 32, generator=draws) * 2 - 1 for _ in "ab")
    inside = torch.zeros(2, 1, 32, 32, dtype=torch.bool)
    inside[:, :, 8:20, 4:30] = True
    fill = torch.tensor([-1.0]).view(1, 1, 1)
    batch = Batch.with_gaps(a, b, fill, fill, (inside, inside))
    assert torch.equal(batch.a, a)  # what is outside is seen all the same
    gradients = []
    generator, translate = made.players.generator, made.players.generator.forward

    def watched(x, direction="AtoB"):
        y = translate(x, direction)
        if y.requires_grad:
            y.register_hook(lambda grad: gradients.append(grad.clone()))
        return y

    generator.forward = watched
    for terms in made.objective.generator_terms(made.players, batch, Fakes()):
        sum(terms.values()).backward()
    assert len(gradients) == (4 if objective == "unpaired" else 2)
    for grad in gradients:
        assert (grad[~inside] == 0).all()
        assert (grad[inside] != 0).any()


def test_values_outside_the_mask_change_no_loss_of_a_translation():
    config = RunConfig("paired", generator=GeneratorConfig(width=4, depth=1, memory="naive"))
    made = make_trainer(config, 2, (1, 1), Accelerator(cpu=True), total=1)
    a, b = torch.rand(1, 1, 32, 32), torch.rand(1, 1, 32, 32)
    inside = torch.zeros(1, 1, 32, 32, dtype=torch.bool)
    inside[..., 10:20, 10:20] = True
    fill = torch.zeros(1, 1, 1)
    batch = Batch.with_gaps(a, b, fill, fill, (inside, inside))
    fake = torch.rand(1, 1, 32, 32)
    expected = (fake - b).abs()[inside].mean()
    torch.testing.assert_close(batch.distance("b", fake), expected)
    assert made.players is not None


def test_masked_runs_with_augmentation_and_workers_resume_to_the_same_bits(tmp_path):
    draws = np.random.default_rng(0)
    for name in ("trainA", "trainB", "trainMask"):
        (tmp_path / name).mkdir()
        for number in range(3):
            pixels = draws.integers(0, 2 if name == "trainMask" else 256, (36, 40, 3), np.uint8)
            write_image(tmp_path / name / f"{number}.png", pixels)
    plain = configuration(tmp_path, "paired", steps=2, validate_every=None, sample_every=100)
    changes = {"train_mask": True, "rotate": True, "flip_axes": (0,), "elastic": 0.7}
    changes |= {"noise_a": 0.1, "foreground": 0.5, "foreground_from": "mask"}
    config = replace(plain, data=replace(plain.data, **changes))
    run(config, tmp_path / "whole")
    half = replace(config, training=replace(config.training, steps=1))
    workers = replace(config, runtime=replace(config.runtime, workers=1))
    run(half, tmp_path / "half")
    run(workers, tmp_path / "half", resume=True)
    # The schedule of the first step is that of a training of one step: constant at step 0.
    assert same_weights(tmp_path / "half", tmp_path / "whole")
