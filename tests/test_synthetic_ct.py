"""Scores of synthetic CT beside an implementation on SciPy, and by hand."""

import json

import numpy as np
import pytest
import torch
from monai.networks.nets import UNet
from safetensors.torch import save_file
from scipy.ndimage import gaussian_filter, uniform_filter
from scipy.signal import fftconvolve
from skimage.metrics import peak_signal_noise_ratio

from revgan.cli import main
from revgan.data.formats import Scan
from revgan.evaluation.rows import rows_from_json
from revgan.evaluation.samples import Sample
from revgan.evaluation.structure_finder import StructureFinder
from revgan.evaluation.table_files import FORMATS, format_tables
from revgan.evaluation.tables import rows_to_json, table_cells
from revgan.evaluation.tally import Tally
from revgan.scores.structures import structure_scores
from revgan.scores.synthetic_ct import SCALE_WEIGHTS, score_synthetic_ct
from scans import write_volume


def pair(shape):
    """Smooth CT with metal, a noisy copy of it, and a ball as the body's mask."""
    draws = np.random.default_rng(0)
    truth = gaussian_filter(draws.normal(size=shape), 3) * 20000 - 300
    made = truth + gaussian_filter(draws.normal(size=shape), 1) * 800 + 20
    truth[tuple(slice(side // 2, side // 2 + 5) for side in shape)] = 4000
    place = np.indices(shape) - np.reshape(shape, (-1, *[1] * len(shape))) / 2
    return made, truth, (place**2).sum(0) < (min(shape) / 2.1) ** 2


def by_scipy(x, y, mask):
    """MS-SSIM by the published recipe: uniform windows of 7, FFT convolution, thinned-out masks."""
    span = 4024.0
    x, y = (np.where(mask, np.clip(v, -1024, 3000), -1024) + 1024 for v in (x, y))
    widths = [(max(0, 97 - n) // 2, max(0, 97 - n) - max(0, 97 - n) // 2) for n in x.shape]
    x, y, mask = (np.pad(v, widths, mode="edge") for v in (x, y, mask))
    dims, total = x.ndim, 1.0
    for weight in SCALE_WEIGHTS:
        mx, my, xx, yy, xy = (uniform_filter(v, 7) for v in (x, y, x * x, y * y, x * y))
        vx, vy, cov = (
            7**dims / (7**dims - 1) * v for v in (xx - mx * mx, yy - my * my, xy - mx * my)
        )
        both = np.sqrt(np.maximum(vx, 0)) * np.sqrt(np.maximum(vy, 0))
        c1, c2 = (0.01 * span) ** 2, (0.03 * span) ** 2
        terms = [
            (2 * mx * my + c1) / (mx**2 + my**2 + c1),
            (2 * both + c2) / (vx + vy + c2),
            (cov + c2 / 2) / (both + c2 / 2),
        ]
        local = np.prod([np.maximum(term, 0) ** weight for term in terms], axis=0)
        inner = (slice(3, -3),) * dims
        total *= np.clip(local[inner][mask[inner]].mean(), 0, 1)
        kernel = np.full((2,) * dims, 2.0**-dims)
        x, y = (fftconvolve(v, kernel, mode="same") for v in (x, y))
        x, y, mask = (v[(slice(None, None, 2),) * dims] for v in (x, y, mask))
    return total


@pytest.mark.parametrize("shape", [(60, 101, 30), (120, 110)], ids=["volume", "slice"])
def test_scores_are_those_of_the_published_recipe(shape):
    made, truth, mask = pair(shape)
    tensors = (torch.from_numpy(v)[None] for v in (made, truth))
    mae, bias, psnr, similarity = score_synthetic_ct(*tensors, torch.from_numpy(mask)).tolist()
    error = (made - truth)[mask]
    assert mae == pytest.approx(np.abs(error).mean(), rel=1e-9)
    assert bias == pytest.approx(error.mean(), rel=1e-9)
    clipped = (np.clip(v[mask], -1024, 3000) for v in (truth, made))
    assert psnr == pytest.approx(peak_signal_noise_ratio(*clipped, data_range=4024), abs=1e-9)
    # FFTs in float64 round by 1e-16 of the largest value.
    assert similarity == pytest.approx(by_scipy(made, truth, mask), abs=1e-9)
    assert 0.8 < similarity < 0.999


def test_a_mask_that_coarse_scales_lose_leaves_ms_ssim_undefined_and_nothing_else():
    """The published evaluation takes the mean of nothing there, which is NaN."""
    made, truth, _ = pair((120, 110))
    mask = np.zeros(made.shape, bool)
    mask[50:54, 49:63] = True  # no row of it is a multiple of 16
    tensors = [torch.from_numpy(v)[None] for v in (made, truth)]
    scores = score_synthetic_ct(*tensors, torch.from_numpy(mask))
    assert scores.isnan().tolist() == [False, False, False, True]
    with pytest.warns(RuntimeWarning):  # of an empty slice, and of the division by 0
        assert np.isnan(by_scipy(made, truth, mask))


def of_scans(similarities):
    tally = Tally("AtoB", ("mae", "ms_ssim"), undefined=("ms_ssim",))
    for place, similarity in enumerate(similarities):
        tally.add("RevGAN", torch.tensor([5.0, similarity]), Sample(place, *[torch.zeros(1)] * 4))
    return tally.rows()


def test_scans_without_ms_ssim_are_left_out_of_its_mean_and_counted(tmp_path):
    nan = float("nan")
    rows = of_scans([0.5, nan, 0.75, nan])
    alone = of_scans([0.5, 0.75])
    score = rows[0].scores["ms_ssim"]
    assert (score.value, score.left_out) == (0.625, 2)
    assert (
        (score.low, score.high)
        == (0.5, 0.75)
        == tuple(getattr(alone[0].scores["ms_ssim"], end) for end in ("low", "high"))
    )
    cell = table_cells(rows)[0][1]
    assert cell.whole == "0.625 [0.500, 0.750], 2 undefined"
    (line,) = rows_to_json(rows)
    assert (line["ms_ssim"], line["ms_ssim_undefined"]) == (0.625, 2)
    assert rows_from_json([line])[0].scores["ms_ssim"] == score
    of_none = of_scans([nan, nan])
    assert table_cells(of_none)[0][1].whole == "undefined"
    assert rows_to_json(of_none)[0]["ms_ssim"] is None
    assert rows_from_json(rows_to_json(of_none))[0].scores["ms_ssim"].left_out == 2
    for suffix in FORMATS:
        text = format_tables(tmp_path / f"x{suffix}", {"one": rows, "none": of_none})
        assert "nan" not in text.lower()
        assert "undefined" in text


def test_structures_are_scored_by_overlap_and_by_distance():
    true = torch.zeros(20, 10, 10, dtype=torch.int64)
    true[2:8, 2:8, 2:8], true[12:16, 2:6, 2:6] = 1, 3
    made = torch.zeros_like(true)
    made[4:10, 2:8, 2:8] = 1  # moved by two voxels of 1.5 mm
    scores = structure_scores(made, true, (1.5, 1, 1))
    assert scores[1].tolist() == pytest.approx([2 * 4 / 12, 3.0], rel=1e-6)
    assert scores[3].tolist() == pytest.approx([0, (30**2 + 2 * 10**2) ** 0.5])
    assert scores.keys() == {1, 3}


def bone_network(folder):
    """A U-Net of one level whose weights make class 1 of what is above 200 HU."""
    arguments = {"spatial_dims": 3, "in_channels": 1, "out_channels": 2, "channels": [1, 1]}
    network = UNet(**arguments, strides=[1], kernel_size=1, up_kernel_size=1)
    path = folder / "bone.safetensors"
    save_file(network.state_dict(), path)
    options = "".join(f"{key}: {value}\n" for key, value in arguments.items())
    path.with_suffix(".yaml").write_text(
        f"{options}strides: [1]\nkernel_size: 1\nup_kernel_size: 1\n"
    )
    return path


def test_a_finder_cuts_scans_into_windows_and_gives_a_class_for_each_voxel(tmp_path):
    finder = StructureFinder(bone_network(tmp_path), torch.device("cpu"))
    classes = finder(torch.randn(1, 20, 10, 9) * 500)
    assert classes.shape == (20, 10, 9)
    assert set(classes.unique().tolist()) <= {0, 1}


def test_evaluate_scores_synthetic_ct_in_masks_and_by_tissue(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    made, truth, mask = (v.round().astype(np.int16) for v in pair((26, 27, 28)))
    for split in ("train", "test"):
        for name, values in (("A", made), ("B", truth), ("Mask", mask)):
            path = tmp_path / "data" / f"{split}{name}" / "1.nii.gz"
            path.parent.mkdir(parents=True, exist_ok=True)
            write_volume(path, values[None], Scan(values[None], np.eye(4), None, values.dtype))
    run = tmp_path / "run"
    tiny = ["--generator.width=2", "--generator.depth=1", "--discriminator.width=2"]
    tiny += ["--training.steps=1", "--runtime.device=cpu", "--preset=volumes", "--data.crop=24"]
    assert main(["train", str(tmp_path / "data"), "--objective=paired", f"--run={run}", *tiny]) == 0
    options = ["--synthetic-ct=B", f"--structures={bone_network(tmp_path)}", "--device=cpu"]
    assert main(["evaluate", str(run), *options]) == 0
    scores = json.loads((run / "scores.json").read_text())
    rows = {row["method"]: row for row in scores["synthetic_ct"]}
    tensors = (torch.from_numpy(v)[None] for v in (made, truth))
    expected = score_synthetic_ct(*tensors, torch.from_numpy(mask > 0)).tolist()
    unchanged = [rows["input unchanged"][name] for name in ("mae", "bias", "psnr", "ms_ssim")]
    assert unchanged == pytest.approx(expected, rel=1e-6)
    tissues = {row["method"]: row for row in scores["tissues"]}
    bone = (truth > 200) & (mask > 0)
    error = (made.astype(float) - truth)[bone]
    row = tissues["input unchanged: bone, above 200 HU"]
    assert (row["mae"], row["bias"]) == pytest.approx((np.abs(error).mean(), error.mean()))
    assert {row["direction"] for row in scores["synthetic_ct"]} == {"AtoB"}
    assert {"dice", "hd95"} <= scores["structures"][0].keys() if scores["structures"] else True
    assert main(["evaluate", str(run), f"--structures={bone_network(tmp_path)}"]) == 2
    assert "--structures needs --synthetic-ct" in capsys.readouterr().err
