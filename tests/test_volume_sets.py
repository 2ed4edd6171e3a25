"""Folders of volumes: checked, brought to their grid, cached, and cut into samples."""

import errno
import math
import os
from concurrent.futures import ThreadPoolExecutor

import nibabel
import numpy as np
import pytest
import torch
from PIL import Image
from skimage.filters import threshold_otsu
from torch.utils.data import DataLoader

from revgan.data import cache as disk
from revgan.data.config import DataConfig
from revgan.data.foreground import POSITIONS, foreground_positions, otsu_threshold
from revgan.data.formats import Scan
from revgan.data.formats.files import OpenScan
from revgan.data.mappings import Intensity
from revgan.data.preparation import PREPARATION, Grid, Preparation
from revgan.data.recipe import Recipe
from revgan.data.refs import ScanRef
from revgan.data.sampling import Steps, TrainingSamples
from revgan.data.sets import open_data_set
from revgan.data.store import DiskStore
from revgan.errors import Notice, UserError
from scans import write_volume

RAS = np.diag([1.0, 1.0, 1.0, 1.0])
LAS = np.diag([-1.0, 1.0, 1.0, 1.0])


@pytest.fixture(autouse=True)
def _own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def save(path, values, affine=RAS, dtype=np.float32):
    """Writes a volume of any format, (C, X, Y, Z) or (X, Y, Z); its folder is made."""
    values = np.asarray(values, np.float32)
    values = values if values.ndim == 4 else values[None]
    path.parent.mkdir(parents=True, exist_ok=True)
    write_volume(path, values, Scan(values, np.asarray(affine), None, np.dtype(dtype)))
    return path


def noise(seed, shape=(10, 11, 12)):
    return np.random.default_rng(seed).integers(0, 1000, shape)


def make_volumes(root, shape=(10, 11, 12), count=2, channels=(1, 1), suffix=".nii.gz", **options):
    """A folder in which pairs have equal names."""
    for domain, many in zip("AB", channels, strict=True):
        for split in ("train", "test"):
            for number in range(count):
                values = noise([number, ord(domain), split == "test"], (many, *shape))
                save(root / f"{split}{domain}" / f"{number}{suffix}", values, **options)
    return root


def config(root, **options):
    return DataConfig(path=str(root), spatial_dims=3, **{"crop": 8} | options)


def opened(root, paired=True, preparation=None, **options):
    return open_data_set(config(root, **options), paired=paired, preparation=preparation)


def refusal(root, paired=True, **options):
    with pytest.raises(UserError) as caught:
        opened(root, paired, **options)
    message = str(caught.value)
    assert "\n" not in message
    return message


# Options


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"spatial_dims": 4}, "spatial_dims must be 2 or 3, not 4"),
        ({"spacing": (1, 1, 1)}, "spacing does nothing for images; leave it out, or set data.sp"),
        ({"orientation": "RAS"}, "orientation does nothing for images"),
        ({"foreground": 1.5}, "foreground must be from 0 to 1, not 1.5"),
        ({"intensity_b": "type", "low_b": 0.0}, "low_b does nothing with intensity_b type"),
        ({"intensity_b": "type", "per_channel_b": True}, "per_channel_b does nothing with"),
        ({"intensity_a": "gamma"}, "intensity_a must be one of auto, type, range, percentiles,"),
        ({"low_a": (1.0, 2.0)}, "only method range has a low and a high for each channel"),
        ({"fill": math.inf}, "fill must be low or a number, not inf"),
        ({"crops_per_volume": 0}, "crops_per_volume must be 1 or more, not 0"),
        ({"spatial_dims": 3, "resize": 300}, "resize does nothing for volumes"),
        ({"spatial_dims": 3, "channels_a": 1}, "channels_a does nothing for volumes"),
        ({"spatial_dims": 3, "orientation": "RAR"}, "orientation must be null or have a letter"),
        ({"spatial_dims": 3, "orientation": "ras"}, "such as RAS or LPS, not 'ras'"),
        ({"spatial_dims": 3, "spacing": (1, 0, 1)}, "spacing must be null or three numbers above"),
        ({"spatial_dims": 3, "foreground": 1.5}, "foreground must be from 0 to 1, not 1.5"),
        ({"spatial_dims": 3, "crops_per_volume": 0}, "crops_per_volume must be 1 or more, not 0"),
        ({"spatial_dims": 3, "intensity_a": "range"}, "intensity_a, low_a and high_a don't go"),
        ({"spatial_dims": 3, "low_b": 60.0, "high_b": 40.0}, "low must be below high"),
    ],
)
def test_options_that_would_do_nothing_or_are_out_of_range_are_refused(options, expected):
    with pytest.raises(ValueError, match=expected):
        DataConfig(**options)


