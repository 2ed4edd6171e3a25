"""Small reports."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from revgan.evaluation.cases import Case, make_case
from revgan.evaluation.report import MemoryComparison, ReportContent, write_report
from revgan.evaluation.scales import Scale
from revgan.evaluation.scan_tables import ScanTable, scan_table
from revgan.evaluation.scans import ScanRow
from revgan.evaluation.tables import Row
from revgan.evaluation.windows import Window
from revgan.scores.agreement import Agreement, AgreementTally
from revgan.scores.intervals import Estimate

MIB = 2**20


def picture(seed: int, channels: int = 3, size: int = 16) -> Tensor:
    draws = torch.Generator().manual_seed(seed)
    return 2 * torch.rand(channels, size, size, generator=draws) - 1


def volume(seed: int, shape: tuple[int, int, int] = (8, 9, 10)) -> Tensor:
    draws = torch.Generator().manual_seed(seed)
    return 2 * torch.rand(1, *shape, generator=draws) - 1


def case(
    name: str, pictures: tuple[Tensor, Tensor, Tensor | None, Tensor], most: int = 10**6
) -> Case:
    """A test scan from its input, translation, truth and round trip; one unit is a grey level."""
    scan, translation, truth, round_trip = pictures
    scans = {"input": scan, "translation": translation, "round trip": round_trip}
    difference = None
    if truth is not None:
        scans["truth"] = truth
        difference = (translation - truth) * 127.5
    affine = np.diag([-1.0, 1.0, 2.0, 1.0]) if scan.ndim == 4 else None
    return make_case(name, scans, difference, affine, most)


def photos(count: int = 4) -> list[Case]:
    return [
        case(f"photo {i}", (picture(i), picture(i + 10, 1), picture(i + 20, 1), picture(i + 30)))
        for i in range(count)
    ]


def volumes(count: int = 3) -> list[Case]:
    return [
        case(f"patient {i}", tuple(volume(i + start) for start in (0, 10, 20, 30)))
        for i in range(count)
    ]


def ct_volumes(count: int = 2) -> list[Case]:
    """Scans whose windows can be chosen: MR of 0 to 1000, and CT that rises from -1000 to 2000."""
    ramp = torch.linspace(-1000, 2000, 8 * 9 * 10).reshape(1, 8, 9, 10)
    found = []
    for i in range(count):
        scan, translation, truth, round_trip = (volume(i + start) for start in (0, 10, 20, 30))
        scans = {"input": scan, "translation": translation, "truth": truth}
        values = {"input": 500 + 500 * scan, "translation": ramp + 100, "truth": ramp}
        scans["round trip"], values["round trip"] = round_trip, 500 + 500 * round_trip
        affine = np.diag([-1.0, 1.0, 2.0, 1.0])
        difference = values["translation"] - values["truth"]
        found.append(make_case(f"patient {i}", scans, difference, affine, 10**6, values))
    return found


CT_WINDOWS = {
    "input": [Window("range of the run", 500, 1000)],
    "truth": [Window("range of the run", 500, 3000), Window("soft tissue", 40, 400)],
}


def row(direction: str, method: str, kind: str = "model", **scores: float) -> Row:
    """Of four images, with an interval about the PSNR."""
    estimates = {key: Estimate(value) for key, value in scores.items()}
    if "psnr" in scores:
        estimates["psnr"] = Estimate(scores["psnr"], scores["psnr"] - 1, scores["psnr"] + 1)
    return Row(direction, method, estimates, 4, kind)


def scores(cases: list[Case]) -> dict[str, dict[str, float]]:
    """The last scan is the best."""
    return {
        case.name: {"mae": 9.0 - place, "psnr": 20.0 + place} for place, case in enumerate(cases)
    }


def agreement(scans: int = 4) -> Agreement:
    draws = torch.Generator().manual_seed(0)
    tally = AgreementTally(0, 255, 1)
    for place in range(scans):
        truth = torch.randint(0, 256, (1, 16, 16), generator=draws).double()
        made = truth + torch.randint(-9, 10, truth.shape, generator=draws) + place
        tally.add(f"photo {place}", "", made, truth, None)
    found = tally.result()
    assert found is not None
    return found


def tables(scores: dict[str, dict[str, float]]) -> list[ScanTable]:
    rows = [ScanRow("AtoB", "RevGAN", scan, known) for scan, known in scores.items()]
    table = scan_table("Distance to the truth", rows, "psnr")
    return [] if table is None else [table]


def content(**changes: object) -> ReportContent:
    there, back = photos(), photos(2)
    whole = ReportContent(
        title="Tiles",
        summary="Ten steps.",
        cases={"AtoB": there, "BtoA": back},
        scan_scores={"AtoB": scores(there), "BtoA": scores(back)},
        scan_tables={"AtoB": tables(scores(there)), "BtoA": tables(scores(back))},
        scales={
            "a": Scale(0, 255, "the type uint8", 0, 255, 1),
            "b": Scale(
                -1024, 3000, "the option --data-range", -1024, 3071, 1, (-1000, 2000), 0.0123, 1071
            ),
        },
        agreements={"AtoB": agreement()},
        tables={
            "test": [
                row("AtoB", "RevGAN", mae=5.25, psnr=30.0, ssim=0.8),
                row("AtoB", "input unchanged", "reference", mae=9.0, psnr=31.0, ssim=0.7),
            ],
            "round_trip": [row("AtoBtoA", "RevGAN", mae=1.0, psnr=40.0, ssim=0.9)],
        },
        configuration="width: 8\n",
        versions={"torch": "2.0"},
        history=[{"step": i, "gan_AtoB": 1.0 / (i + 1), "d_a_real": 0.1} for i in range(5)],
        memory=MemoryComparison(
            measured={"naive": 300 * MIB, "reversible": 100 * MIB},
            over_depth={
                "naive": [(1, 90 * MIB), (6, 300 * MIB)],
                "reversible": [(1, 80 * MIB), (6, 100 * MIB)],
                "lean": [(1, 60 * MIB), (6, 70 * MIB)],
            },
            depth=6,
            step="Measured on a 64 px pair.",
        ),
        domain_names=("photo", "map"),
    )
    return replace(whole, **changes)


def written(folder: Path, **changes: object) -> str:
    write_report(folder / "report.html", content(**changes))
    return (folder / "report.html").read_text(encoding="utf-8")
