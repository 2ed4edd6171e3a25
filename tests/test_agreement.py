"""How translations agree with the truth: by hand, and in the files that figures are drawn from."""

import json

import numpy as np
import pytest
import torch

from revgan.cli import main
from revgan.evaluation.agreement import read_agreement, said_of_agreement
from revgan.evaluation.scan_tables import scan_table
from revgan.evaluation.scans import ScanRow
from revgan.evaluation.viewer import nice_width
from revgan.figures import agreement_charts, agreement_figure
from revgan.figures.agreement import number
from revgan.scores import agreement as module
from revgan.scores.agreement import Agreement, AgreementTally, limits_of_agreement


def scans(count=5, shape=(2, 30, 20)):
    """Truths of -900 to 1500 with translations that are off by a tenth and noise, and masks."""
    draws = np.random.default_rng(0)
    found = []
    for place in range(count):
        truth = draws.integers(-900, 1500, shape).astype(float)
        made = (truth * 1.1 + draws.normal(place, 40, shape)).round()
        found.append((made, truth, draws.random(shape[1:]) < 0.7))
    return found


def tallied(found, low=-900, high=1500, step=1.0, first=0):
    tally = AgreementTally(low, high, step)
    for place, (made, truth, mask) in enumerate(found, first):
        tensors = map(torch.from_numpy, (made, truth))
        tally.add(f"scan {place}", f"{place // 2}", *tensors, torch.from_numpy(mask))
    return tally


def collected(found, **options):
    return tallied(found, **options).result()


@pytest.mark.parametrize("chunk", [2**22, 100])
def test_everything_is_what_numpy_makes_of_all_values_at_once(monkeypatch, chunk):
    monkeypatch.setattr(module, "CHUNK", chunk)
    found = scans()
    agreement = collected(found)
    made, truth = (np.concatenate([s[i][:, s[2]].ravel() for s in found]) for i in (0, 1))
    error, mean = made - truth, (made + truth) / 2
    assert agreement.count == len(error)
    assert agreement.difference == pytest.approx(error.mean(), rel=1e-12)
    assert agreement.deviation == pytest.approx(error.std(ddof=1), rel=1e-12)
    for scan, (x, y, mask) in zip(agreement.scans, found, strict=True):
        own = x[:, mask] - y[:, mask]
        values = (scan.mean, scan.difference, scan.deviation, scan.count)
        both = (x[:, mask] + y[:, mask]).mean() / 2
        assert values == pytest.approx((both, own.mean(), own.std(ddof=1), own.size), rel=1e-12)
    edges = agreement.difference_edges
    inside = (error >= edges[0]) & (error < edges[-1])
    columns = np.clip(mean[inside], agreement.mean_edges[0], agreement.mean_edges[-1] - 1e-9)
    expected, *_ = np.histogram2d(columns, error[inside], (agreement.mean_edges, edges))
    np.testing.assert_array_equal(agreement.counts, expected)
    assert agreement.beyond == (~inside).sum() <= 0.002 * len(error)
    for band in agreement.bands:
        own = error[(truth >= band.low) & (truth < band.high)]
        assert (band.count, band.mae) == pytest.approx((own.size, np.abs(own).mean()))
        assert band.difference == pytest.approx(own.mean(), rel=1e-9)
        assert band.deviation == pytest.approx(own.std(ddof=1) if own.size > 1 else 0, rel=1e-9)
    assert sum(band.count for band in agreement.bands) == len(error)


def test_bins_of_whole_numbers_are_no_narrower_than_one():
    pixels = [(np.array([[[0.0, 2, 255]]]), np.array([[[1.0, 2, 255]]]), np.ones((1, 3), bool))]
    agreement = collected(pixels, low=0, high=255)
    assert min(np.diff(agreement.difference_edges)) >= 1
    assert len(agreement.bands) == 2
    middle = len(agreement.difference_edges) // 2 - 1
    assert np.sum(agreement.counts, axis=0)[middle] == 2  # no difference lies around 0
    few = collected(pixels, low=0, high=5)
    assert {round(band.high - band.low, 9) for band in few.bands} == {1}
    blank = np.zeros((1, 2, 2))
    assert collected([(blank, blank, np.ones((2, 2), bool))], low=7, high=7)