# Opening


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz", ".mha", ".nrrd", ".npy"])
def test_every_format_opens_with_the_values_of_its_files(tmp_path, suffix):
    data = opened(make_volumes(tmp_path, suffix=suffix, channels=(2, 1)), intensity_a="range",
                  low_a=0.0, high_a=1000.0)  # fmt: skip
    assert data.channels == (2, 1)
    assert data.test_aligned
    assert [ref.name for ref in (*data.a.train, *data.b.test)] == ["0", "1", "0", "1"]
    expected = noise([1, ord("A"), False], (2, 10, 11, 12)) / 500 - 1
    loaded = data.a.load(data.a.train[1])
    assert loaded.dtype == torch.float32
    assert np.allclose(loaded, expected, atol=1e-6)  # float32's rounding


def test_progress_is_told_and_hidden_and_other_files_are_passed_over(tmp_path):
    make_volumes(tmp_path, count=1)
    for name in (".0.nii.gz", "0.json"):
        (tmp_path / "trainA" / name).write_text("no volume")
    seen = []
    with pytest.warns(Notice, match=r"1 file is skipped in .*trainA \(.json .*\): 0.json"):
        open_data_set(config(tmp_path), paired=True, progress=lambda *report: seen.append(report))
    a, b = "preparing volumes of A", "preparing volumes of B"
    assert seen == [(a, 1, 2), (a, 2, 2), (b, 1, 2), (b, 2, 2)]


def test_test_volumes_may_be_missing_and_may_be_small(tmp_path):
    make_volumes(tmp_path, count=1)
    save(tmp_path / "testA" / "0.nii.gz", noise(0, (4, 5, 6)))
    small = opened(tmp_path, paired=False).a
    assert small.load_middle(small.test[0], 5).shape == (1, 4, 5, 5)
    for domain in "AB":
        (tmp_path / f"test{domain}" / "0.nii.gz").unlink()
        (tmp_path / f"test{domain}").rmdir()
    assert opened(tmp_path).a.test == ()


def broken(tmp_path, name="trainB/1.nii.gz"):
    make_volumes(tmp_path)
    return tmp_path / name


@pytest.mark.parametrize("paired", [True, False])
def test_an_unreadable_volume_is_refused_before_training(tmp_path, paired):
    path = broken(tmp_path, "testB/1.nii.gz")
    path.write_bytes(path.read_bytes()[:300])
    assert refusal(tmp_path, paired).startswith(f"{path} cannot be read (")


def test_a_flat_file_is_refused(tmp_path):
    path = broken(tmp_path)
    nibabel.save(nibabel.Nifti1Image(np.zeros((10, 11), np.float32), RAS), path)
    assert f"{path} is 2D" in refusal(tmp_path)


def test_folders_of_images_are_refused(tmp_path):
    for name in ("trainA", "trainB"):
        (tmp_path / name).mkdir()
        Image.new("L", (16, 16)).save(tmp_path / name / "x.png")
    message = refusal(tmp_path)
    assert f"{tmp_path / 'trainA'} holds images such as x.png; for these, set" in message
    assert "data.spatial_dims 2" in message


def test_a_run_on_images_is_told_of_volumes(tmp_path):
    make_volumes(tmp_path)
    with pytest.raises(UserError, match=r"holds volumes such as 0.*by --preset volumes"):
        open_data_set(DataConfig(path=str(tmp_path)), paired=True)


