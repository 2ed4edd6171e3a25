"""`revgan evaluate`: which scores are taken, and where they are shown."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from jsonargparse import Namespace
from rich.console import Console

from revgan.commands.options import Parser
from revgan.errors import UsageError
from revgan.evaluation.comparison import compare
from revgan.evaluation.runs import Evaluation
from revgan.evaluation.scoring import UNET, Distribution, ScoreOptions
from revgan.evaluation.tables import FORMATS, format_tables, rows_to_json, rows_to_rich
from revgan.files import write_text


def add_score_options(parser: Parser) -> None:
    """The options that `score_options` reads."""
    parser.add_argument(
        "--segmenter",
        metavar="unet|FILE",
        type=str | None,
        help="judge photos made from label maps by a segmentation network: unet trains a small one "
        "on the real training pairs, once; FILE is TorchScript or of torch.export.save, takes "
        "(1, C, H, W) in [-1, 1] and returns a score for each class",
    )
    parser.add_argument(
        "--distribution",
        type=Distribution,
        nargs="+",
        help="compare translations and real images as sets (KID), in the features of convolutions "
        "with random weights, of --segmenter unet, or of Inception (and FID; a download)",
    )
    parser.add_argument(
        "--lpips", action="store_true", help="take LPIPS of each image too (a download)"
    )


def score_options(options: Namespace) -> ScoreOptions:
    """What was given of `add_score_options`.

    Raises:
        UsageError: the options contradict each other.
    """
    distributions = tuple(dict.fromkeys(options.distribution or ()))
    if "segmenter" in distributions and options.segmenter != UNET:
        raise UsageError(f"--distribution segmenter has its features from --segmenter {UNET}")
    return ScoreOptions(options.segmenter, distributions, options.lpips)


@dataclass(frozen=True)
class Output:
    """Where scores go.

    Attributes:
        files: to write tables to, each in the format of its suffix.
        as_json: print JSON rather than tables.
        named: the runs were given names, which tables then have for a single run, too.
    """

    files: tuple[Path, ...]
    as_json: bool
    named: bool

    def show(self, evaluations: Mapping[str, Evaluation], console: Console) -> None:
        """Prints and writes the scores of runs, by their names; those of several as compared.

        Raises:
            UserError: several runs were tested on other images.
            OSError: a file can't be written.
        """
        (first, *others) = evaluations.values()
        tables = compare(evaluations) if others or self.named else first.titled()
        for path in self.files:
            write_text(path, format_tables(path, tables))
        if self.as_json:
            content = {title: rows_to_json(rows) for title, rows in tables.items()}
            print(json.dumps(content, indent=2) if others else first.to_json())
            return
        if not first.tables["test"]:
            console.print(
                "What is in testA and testB is not aligned: only round trips, and sets as a whole, "
                "can be scored.",
                soft_wrap=True,
            )
        for title, rows in tables.items():
            if rows:
                console.print(rows_to_rich(rows, title, first.items))
        for path in self.files:
            console.print(f"Wrote {path}", soft_wrap=True)


def add_output_options(parser: Parser) -> None:
    """The options that `output_options` reads."""
    parser.add_argument("--json", action="store_true", help="print the scores as JSON")
    parser.add_argument(
        "--table",
        metavar="FILE",
        type=str | None,
        nargs="+",
        help="write the tables to files too: Markdown (.md), CSV (.csv), JSON (.json) or LaTeX "
        "(.tex)",
    )
    add_names_option(parser)


def add_names_option(parser: Parser) -> None:
    """The option `--names`."""
    parser.add_argument(
        "--names",
        metavar="NAME",
        type=str | None,
        nargs="+",
        help="what to call the runs; by default as their folders",
    )


def output_options(options: Namespace) -> Output:
    """What was given of `add_output_options`.

    Raises:
        UsageError: a file's suffix tells no format.
        OSError: a file's folder can't be made.
    """
    files = tuple(Path(name) for name in options.table or ())
    for path in files:
        if path.suffix.lower() not in FORMATS:
            raise UsageError(f"--table {path} must end in one of {', '.join(FORMATS)}")
        path.parent.mkdir(parents=True, exist_ok=True)  # or fail now, not after the evaluation
    return Output(files, options.json, options.names is not None)
