import subprocess
import sys

import numpy as np
import pytest

from revgan.data.sets import DataConfig, locate, open_data_set
from revgan.errors import Notice, UserError
from scans import write_image


def make_images(root, sizes, channels=3):
    """Images by folder and name, such as {"trainA/0": (36, 40)}."""
    for name, size in sizes.items():
        path = root / f"{name}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        write_image(path, np.zeros((*size, channels), np.uint8))
    return root


SAME = {"trainA/0": (36, 40), "trainB/0": (36, 40), "testA/0": (36, 40), "testB/0": (36, 40)}


def config(root, **options):
    return DataConfig(path=str(root), **{"crop": 32} | options)


def refusal(root, paired=True, **options):
    with pytest.raises(UserError) as caught:
        open_data_set(config(root, **options), paired=paired)
    message = str(caught.value)
    assert "\n" not in message
    return message


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"crop": 0}, "crop must be 1 or more, not 0"),
        ({"crop": 64, "resize": 60}, "resize must be null or at least crop"),
        ({"channels_a": 5}, "channels_a must be null or 1 to 4, not 5"),
        ({"channels_b": 0}, "channels_b must be null or 1 to 4, not 0"),
        ({"cache": "ram"}, "cache must be one of none, memory, disk, not 'ram'"),
        ({"cache": "disk", "spatial_dims": 3}, "cache does nothing for volumes; leave it out"),
    ],
)
def test_settings_out_of_range_are_refused(options, expected):
    with pytest.raises(ValueError, match=expected):
        DataConfig(**options)


@pytest.mark.parametrize("paired", [True, False])
def test_a_good_folder_opens_and_reports_progress(tmp_path, paired):
    seen = []
    data = open_data_set(
        config(make_images(tmp_path, SAME)),
        paired=paired,
        progress=lambda *report: seen.append(report),
    )
    assert (data.a.channels, data.a.dtype) == (3, np.uint8)
    assert [ref.path.name for ref in (*data.a.train, *data.b.test)] == ["0.png", "0.png"]
    assert data.test_aligned
    a, b = "preparing images of A", "preparing images of B"
    assert seen == [(a, 1, 2), (a, 2, 2), (b, 1, 2), (b, 2, 2)]


def test_channels_are_those_asked_for(tmp_path):
    make_images(tmp_path, SAME)
    data = open_data_set(config(tmp_path, channels_b=1), paired=True)
    assert data.channels == (3, 1)


@pytest.mark.parametrize("split", ["train", "test"])
def test_pairs_of_unequal_size_are_refused_by_both_names(tmp_path, split):
    make_images(tmp_path, SAME | {f"{split}B/0": (40, 36)})
    message = refusal(tmp_path)
    assert f"{tmp_path / split}A/0.png is 40 x 36 pixels" in message
    assert f"{tmp_path / split}B/0.png 36 x 40" in message


def test_pairs_that_are_equal_after_resizing_are_taken(tmp_path):
    make_images(tmp_path, SAME | {"trainB/0": (72, 80)})
    assert "same size" in refusal(tmp_path)
    assert open_data_set(config(tmp_path, resize=32), paired=True).a.train


def test_unpaired_images_of_equal_name_but_unequal_size_are_not_aligned(tmp_path):
    make_images(tmp_path, SAME | {"trainB/0": (40, 36), "testB/0": (40, 36)})
    data = open_data_set(config(tmp_path), paired=False)
    assert not data.test_aligned


def test_an_extreme_shape_is_fine_where_it_is_resized(tmp_path):
    make_images(tmp_path, SAME | {"trainA/1": (2, 90)})
    assert "has 90 x 2 pixels, too few" in refusal(tmp_path, paired=False)
    data = open_data_set(config(tmp_path, resize=32), paired=False)
    assert len(data.a.train) == 2


def test_a_bad_test_image_is_refused_before_training(tmp_path):
    make_images(tmp_path, SAME)
    (tmp_path / "testA" / "0.png").write_bytes(b"")
    assert "testA/0.png is an empty file" in refusal(tmp_path)


def test_a_missing_folder_is_told_the_built_in_sets(tmp_path):
    sets = "earth, earth-small, earth-map, earth-labels, earth-labels-small"
    with pytest.raises(UserError, match=f"does not exist; give a folder .*: {sets}$"):
        locate(config(tmp_path / "no"), paired=False)


def test_images_for_validation_stand_beside_those_for_the_test(tmp_path):
    make_images(tmp_path, SAME)
    data = open_data_set(config(tmp_path), paired=True)
    assert (data.a.val, data.val_aligned) == (data.a.test, True)
    make_images(tmp_path, {"valA/0": (36, 40), "valB/0": (36, 44)})
    data = open_data_set(config(tmp_path), paired=False)
    assert [ref.path.parent.name for ref in data.a.test + data.a.val] == ["testA", "valA"]
    assert (data.test_aligned, data.val_aligned) == (True, False)
    assert "valB/0.png 44 x 36" in refusal(tmp_path)
    make_images(tmp_path, {"valB/0": (30, 40)})  # smaller than the crop, which training alone needs
    assert open_data_set(config(tmp_path), paired=False).b.val


def test_images_are_opened_and_translated_without_monai():
    """Its import takes three times as long as PyTorch's."""
    program = (
        "import sys, revgan.data.sets, revgan.data.sampling, revgan.inference, revgan.data.masks\n"
        "revgan.data.sets.DataConfig(spatial_dims=3)\n"
        "assert 'monai' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", program], check=True)


def test_grey_rgb_and_alpha_within_a_domain_become_what_most_of_it_is(tmp_path):
    random = np.random.default_rng(0)
    for domain in "AB":
        for number, channels in enumerate((1, 3, 4, 3) if domain == "A" else (1, 1, 1, 1)):
            pixels = random.integers(0, 256, (40, 40, channels), np.uint8)
            path = tmp_path / f"train{domain}" / f"{number}.png"
            path.parent.mkdir(exist_ok=True)
            write_image(path, pixels)
    with pytest.warns(Notice, match=r"\(1 with 1, 2 with 3, 1 with 4\)") as told:
        data = open_data_set(config(tmp_path), paired=True)
    assert len(told) == 1
    assert "all are converted to 3, and --data.channels_a says otherwise" in str(told[0].message)
    assert data.channels == (3, 1)
    for ref in data.a.train:
        assert data.a.prepared(ref).values.shape == (3, 40, 40)