def test_infinite_values_and_nothing_but_nan_are_refused(tmp_path):
    path = broken(tmp_path)
    values = noise(0).astype(float)
    values[0, 0, 0] = np.inf
    save(path, values)
    assert f"{path} has 1 infinite values" in refusal(tmp_path)
    save(path, np.full_like(values, np.nan))
    assert f"nothing in {path} was measured" in refusal(tmp_path)


def test_a_constant_volume_is_refused(tmp_path):
    path = save(broken(tmp_path), np.full((10, 11, 12), 7))
    assert f"{path} is 7 everywhere" in refusal(tmp_path)


def test_channels_that_differ_are_refused(tmp_path):
    path = save(broken(tmp_path), noise(0, (3, 10, 11, 12)))
    message = refusal(tmp_path)
    assert f"{path} has 3 channels, but {tmp_path / 'trainB' / '0.nii.gz'} has 1" in message


def test_a_crop_larger_than_a_training_volume_is_refused(tmp_path):
    make_volumes(tmp_path)
    message = refusal(tmp_path, crop=13)
    assert "0.nii.gz has 10 x 11 x 12 voxels, too few for data.crop 13" in message
    assert "has 6 x 6 x 6 voxels after resampling" in refusal(tmp_path, spacing=(2, 2, 2))


def test_volumes_of_few_slices_are_mirrored_at_their_ends_to_the_crop(tmp_path):
    for side in "AB":
        values = noise(0, (16, 16, 5))
        save(tmp_path / f"train{side}" / "0.nii.gz", values)
    config = DataConfig(path=str(tmp_path), spatial_dims=3, crop=12, flip=False)
    with pytest.warns(Notice, match=r"fewer voxels along an axis than data.crop \(12\)"):
        data = open_data_set(config, paired=True)
    a, b = TrainingSamples(data, config, paired=True, seed=0)[0]
    assert a.shape == (1, 12, 12, 12)
    assert torch.equal(a, b)
    # Five slices in the middle of twelve, and mirrored ones before and after them.
    assert torch.equal(a[..., 2], a[..., 4])
    assert torch.equal(a[..., 8], a[..., 6])
    assert not torch.equal(a[..., 3], a[..., 4])


@pytest.mark.parametrize("split", ["train", "test"])
def test_pairs_of_other_shape_or_place_are_refused(tmp_path, split):
    path = broken(tmp_path, f"{split}B/1.nii.gz")
    other = tmp_path / f"{split}A" / "1.nii.gz"
    save(path, noise(0, (12, 11, 10)))
    message = refusal(tmp_path)
    assert f"{other} is 10 x 11 x 12 voxels and {path} 12 x 11 x 10" in message
    moved = RAS.copy()
    moved[1, 3] = 0.5
    save(path, noise(0), affine=moved)
    assert f"{other} and {path} are up to 0.5 mm apart according" in refusal(tmp_path)
    moved[1, 3] = 0.05  # less than a tenth of a voxel: another program's rounding
    save(path, noise(0), affine=moved)
    assert opened(tmp_path).test_aligned


def test_a_grid_that_shrinks_towards_the_far_corner_is_another_place(tmp_path):
    save(broken(tmp_path), noise(0), affine=np.diag([1, 1, 0.98, 1]))
    assert "are up to 0.22 mm apart" in refusal(tmp_path)


def test_unpaired_volumes_of_equal_name_but_other_place_are_not_aligned(tmp_path):
    moved = RAS.copy()
    moved[0, 3] = 9
    save(broken(tmp_path, "testB/1.nii.gz"), noise(0), affine=moved)
    data = opened(tmp_path, paired=False)
    assert (data.test_aligned, len(data.a.train)) == (False, 2)


def test_names_without_partner_are_refused_in_pairs_only(tmp_path):
    path = broken(tmp_path)
    path.rename(path.with_name("2.nii.gz"))
    assert "holds 2 volumes and" in refusal(tmp_path)
    assert opened(tmp_path, paired=False).b.train[1].name == "2"


def test_a_folder_without_training_volumes_is_refused(tmp_path):
    assert "it needs the folders trainA and trainB" in refusal(tmp_path)
    (tmp_path / "trainA").mkdir()
    (tmp_path / "trainB").mkdir()
    assert "holds no volumes; put files there that end in" in refusal(tmp_path)


