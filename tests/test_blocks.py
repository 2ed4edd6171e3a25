"""One scan, or few, split by blocks: nothing that is held out is near what training sees."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.ndimage import maximum_filter

from revgan.cli import main
from revgan.data.blocks import RANKS, Cutting
from revgan.data.config import DataConfig
from revgan.data.formats import Header, read, write
from revgan.data.refs import ScanRef
from revgan.data.sampling import TrainingSamples
from revgan.data.sets import open_data_set
from revgan.errors import UserError
from test_large_scans import GROUND


class Sized(ScanRef):
    """A scan of which only the size is known."""

    def header(self, spatial_dims=None):
        return Header(1, self.selection, np.dtype(np.uint8))


@given(
    shape=st.lists(st.integers(1, 50), min_size=2, max_size=3),
    gap=st.integers(1, 6),
    factor=st.integers(3, 5),
    test=st.sampled_from([0, 0.1, 0.3]),
    val=st.sampled_from([0, 0.2]),
)
def test_blocks_fill_a_scan_and_keep_their_distance(shape, gap, factor, test, val):
    side = gap * factor
    shares = {"test": test, "val": val}
    ref = Sized("scan", selection=tuple(shape))
    blocks = Cutting(side, gap, len(shape), shares).blocks(ref)
    owners = np.full(shape, -1)
    for rank, name in enumerate(RANKS):
        for each in blocks[name]:
            part = owners[each.block.window]
            assert (part == -1).all()
            assert min(part.shape) >= min(gap, *shape)
            owners[each.block.window] = rank
    if not (test or val):
        assert (owners == 0).all()
    total = sum(map(len, blocks.values()))
    for name, share in shares.items():
        expected = max(1, round(share * total)) if share and total > 2 else 0
        assert len(blocks[name]) == expected
    for rank in (1, 2):
        near = maximum_filter(owners == rank, 2 * gap - 1)
        assert set(np.unique(owners[near])) <= {-1, rank}


@pytest.fixture(scope="module")
def scene(tmp_path_factory):
    """A pair of scenes whose pixels tell their row and column, and where the left is empty."""
    root = tmp_path_factory.mktemp("scene")
    values = np.indices((200, 260)).astype(np.uint16) + 1
    values[:, :, :52] = 0
    header = Header(2, (200, 260), values.dtype, ground=GROUND, nodata=0)
    for name in ("trainA", "trainB"):
        (root / name).mkdir()
        write(root / name / "scene.tif", values, header)
    return root


OPTIONS = {"blocks": 48, "crop": 16, "test_share": 0.2, "val_share": 0.1}


def test_training_sees_nothing_of_held_out_blocks_and_not_what_is_empty(scene):
    config = DataConfig(path=str(scene), **OPTIONS, intensity_a="type", intensity_b="type")
    data = open_data_set(config, paired=True)
    assert len(data.a.train) + len(data.a.test) + len(data.a.val) == 4 * 4
    held = np.zeros((201, 261), bool)
    for ref in (*data.a.test, *data.a.val):
        held[1:, 1:][ref.block.window] = True
    samples = TrainingSamples(data, config, paired=True, seed=0)
    for number in range(40):
        a, b = ((crop + 1) * (65535 / 2) for crop in samples[number])
        np.testing.assert_array_equal(a, b)
        rows, columns = a.round().int().numpy()
        assert not held[rows, columns].any()


def test_a_block_has_its_place_and_its_values(scene):
    data = open_data_set(DataConfig(path=str(scene), **OPTIONS), paired=True)
    ref = data.b.test[0]
    part, whole = ref.read(2), read(ref.path)
    np.testing.assert_array_equal(part.values, whole.values[:, *ref.block.window])
    corner = np.array([*ref.block.starts, 1])
    assert np.allclose(part.ground.affine[:, 2], whole.ground.affine @ corner)
    assert ref.name == f"scene-{ref.block.place[0]:02d}-{ref.block.place[1]:02d}"


def test_a_run_trains_and_is_evaluated_on_blocks(scene, tmp_path):
    run = tmp_path / "run"
    options = [
        "--data.blocks=72",
        "--data.crop=24",
        "--data.test_share=0.3",
        "--data.val_share=0.1",
    ]
    small = ["--generator.width=4", "--generator.depth=1", "--discriminator.width=4"]
    few = ["--training.steps=2", "--training.sample_every=1", "--training.validate_every=1"]
    more = ["--generator.downsamplings=1", "--objective=paired", "--runtime.device=cpu"]
    assert main(["train", str(scene), f"--run={run}", *options, *small, *few, *more]) == 0
    assert main(["evaluate", str(run)]) == 0
    config = DataConfig(str(scene), blocks=72, crop=24, test_share=0.3, val_share=0.1)
    tested = open_data_set(config, paired=True).a.test
    assert len(tested) == 2
    for ref in tested:
        made = read(run / "results" / "AtoB" / f"{ref.name}.tif")
        assert np.array_equal(made.ground.affine, ref.header(2).ground.affine)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"blocks": 40}, "blocks must be null or at least 3 times crop"),
        ({"resize": 64}, "blocks and resize don't go together"),
        ({"slices": "axial"}, "blocks and slices don't go together"),
    ],
)
def test_blocks_that_make_no_sense_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        DataConfig(**(OPTIONS | options))


def test_too_few_blocks_are_refused(scene):
    with pytest.raises(UserError, match=r"too few blocks of data.blocks 150"):
        open_data_set(DataConfig(path=str(scene), **(OPTIONS | {"blocks": 150})), paired=True)