@pytest.mark.parametrize("scale", [1.0, 0.001], ids=["integers", "fractions"])
def test_joined_tallies_are_one_of_all_scans_whatever_their_ranges(scale):
    """As folds have: each has bins for the range of its own test scans."""
    step = float(scale == 1)
    draws = np.random.default_rng(1)
    parts = []
    for low, high in ((-1000, 3000), (0, 40), (-200, 300)):
        truth = draws.integers(low, high, (3, 1, 20, 20)).astype(float)
        made = np.clip(truth + draws.normal(0, (high - low) / 20, truth.shape).round(), low, high)
        masks = draws.random((3, 20, 20)) < 0.8
        parts.append(
            [(m * scale, t * scale, k) for m, t, k in zip(made, truth, masks, strict=True)]
        )
    ends = [[min(t.min() for _, t, _ in part), max(t.max() for _, t, _ in part)] for part in parts]
    tallies = [
        tallied(part, *own, step, first=3 * place)
        for place, (part, own) in enumerate(zip(parts, ends, strict=True))
    ]
    joint = AgreementTally.joined(tallies).result()
    everything = [scan for part in parts for scan in part]
    whole = collected(everything, low=np.min(ends), high=np.max(ends), step=step)
    assert (joint.scans, joint.limits, joint.count) == (whole.scans, whole.limits, whole.count)
    assert joint.counts == whole.counts
    assert (joint.mean_edges, joint.difference_edges) == (whole.mean_edges, whole.difference_edges)
    assert joint.beyond == whole.beyond
    for one, other in zip(joint.bands, whole.bands, strict=True):
        assert vars(one) == pytest.approx(vars(other), rel=1e-9, abs=1e-12)
    assert not AgreementTally(0, 1)


def test_values_beyond_the_known_range_count_in_the_outer_bins():
    made, truth = np.full((1, 2, 2), 900.0), np.array([[[-50.0, 0], [100, 250]]])
    agreement = collected([(made, truth, np.ones((2, 2), bool))], low=0, high=100)
    assert [band.count for band in agreement.bands] == [2, 2]
    assert np.sum(agreement.counts) + agreement.beyond == 4


def test_limits_are_bland_and_altmans():
    differences = [-3.0, 1.0, 4.0, 2.5, 7.0, -1.0]
    limits = limits_of_agreement(differences)
    mean, spread = np.mean(differences), 1.96 * np.std(differences, ddof=1)
    ends = [limits.difference, limits.lower, limits.upper]
    assert [end[0] for end in ends] == pytest.approx([mean, mean - spread, mean + spread])
    assert all(low < value < high for value, low, high in ends)
    # Scans of one subject are drawn together, so two subjects tell less than six.
    of_two = limits_of_agreement(differences, ["x", "x", "y", "y", "y", "x"])
    assert of_two.difference[1] < limits.difference[1]
    assert limits_of_agreement([1.0]) is None
    large = limits_of_agreement([1e9 + one for one in differences])
    assert large.upper[0] - 1e9 == pytest.approx(mean + spread, abs=1e-5)  # float64's digits


@pytest.mark.parametrize(
    ("span", "most", "width"),
    [(4024, 126, 50), (255, 126, 2.5), (1, 100, 0.01), (0.003, 10, 0.0005), (1e6, 126, 1e4)],
)
def test_widths_are_round_numbers(span, most, width):
    assert nice_width(span, most) == pytest.approx(width)


def test_numbers_have_the_digits_that_their_range_needs():
    assert [number(*pair) for pair in ((-3.14159, 400), (0.012345, 0.5), (1234.5, 0))] == [
        "\N{MINUS SIGN}3",
        "0.012",
        "1234.500",
    ]