def test_volumes_turned_otherwise_must_be_turned_alike(tmp_path):
    path = save(broken(tmp_path), noise(0), affine=LAS)
    message = refusal(tmp_path, paired=False)
    assert "point to RAS, but those of" in message
    assert f"{path} to LAS; set data.orientation" in message
    data = opened(tmp_path, paired=False, orientation="RAS", intensity_b="range", low_b=0.0,
                  high_b=1000.0)  # fmt: skip
    turned = data.b.load(data.b.train[1])
    assert np.allclose(turned[0], noise(0)[::-1] / 500 - 1, atol=1e-6)


@pytest.mark.parametrize(("path", "dims"), [("earth", 3), ("brain", 2)])
def test_a_built_in_set_of_another_kind_is_refused(path, dims):
    with pytest.raises(UserError, match=f"set data.spatial_dims {5 - dims}"):
        open_data_set(DataConfig(path=path, spatial_dims=dims), paired=True)


# Grids


def test_a_volume_on_its_grid_already_keeps_its_bits():
    values = noise(0, (2, 10, 11, 12)).astype(np.float32)
    affine = nibabel.affines.from_matvec(np.diag([1.0, 1.5, 2.0]), [5, 6, 7])
    volume = Scan(values, affine, None, values.dtype)
    assert Grid().bring(volume) is volume
    same = Grid("RAS", (1.0, 1.5, 2.0)).bring(volume)
    assert np.array_equal(same.values, values)
    assert np.allclose(same.affine, affine)


def test_resampling_keeps_what_is_where():
    # Trilinear interpolation gives back what is linear in space, but at the outermost voxels.
    affine = np.array([[0, 0, 2.0, 3], [-1.5, 0, 0, 4], [0, 1.0, 0, 5], [0, 0, 0, 1]])

    def ramp(affine, shape):
        x, y, z = np.einsum("ij,jxyz->ixyz", affine[:3, :3], np.indices(shape))
        return x + affine[0, 3] + 10 * (y + affine[1, 3]) + 100 * (z + affine[2, 3])

    values = ramp(affine, (10, 12, 8))[None].astype(np.float32)
    moved = Grid("RAS", (1.0, 1.0, 0.8)).bring(Scan(values, affine, None, values.dtype))
    assert nibabel.aff2axcodes(moved.affine) == ("R", "A", "S")
    assert np.allclose(np.diag(moved.affine)[:3], (1.0, 1.0, 0.8))
    expected = ramp(moved.affine, moved.values.shape[1:])
    inner = (slice(2, -2),) * 3
    # float32 coordinates within the volume are good to 1e-6 of it, and the ramp spans 1,500.
    assert np.abs(moved.values[0][inner] - expected[inner]).max() < 5e-3


# The model folder


def test_a_preparation_is_read_as_written(tmp_path):
    for grid in (Grid(), Grid("LPS", (0.5, 1.0, 2.5))):
        written = Preparation(Intensity(-1000, 2000), Intensity(0.25, 0.75, clip=False), grid)
        written.write(tmp_path / "model")
        assert Preparation.read(tmp_path / "model") == written
    assert Preparation.read(tmp_path) is None


@pytest.mark.parametrize("content", ["a: [", "[]", "a: {}", "a: 1\nb: 2"])
def test_a_preparation_that_makes_no_sense_is_refused(tmp_path, content):
    (tmp_path / PREPARATION).write_text(content)
    with pytest.raises(UserError, match=r"intensity.yaml can't be understood .*; replace it"):
        Preparation.read(tmp_path)


def test_intensities_are_fitted_to_training_volumes_alone(tmp_path):
    make_volumes(tmp_path, count=1)
    save(tmp_path / "testA" / "0.nii.gz", noise(0) * 50)
    fitted = opened(tmp_path).preparation
    assert (fitted.a.low, fitted.a.high) == pytest.approx((5, 995), abs=5)
    assert opened(tmp_path).preparation == fitted


