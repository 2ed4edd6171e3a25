"""What a training step costs beside its peers, and the paper's Tables 2 to 4 measured again."""

from typing import TYPE_CHECKING

from revgan.faces import face

if TYPE_CHECKING:
    from revgan.benchmark.cases import PACKAGES, Case, VariantName, installed_variants
    from revgan.benchmark.measuring import MeasuredStep, measure_case
    from revgan.benchmark.paper_measuring import Measurement, measure_paper_case
    from revgan.benchmark.paper_results import PaperResults
    from revgan.benchmark.paper_tables import Mode, PaperCase, TableNumber, paper_rows
    from revgan.benchmark.recording import Conditions, current_conditions
    from revgan.benchmark.results import StepResults

__all__ = [
    "PACKAGES",
    "Case",
    "Conditions",
    "MeasuredStep",
    "Measurement",
    "Mode",
    "PaperCase",
    "PaperResults",
    "StepResults",
    "TableNumber",
    "VariantName",
    "current_conditions",
    "installed_variants",
    "measure_case",
    "measure_paper_case",
    "paper_rows",
]

_HOMES = {
    "MeasuredStep": "measuring",
    "measure_case": "measuring",
    "Measurement": "paper_measuring",
    "measure_paper_case": "paper_measuring",
    "PaperResults": "paper_results",
    "Mode": "paper_tables",
    "PaperCase": "paper_tables",
    "TableNumber": "paper_tables",
    "paper_rows": "paper_tables",
    "Conditions": "recording",
    "current_conditions": "recording",
    "StepResults": "results",
    "PACKAGES": "cases",
    "Case": "cases",
    "VariantName": "cases",
    "installed_variants": "cases",
}

if not TYPE_CHECKING:
    # Imported on first use: the help does without accelerate and matplotlib.
    __getattr__ = face(__name__, _HOMES)
