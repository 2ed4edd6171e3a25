"""The options of commands that use trained models: which model, which device, which windows."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from jsonargparse import Namespace

from revgan.directions import Direction, ends
from revgan.errors import UsageError, UserError
from revgan.evaluation.wanted import ModelChoice
from revgan.options.parser import Parser
from revgan.options.runs import check_startable, require_images, stored_config
from revgan.training.config import Device, RunConfig

if TYPE_CHECKING:
    from revgan.data.formats import Scan
    from revgan.inference import Translator
    from revgan.inference.planning import WindowOptions
    from revgan.training.runs import RunFolder

SAMPLES = 2
"""How many real scans are enough for a check."""

Statistics = Literal["exact", "approximate"]


def add_test_options(parser: Parser) -> None:
    """The options of commands that translate runs' test sets; `trained_config` reads them."""
    parser.add_argument("--device", type=Device, default="auto", help="where to run")
    parser.add_argument(
        "--model",
        type=ModelChoice,
        default="last",
        help="which model of each run: the last step's, or the best by training.best_by",
    )
    parser.add_argument(
        "--resize",
        metavar="PIXELS",
        type=int | None,
        help=(
            "scale test images' shorter side to this many pixels instead of the run's data.resize, "
            "for example to data.crop"
        ),
    )


def trained_config(run: "RunFolder", options: Namespace) -> RunConfig:
    """The configuration of an existing run, to translate its test set in float32.

    Raises:
        UserError: its images are gone or can't be scaled this way, or there is no such device.
    """
    changes = {"runtime.device": options.device, "runtime.precision": "float32"}
    if options.resize is not None:
        changes["data.resize"] = options.resize
    config = check_startable(stored_config(run.config, changes))
    require_images(config, run.root, f"write the new place as data.path into {run.config}")
    return config


def add_trust_option(parser: Parser, *options: str) -> None:
    """``--trust``, for commands that load other people's networks.

    Args:
        parser: the command's.
        options: those that name such files.
    """
    parser.add_argument(
        "--trust",
        action="store_true",
        help=(
            f"let {' and '.join(options)} take TorchScript and torch.export files too, which can "
            "run their maker's code and so read and change all your files"
        ),
    )


def sample_scans(
    run: str, given: str | None, translator: "Translator", direction: Direction
) -> "list[Scan]":
    """A few real scans of the domain that a direction translates from.

    Args:
        run: a run folder or a model folder.
        given: a file or folder to take them from; by default, the test files of the run's data, or
            none if these aren't there any more.
        translator: has the run's model.
        direction: "AtoB" or "BtoA".

    Raises:
        UserError: what is given can't be read.
    """
    from revgan.data.refs import given_scans
    from revgan.data.sets import locate

    if given is not None:
        refs = given_scans(Path(given), translator.file_dims).refs
        return [ref.read(translator.file_dims) for ref in refs[:SAMPLES]]
    root = Path(run)
    if not (root / "model").is_dir():
        return []
    try:
        config = stored_config(root / "config.yaml")
        test = locate(config.data, paired=config.paired).test
        refs = test.of(ends(direction)[0]) if test else ()
        return [ref.read(config.data.spatial_dims) for ref in refs[:SAMPLES]]
    except UserError:  # the data are elsewhere now
        return []


def add_names_option(parser: Parser) -> None:
    """The option that `named_runs` takes."""
    parser.add_argument(
        "--names",
        metavar="NAME",
        type=str | None,
        nargs="+",
        help=(
            "names for the runs; by default those of their folders. `evaluate` joins runs of one "
            "name, such as trainings with different seeds"
        ),
    )


def named_runs(folders: Sequence[str], names: Sequence[str] | None) -> "dict[str, RunFolder]":
    """Runs by their names in tables and figures; by default, the names of their folders.

    Raises:
        UserError: a folder doesn't hold a run.
        UsageError: there are too few or too many names, or equal ones.
    """
    from revgan.training.runs import existing_run

    runs = [existing_run(Path(folder)) for folder in folders]
    if names is None:
        names = [run.name for run in runs]
        if len(set(names)) < len(names):
            names = [str(run.trained) for run in runs]
    if len(names) != len(runs) or len(set(names)) < len(names):
        raise UsageError(
            f"--names must give each of {len(runs)} runs a different name, not {', '.join(names)}"
        )
    return dict(zip(names, runs, strict=True))


def models_of_runs(
    folders: Sequence[str], names: Sequence[str] | None
) -> "dict[str, list[RunFolder]]":
    """The trainings of each model, by its name in tables.

    Runs with the same name are trainings of one model, as are the folds of a cross-validation.

    Raises:
        UserError: a folder holds neither a run nor folds, or some of its folds are missing.
        UsageError: there are too few or too many names, or a model has the same run twice.
    """
    from revgan.training.runs import runs_in

    paths = [Path(folder) for folder in folders]
    found = [runs_in(path) for path in paths]
    for path, runs in zip(paths, found, strict=True):
        _require_folds(path, runs)
    if names is None:
        labels = [(path.resolve().name, str(path)) for path in paths]
        for place, runs in enumerate(found):
            if runs[0].root == paths[place] or runs[0].step is not None:
                labels[place] = runs[0].name, str(runs[0].trained)
        short = [name for name, _ in labels]
        names = short if len(set(short)) == len(short) else [whole for _, whole in labels]
    if len(names) != len(paths):
        raise UsageError(f"--names must name each of {len(paths)} runs, not {', '.join(names)}")
    models: dict[str, list[RunFolder]] = {}
    for name, runs in zip(names, found, strict=True):
        models.setdefault(name, []).extend(runs)
    for name, runs in models.items():
        places = [run.trained.resolve() for run in runs]
        if twice := [run for run in runs if places.count(run.trained.resolve()) > 1]:
            raise UsageError(
                f"{twice[0].trained} is given twice, and would count as two trainings of {name}; "
                "give each run once"
            )
    return models


def _require_folds(path: Path, runs: "Sequence[RunFolder]") -> None:
    """Refuses the folder of a cross-validation of which folds are missing."""
    folds = stored_config(runs[0].config).data.folds
    if runs[0].root.parent == path and folds is not None and folds != len(runs):
        raise UserError(
            f"{path} has {len(runs)} of {folds} folds; give the command that trained them again, "
            "which goes on where it stopped"
        )


def add_window_options(parser: Parser) -> None:
    """The options `--window`, `--overlap` and `--statistics`, which `window_options` reads.

    Their defaults equal those of `WindowOptions`, which can't be imported without PyTorch.
    """
    parser.add_argument(
        "--window",
        metavar="auto|whole|SIZE",
        type=str,
        default="auto",
        help=(
            "whole: each file in one pass; SIZE: larger files in parts with this many pixels or "
            "voxels per side; auto: in one pass if that fits the free memory, else in the largest "
            "parts that fit"
        ),
    )
    parser.add_argument(
        "--overlap",
        metavar="SHARE",
        type=float,
        default=0.25,
        help="share of a window's side that it has in common with the next, with approximate "
        "statistics",
    )
    parser.add_argument(
        "--statistics",
        type=Statistics,
        default="exact",
        help="of instance norms in files that are translated in parts: exact gives what one pass "
        "gives, with scratch files in the folder TMPDIR; approximate pools the statistics of "
        "windows, blends these, and differs",
    )


def window_options(options: Namespace) -> "WindowOptions":
    """Reads the options of `add_window_options`."""
    from revgan.inference.planning import WindowOptions

    return WindowOptions(options.window, options.overlap, options.statistics)