def test_a_given_preparation_is_used_instead_of_fitting(tmp_path, monkeypatch):
    make_volumes(tmp_path)
    given = Preparation(Intensity(0, 500), Intensity(0, 2000))
    monkeypatch.setattr("revgan.data.sets.fit_intensity", None)
    data = opened(tmp_path, preparation=given)
    assert data.preparation is given
    assert data.b.load(data.b.train[0]).max() < 0


def test_volumes_for_validation_stand_beside_those_for_the_test(tmp_path):
    make_volumes(tmp_path, count=1)
    assert opened(tmp_path).a.val == opened(tmp_path).a.test
    for domain in "AB":
        for number in range(2):
            save(tmp_path / f"val{domain}" / f"{number}.nii.gz", noise([7, number]))
    data = opened(tmp_path)
    assert [len(x) for x in (data.a.train, data.b.test, data.a.val, data.b.val)] == [1, 1, 2, 2]
    assert data.val_aligned
    assert [data.a.prepared(ref).shape for ref in data.a.val] == [(10, 11, 12)] * 2
    (tmp_path / "valB" / "1.nii.gz").rename(tmp_path / "valB" / "z.nii.gz")
    data = opened(tmp_path, paired=False)
    assert (data.test_aligned, data.val_aligned) == (True, False)
    assert "unlike 1, z" in refusal(tmp_path)


def test_intensities_that_can_not_be_told_apart_name_their_domain(tmp_path):
    make_volumes(tmp_path, count=1)
    values = np.zeros((10, 11, 12))
    values[0, 0, 0] = 1
    save(tmp_path / "trainB" / "0.nii.gz", values)
    assert refusal(tmp_path).startswith("in domain B, the percentiles 0.5 and 99.5")


# The cache


def test_a_prepared_volume_is_not_read_again(tmp_path, monkeypatch):
    make_volumes(tmp_path)
    first = opened(tmp_path)
    monkeypatch.setattr(OpenScan, "read", None)
    second = opened(tmp_path)
    assert second.a.train == first.a.train
    assert torch.equal(second.b.load(second.b.test[1]), first.b.load(first.b.test[1]))


def store(**options):
    return DiskStore(Recipe(DataConfig(spatial_dims=3, **options)))


def prepared(path, **options):
    ref, of_disk = ScanRef(path), store(**options)
    of_disk.inspect(ref)
    return of_disk.get(ref)


def test_a_changed_file_or_grid_is_prepared_anew(tmp_path):
    path = save(tmp_path / "x.nii.gz", noise(0))
    prepared(path)
    prepared(path, orientation="LAS")
    save(path, noise(1))
    os.utime(path, ns=(0, 1))  # within the clock's tick, as a fast disk may have it
    assert np.array_equal(prepared(path).values[0], noise(1))
    assert len(list(disk.folder().iterdir())) == 3


@pytest.mark.parametrize(
    ("dtype", "values", "kept"),
    [
        (np.int16, noise(0) - 500, np.int16),
        (np.uint8, noise(0) % 256, np.uint8),
        (np.float32, noise(0) / 7, np.float32),
        (np.int32, noise(0), np.int32),
        (np.float64, noise(0) / 7, np.float32),
    ],
)
def test_small_integers_stay_small_on_the_disk(tmp_path, dtype, values, kept):
    cached = prepared(save(tmp_path / "x.nii", values, dtype=dtype))
    assert isinstance(cached.values, np.memmap)
    assert cached.values.dtype == kept
    assert np.array_equal(cached.values[0], values.astype(np.float32))
    assert disk.size() > values.size * np.dtype(kept).itemsize


def test_several_may_prepare_the_same_volume_at_once(tmp_path):
    path = save(tmp_path / "x.nii.gz", noise(0))
    with ThreadPoolExecutor(8) as pool:
        cached = list(pool.map(lambda _: prepared(path), range(8)))
    assert len(list(disk.folder().iterdir())) == 1
    assert all(np.array_equal(each.values[0], noise(0)) for each in cached)


def test_a_full_disk_is_one_sentence_and_leaves_nothing_behind(tmp_path, monkeypatch):
    def save_nothing(*_, **__):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    make_volumes(tmp_path, count=1)
    monkeypatch.setattr(np, "save", save_nothing)
    message = refusal(tmp_path)
    assert "(No space left on device); free some space there, or set XDG_CACHE_HOME" in message
    assert list(disk.folder().iterdir()) == []


