"""Files whose channels are stacked, as in training, for `revgan translate`."""

import nibabel
import numpy as np
import pytest

from revgan import Translator
from revgan.cli import main
from revgan.data import formats
from revgan.data.mappings import Intensity
from revgan.data.preparation import Preparation
from revgan.networks import RevGenerator
from revgan.networks.pretrained import save_generator

SHAPE = (16, 12, 20)

ROUNDING = 0.55
"""Half a whole number, and what windows and batches of another size do to float32 on the way."""


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """Takes two channels and gives one."""
    folder = tmp_path_factory.mktemp("model")
    save_generator(RevGenerator(3, 2, 1, width=2, depth=1, downsamplings=1), folder)
    mapping = Intensity(0, 1000, dtype="int16")
    Preparation(mapping, mapping).write(folder)
    return folder


def save(path, number, shape=SHAPE):
    path.parent.mkdir(parents=True, exist_ok=True)
    values = np.random.default_rng(number).integers(0, 1000, shape).astype(np.int16)
    nibabel.Nifti1Image(values, np.diag([-1.0, 1, 2, 1])).to_filename(path)
    return values


@pytest.fixture
def tree(tmp_path):
    """A tree of two subjects with two scans each, and the scans by subject."""
    stacked = {}
    for number, subject in enumerate(("01", "02")):
        folder = tmp_path / f"sub-{subject}" / "anat"
        pair = [
            save(folder / f"sub-{subject}_{kind}.nii", 2 * number + place)
            for place, kind in enumerate(("T1w", "T2w"))
        ]
        stacked[f"sub-{subject}"] = np.stack(pair)
    return tmp_path, stacked


def expected(model, stacked):
    return Translator.from_pretrained(model, "cpu")(stacked)


@pytest.mark.parametrize("options", [[], ["--window=12"]])
def test_a_file_is_stacked_onto_another(model, tree, options):
    root, stacked = tree
    one, two = (root / "sub-01" / "anat" / f"sub-01_{kind}.nii" for kind in ("T1w", "T2w"))
    target = root / "out.nii"
    command = ["translate", str(model), str(one), str(target), "--stack", str(two)]
    assert main([*command, *options]) == 0
    made, truth = formats.read(target), expected(model, stacked["sub-01"])
    assert np.abs(made.values - truth).max() <= ROUNDING
    assert np.array_equal(made.affine, nibabel.load(one).affine)
    assert made.dtype == np.int16


def test_patterns_find_the_files_of_each_subject(model, tree):
    root, stacked = tree
    one, two = (str(root / "sub-*" / "anat" / f"*_{kind}.nii") for kind in ("T1w", "T2w"))
    assert main(["translate", str(model), one, str(root / "out"), "--stack", two]) == 0
    assert sorted(path.name for path in (root / "out").iterdir()) == ["sub-01.nii", "sub-02.nii"]
    for name, values in stacked.items():
        made = formats.read(root / "out" / f"{name}.nii").values
        assert np.abs(made - expected(model, values)).max() <= ROUNDING


def test_folders_are_stacked_by_their_files_names(model, tmp_path):
    for place, folder in enumerate(("t1", "t2")):
        for number in range(2):
            save(tmp_path / folder / f"{number}.nii", 2 * number + place)
    command = ["translate", str(model), str(tmp_path / "t1"), str(tmp_path / "out")]
    assert main([*command, "--stack", str(tmp_path / "t2")]) == 0
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["0.nii", "1.nii"]


def test_what_can_not_be_stacked_is_said(model, tree, capsys):
    root, _ = tree
    one = str(root / "sub-01" / "anat" / "sub-01_T1w.nii")
    save(root / "small.nii", 1, (16, 12, 18))
    for other, message in (
        ("missing.nii", "missing.nii does not exist; give a file or a folder"),
        ("small.nii", "aren't on one grid, as channels of one scan must be"),
        ("sub-01/anat/sub-01_T1w.nii", "sub-01_T1w.nii is given twice, but the channels of a scan"),
    ):
        command = ["translate", str(model), one, str(root / "out.nii")]
        assert main([*command, "--stack", str(root / other)]) == 1
        assert message in capsys.readouterr().err
        assert not (root / "out.nii").exists()
