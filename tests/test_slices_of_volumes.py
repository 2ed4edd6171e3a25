"""Slices of volumes as images, and volumes translated slice by slice."""

from dataclasses import replace

import nibabel
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from revgan.data.config import DataConfig
from revgan.data.mappings import Intensity
from revgan.data.preparation import Grid, Preparation
from revgan.data.sets import locate, open_data_set
from revgan.data.slices import Turn
from revgan.errors import UserError
from revgan.inference import Translator
from revgan.networks import RevGenerator

LABELS = (("L", "R"), ("P", "A"), ("I", "S"))


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 999), view=st.sampled_from(["axial", "coronal", "sagittal"]))
def test_slices_show_the_patient_as_radiologists_do_whatever_the_array(seed, view):
    random = np.random.default_rng(seed)
    shape = (4, 5, 6)
    # The values are the coordinates: towards right, anterior and superior.
    axes, signs = random.permutation(3), random.choice([-1, 1], 3)
    affine = np.eye(4)
    affine[:3, :3] = np.eye(3)[:, axes] * signs
    where = np.einsum("ij,jxyz->ixyz", affine[:3, :3], np.indices(shape).astype(float))
    turn = Turn.of(affine, view)
    slices = turn.slices(where)
    along, down, across = {"axial": (2, 1, 0), "coronal": (1, 2, 0), "sagittal": (0, 2, 1)}[view]
    assert (np.diff(slices[along], axis=0) == 1).all()  # towards superior, anterior or right
    assert (np.diff(slices[down], axis=1) == -1).all()  # down to posterior or inferior
    assert (np.diff(slices[across], axis=2) == -1).all()  # the patient's right is left
    assert len(slices[0]) == turn.count(shape)
    np.testing.assert_array_equal(turn.volume(slices), where)


def save(path, values, affine=None):
    path.parent.mkdir(parents=True, exist_ok=True)
    nibabel.save(nibabel.Nifti1Image(values, np.eye(4) if affine is None else affine), path)


def test_pairs_of_volumes_are_pairs_of_slices_turned_alike(tmp_path):
    random = np.random.default_rng(0)
    values = random.integers(0, 1000, (20, 24, 6)).astype(np.int16)
    save(tmp_path / "trainA" / "x.nii.gz", values)
    turned = np.diag([-1.0, -1, 1, 1])
    turned[:3, 3] = [19, 23, 0]
    save(tmp_path / "trainB" / "x.nii.gz", values[::-1, ::-1].copy(), turned)
    config = DataConfig(path=str(tmp_path), crop=16, slices="axial", cache="memory")
    data = open_data_set(config, paired=True)
    assert len(data.a.train) == len(data.b.train) == 6
    assert [ref.name for ref in data.a.train[:2]] == ["x-000", "x-001"]
    for a, b in zip(data.a.train, data.b.train, strict=True):
        np.testing.assert_array_equal(data.a.prepared(a).values, data.b.prepared(b).values)
    assert data.preparation.slices == "axial"
    save(tmp_path / "trainB" / "x.nii.gz", values[..., :5].copy())
    with pytest.raises(UserError, match=r"has 6 axial slices and .* 5"):
        locate(config, paired=True)
    aligned = open_data_set(replace(config, align=True), paired=True)
    for a, b in zip(aligned.a.train[:5], aligned.b.train[:5], strict=True):
        ours, theirs = aligned.a.prepared(a).values, aligned.b.prepared(b).values
        # Positions are float32's, and neighbours up to 1000 apart.
        np.testing.assert_allclose(theirs, ours, atol=0.01)
    assert np.isnan(aligned.b.prepared(aligned.b.train[5]).values).all()


def handing_on(channels=1):
    """A network of images whose translations are its inputs."""
    generator = RevGenerator(
        2, channels, channels, width=2, depth=1, downsamplings=0, norm="none", first_kernel=3,
        last_kernel=1, identity_start=True, tanh=False,
    )  # fmt: skip

    def convs(module):
        return [each for each in module.modules() if isinstance(each, torch.nn.Conv2d)]

    with torch.no_grad():
        for encoder, decoder in (
            (generator.encoder_a, generator.decoder_b),
            (generator.encoder_b, generator.decoder_a),
        ):
            first, last = convs(encoder)[0], convs(decoder)[-1]
            for each in (first, last):
                each.weight.zero_()
                each.bias.zero_()
            first.weight[0, 0, 1, 1], first.weight[1, 0, 1, 1] = 1, -1
            last.weight[0, 0], last.weight[0, 1] = 1, -1
    return generator


@pytest.mark.parametrize("view", ["axial", "sagittal"])
def test_a_volume_is_translated_slice_by_slice_in_its_place(tmp_path, view):
    values = np.random.default_rng(0).integers(0, 1000, (26, 25, 24)).astype(np.int16)
    affine = np.diag([-2.0, 3, 1.5, 1])[[0, 2, 1, 3]]
    affine[:3, 3] = [5, -7, 11]
    save(tmp_path / "x.nii.gz", values, affine)
    preparation = Preparation(Intensity(0, 1000), Intensity(0, 1000), Grid(), slices=view)
    preparation.write(tmp_path)
    assert Preparation.read(tmp_path) == preparation
    translator = Translator(handing_on(), preparation)
    translator.translate_file(tmp_path / "x.nii.gz", tmp_path / "y.nii.gz", "AtoB")
    result = nibabel.load(tmp_path / "y.nii.gz")
    # From grey levels to [-1, 1] and back in float32, rounded to whole numbers.
    np.testing.assert_array_equal(np.asanyarray(result.dataobj), values)
    np.testing.assert_array_equal(result.affine, affine)
    assert result.get_data_dtype() == np.int16