def test_volumes_of_earlier_runs_make_room_for_those_of_this_one(tmp_path, monkeypatch):
    make_volumes(tmp_path, count=2)
    monkeypatch.setenv(disk.LIMIT, "0")
    prepared(tmp_path / "trainA" / "0.nii.gz", orientation="LAS")
    (old,) = disk.folder().iterdir()
    monkeypatch.setattr(disk, "_used", set())  # as in another process
    data = opened(tmp_path)
    assert not old.exists()
    assert len(list(disk.folder().iterdir())) == 8
    assert data.a.load(data.a.train[0]).shape == (1, 10, 11, 12)


# The foreground


def test_the_threshold_is_otsus():
    random = np.random.default_rng(0)
    values = np.concatenate([random.normal(0, 1, 5000), random.normal(8, 2, 3000)])
    values = values.astype(np.float32)
    # Both take 256 bins; theirs is the middle of the bin below ours.
    assert abs(otsu_threshold(values) - threshold_otsu(values)) <= np.ptp(values) / 256


def test_foreground_positions_are_the_bright_ones_and_not_too_many():
    values = np.zeros((2, 50, 60, 70), np.float32)
    values[:, 10:20, 20:50, 5:60] = 1
    every = foreground_positions(values)
    assert len(every) == 10 * 30 * 55
    assert values[0][tuple(every.T)].all()
    values[:, 1:] = 1
    some = foreground_positions(values)
    assert len(some) == POSITIONS
    assert len(np.unique(some, axis=0)) == POSITIONS
    assert some[:, 0].min() == 1


def test_channels_that_cancel_out_make_everything_foreground():
    ramp = np.arange(24, dtype=np.float32).reshape(1, 2, 3, 4)
    assert len(foreground_positions(np.concatenate([ramp, -ramp]))) == 24


# Samples


def places(shape=(12, 14, 16)):
    """A volume of three channels in which each voxel tells its place."""
    return np.indices(shape).astype(np.float32)


@pytest.fixture
def folder(tmp_path):
    """Volumes whose voxels tell their place, and by the fourth channel their number."""
    for domain, count in (("A", 3), ("B", 2)):
        for number in range(count):
            values = np.concatenate([places(), np.full((1, 12, 14, 16), number)])
            save(tmp_path / "set" / f"train{domain}" / f"{number}.nii", values)
    return tmp_path / "set"


def samples(folder, *, paired=False, seed=0, **options):
    told = {"intensity_a": "range", "low_a": 0.0, "high_a": 20.0}
    told |= {"intensity_b": "range", "low_b": 0.0, "high_b": 20.0}
    settings = config(folder, **(told | options))
    data = open_data_set(settings, paired=paired)
    return TrainingSamples(data, settings, paired=paired, seed=seed)


def voxels(cube):
    return ((cube + 1) * 10).round().int()


def test_a_sample_depends_on_seed_and_number_alone(folder):
    one, other = (samples(folder, foreground=0.5) for _ in range(2))
    for number in (7, 3, 7):
        for x, y in zip(one[number], other[number], strict=True):
            assert torch.equal(x, y)
    assert not torch.equal(one[3][0], samples(folder, seed=1, foreground=0.5)[3][0])


@pytest.mark.parametrize("workers", [0, 2])
def test_workers_and_starting_point_change_nothing(folder, workers):
    data = samples(folder)
    loader = DataLoader(data, batch_sampler=Steps(3, 6, 2), num_workers=workers)
    for step, (a, b) in zip(range(3, 6), loader, strict=True):
        for i, number in enumerate((2 * step, 2 * step + 1)):
            assert torch.equal(a[i], data[number][0])
            assert torch.equal(b[i], data[number][1])


def test_an_epoch_shows_each_volume_of_the_larger_domain_as_often_as_told(folder):
    data = samples(folder, crops_per_volume=4)
    assert data.epoch_length == 12
    for epoch in (0, 5):
        seen = [data[epoch * 12 + position] for position in range(12)]
        assert sorted(int(voxels(a)[3, 0, 0, 0]) for a, _ in seen) == [0] * 4 + [1] * 4 + [2] * 4