def test_plots_come_from_what_is_stored(tmp_path):
    agreement = collected(scans())
    stored = json.loads(json.dumps({"AtoB": agreement.to_dict()}))
    again = Agreement.from_dict(stored["AtoB"])
    assert again == agreement
    charts = agreement_charts(again, "AtoB")
    assert charts == agreement_charts(agreement, "AtoB")
    assert list(charts) == [
        "Bland-Altman, scan by scan",
        "Bland-Altman, value by value",
        "Error by intensity",
    ]
    lines = agreement_figure({"x": again}).axes[0].lines
    (points,) = (line for line in lines if len(line.get_xdata()) == 5)
    np.testing.assert_allclose(points.get_ydata(), [one.difference for one in again.scans])
    for axes in agreement_figure({"x": again}).axes[:2]:  # labels lie within, off the line at 0
        renderer = axes.figure._get_renderer()
        zero = axes.transData.transform((0, 0))[1]
        for text in axes.texts:
            box = text.get_window_extent(renderer)
            assert axes.bbox.y0 <= box.y0 < box.y1 <= axes.bbox.y1, text
            assert not box.y0 < zero < box.y1, text
    said = said_of_agreement(agreement, "volumes")
    assert said.startswith("Over 5 volumes, their mean differences average ")
    with pytest.raises(ValueError, match="no models"):
        agreement_figure({})


def test_damaged_files_are_named(tmp_path):
    from revgan.errors import UserError

    path = tmp_path / "agreement.json"
    with pytest.raises(UserError, match="doesn't exist; it is written by revgan evaluate"):
        read_agreement(path, "AtoB")
    content = {"AtoB": collected(scans(2)).to_dict()}
    for text, reason in (
        ("{", "can't be read"),
        ("[]", "has nothing of AtoB"),
        (json.dumps({"BtoA": content["AtoB"]}), "has nothing of AtoB"),
        (json.dumps({"AtoB": {}}), "is damaged"),
        (json.dumps({"AtoB": content["AtoB"] | {"counts": [[1]]}}), "is damaged"),
        (json.dumps({"AtoB": content["AtoB"] | {"bands": [1]}}), "is damaged"),
    ):
        path.write_text(text)
        with pytest.raises(UserError, match=reason):
            read_agreement(path, "AtoB")


def test_a_figure_of_agreement_needs_no_scans(tmp_path, capsys):
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "config.yaml").write_text("objective: paired\n")
        content = {"AtoB": collected(scans(3)).to_dict()}
        (tmp_path / name / "agreement.json").write_text(json.dumps(content))
    runs, output = [str(tmp_path / name) for name in ("one", "two")], tmp_path / "x.svg"
    assert main(["figure", *runs, "--agreement", f"--output={output}"]) == 0
    assert output.read_text().count("<image") == 2  # the histograms
    assert main(["figure", *runs, "--agreement", "--direction=BtoA", f"--output={output}"]) == 1
    assert "has nothing of BtoA" in capsys.readouterr().err
    assert main(["figure", *runs, "--agreement", "--samples=1", f"--output={output}"]) == 2


def row(scan, method="RevGAN", kind="model", **scores):
    return ScanRow("AtoB", method, scan, scores, kind)


def test_scans_stand_from_the_best_to_the_worst():
    rows = [
        row("a", mae=3.0, bias=-9.0),
        row("b", mae=1.0, bias=2.0),
        row("c", mae=float("nan")),
        row("b", "input unchanged", "reference", mae=0.0),
    ]
    table = scan_table("x", rows, "mae")
    assert [line.scan for line in table.lines] == ["b", "a", "c"]
    assert [[cell.text for cell in line.cells] for line in table.lines] == [
        ["1.0", "2.0"],
        ["3.0", "-9.0"],
        ["undefined", ""],
    ]
    assert (table.headings, table.orders) == (["MAE", "bias"], ["ascending"] * 2)
    assert [line.scan for line in scan_table("x", rows, "bias").lines] == ["b", "a", "c"]
    parts = [row("a", "RevGAN: bone", mae=1.0), row("a", "RevGAN: air", mae=2.0)]
    assert [line.part for line in scan_table("x", parts, "psnr").lines] == ["bone", "air"]
    assert scan_table("x", rows[-1:], "mae") is None