def test_cubes_are_whole_and_anywhere_and_half_are_mirrored(folder):
    data, corners, mirrored = samples(folder), set(), 0
    for number in range(200):
        cube = voxels(data[number][0])
        assert cube.shape == (4, 8, 8, 8)
        flipped = bool(cube[0, 0, 0, 0] > cube[0, 1, 0, 0])
        mirrored += flipped
        cube = cube.flip(1) if flipped else cube
        corner = cube[:3, 0, 0, 0]
        expected = torch.tensor(places((8, 8, 8))).int() + corner[:, None, None, None]
        assert torch.equal(cube[:3], expected)
        corners.add(tuple(corner.tolist()))
    for axis, last in enumerate((4, 6, 8)):
        assert {corner[axis] for corner in corners} == set(range(last + 1))
    assert abs(mirrored - 100) < 4 * 50**0.5  # four standard deviations of 200 fair coins


def test_cubes_are_mirrored_along_the_axis_from_left_to_right(tmp_path):
    affine = np.array([[0, 0, -1.0, 0], [1.0, 0, 0, 0], [0, 1.0, 0, 0], [0, 0, 0, 1]])
    for domain in "AB":
        save(tmp_path / f"train{domain}" / "0.nii", places(), affine=affine)
    data = samples(tmp_path)
    cubes = [voxels(data[number][0]) for number in range(20)]
    assert all((cube[axis].diff(dim=axis) > 0).all() for cube in cubes for axis in (0, 1))
    assert {bool(cube[2, 0, 0, 0] > cube[2, 0, 0, 1]) for cube in cubes} == {True, False}


def test_pairs_share_place_and_mirror(tmp_path):
    for domain in "AB":
        save(tmp_path / f"train{domain}" / "0.nii", places())
    data = samples(tmp_path, paired=True, foreground=0.5)
    for number in range(20):
        a, b = data[number]
        assert torch.equal(a, b)


def test_unpaired_cubes_come_from_places_of_their_own(folder):
    data = samples(folder)
    corners = [[voxels(cube)[1:3, 0, 0, 0].tolist() for cube in data[n]] for n in range(10)]
    assert any(a != b for a, b in corners)


def test_the_share_of_cubes_told_is_centred_on_the_foreground(tmp_path):
    values = np.zeros((40, 40, 40))
    values[20, 30, 18] = 1
    for domain in "AB":
        save(tmp_path / f"train{domain}" / "0.nii", values)
    hits = {}
    for share in (0.0, 0.5, 1.0):
        data = samples(tmp_path, foreground=share, flip=False, high_a=1.0)
        hits[share] = sum(bool(data[number][0][0, 4, 4, 4] == 1) for number in range(60))
    assert hits[0.0] == 0
    assert hits[1.0] == 60
    assert abs(hits[0.5] - 30) < 4 * 15**0.5  # four standard deviations of 60 fair coins


def test_a_centre_near_the_border_gives_the_cube_at_the_border(tmp_path):
    values = np.zeros((12, 12, 12))
    values[0, 11, 5] = 1
    for domain in "AB":
        save(tmp_path / f"train{domain}" / "0.nii", values)
    data = samples(tmp_path, foreground=1.0, flip=False, high_a=1.0)
    cube = data[0][0]
    assert cube.shape == (1, 8, 8, 8)
    assert cube[0, 0, 7, 4] == 1


def test_a_middle_is_no_larger_than_asked_for(folder):
    domain = samples(folder).data.a
    middle = voxels(domain.load_middle(domain.train[0], 13))
    assert middle.shape == (4, 12, 13, 13)
    assert middle[:3, 0, 0, 0].tolist() == [0, 0, 1]


def test_a_cube_is_the_same_part_of_the_whole(folder):
    domain = samples(folder).data.a
    whole = domain.load(domain.train[1])
    cut = domain.in_unit(
        domain.prepared(domain.train[1]).cut([slice(1, 5), slice(2, 7), slice(3, 9)])
    )
    assert torch.equal(cut, whole[:, 1:5, 2:7, 3:9])
