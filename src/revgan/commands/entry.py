"""Each command's options, and how they call it."""

import shlex
from pathlib import Path
from typing import Literal

from rich.console import Console

from revgan.commands.options import Parser, option_values, run_config
from revgan.commands.run_options import (
    add_test_options,
    checked_config,
    named_runs,
    parse_run,
    require_images,
    run_parser,
    trained_config,
)
from revgan.directions import Direction
from revgan.environment import require_device
from revgan.errors import UsageError
from revgan.training.config import Device
from revgan.training.runs import existing_run


def train(arguments: list[str]) -> int:
    """Trains on a folder, or resumes a run."""
    from revgan.commands.train import run_training
    from revgan.training.runs import new_run

    resumed = option_values(arguments, "--resume")
    parser = run_parser("train", "Train a model on your images, or go on with a run.", arguments)
    parser.add_argument(
        "images",
        nargs="?",
        help="a folder with trainA and trainB (testA and testB), or with train (test) of images "
        "side by side; or earth, the built-in sample set of 64 x 64 tiles (with --data.crop 64). "
        "With --preset volumes, a folder with trainA and trainB of volumes, or the built-in sets "
        "brain and brain-super-resolution. The same as --data.path",
    )
    parser.add_argument(
        "--resume",
        metavar="RUN",
        help="go on with the run in this folder, with its own images and options; those given "
        "besides change it",
    )
    if resumed:
        run = existing_run(Path(resumed[-1]))
        options = parse_run(parser, ["--config", str(run.config), *arguments])
        for name, given in (("the folder of images", options.images), ("--run", options.run)):
            if given is not None:
                raise UsageError(f"--resume goes on in the run's folder on its images; omit {name}")
        if options.preset is not None:
            raise UsageError("--resume goes on with the run's own options; omit --preset")
        config = checked_config(options)
        before = run_config(parse_run(parser, ["--config", str(run.config)]))
        if changed := before.changed_networks(config):
            raise UsageError(
                f"--resume goes on with the run's networks; omit --{changed[0]}, or train anew"
            )
        require_images(config, run, "give the new place as --data.path")
    else:
        options = parse_run(parser, arguments)
        if options.images is not None:
            options["data.path"] = options.images
        config = checked_config(options)
        run = new_run(config, Path(options.run) if options.run else None)
    outcome = run_training(config, run, resume=bool(resumed), console=Console())
    return _status(outcome.signal)


def demo(arguments: list[str]) -> int:
    """Trains on a built-in set, evaluates and reports."""
    from revgan.commands.demo import PRESETS, Dataset, run_demo

    dataset = ["earth", *option_values(arguments, "--dataset")][-1]
    parser = run_parser(
        "demo", "Train on a real sample set, and report.", arguments, PRESETS.get(dataset, "demo")
    )
    parser.add_argument(
        "--dataset",
        type=Dataset,
        default="earth",
        help="earth: satellite image (A) and map (B); earth-labels: satellite image (A) and label "
        "map of the land cover (B); brain: T1 (A) and grey matter (B) in 3D; "
        "brain-super-resolution: T1 at half resolution (A) and T1 (B)",
    )
    options = parse_run(parser, arguments)
    if not option_values(arguments, "--data.path"):
        options["data.path"] = options.dataset
    root = Path(options.run) if options.run else None
    outcome = run_demo(checked_config(options), root, Console())
    return _status(outcome.signal)


def translate(arguments: list[str]) -> int:
    """Translates files."""
    from revgan.commands.translate import run_translation
    from revgan.commands.windowing import add_window_options, window_options

    parser = Parser("translate", "Translate an image or a volume, or a folder of them.")
    parser.add_argument("run", help="a run folder or a model folder")
    parser.add_argument(
        "input",
        help="an image (PNG, JPEG, TIFF) or a volume (NIfTI, MHA, NRRD, NPY), whichever the model "
        "is for, or a folder of them",
    )
    parser.add_argument(
        "output",
        help="a file, or a folder where files keep their names; folders are made, for a single "
        "file if the name ends in /; JPEGs whose translation has an alpha channel, which JPEG "
        "can't hold, become PNGs",
    )
    parser.add_argument("--direction", type=Direction, default="AtoB", help="which way")
    parser.add_argument(
        "--device", type=Device, default="auto", help="where to run; auto takes a GPU if possible"
    )
    add_window_options(parser)
    options = parser.parse_args(arguments)
    require_device(options.device, "--device")
    console = Console()
    written = run_translation(
        Path(options.run),
        Path(options.input),
        Path(options.output),
        options.direction,
        options.device,
        window_options(options),
        console,
        into_folder=options.output.endswith("/"),
    )
    what = f"{len(written)} files in {options.output}" if len(written) > 1 else str(written[0])
    console.print(f"Wrote {what}", soft_wrap=True)
    return 0


def prepare(arguments: list[str]) -> int:
    """Makes a data set for training."""
    from revgan.commands.prepare import run_prepare

    run_prepare(arguments, Console())
    return 0


def import_weights(arguments: list[str]) -> int:
    """Makes a model folder from other code's checkpoint."""
    from revgan.commands.import_weights import add_options, run_import

    parser = Parser(
        "import",
        "Make a model folder from a checkpoint of the paper's released code, CycleGAN or pix2pix.",
    )
    add_options(parser)
    run_import(parser.parse_args(arguments), Console())
    return 0


def evaluate(arguments: list[str]) -> int:
    """Scores runs and writes their reports."""
    from revgan.commands.evaluate import (
        add_output_options,
        add_score_options,
        output_options,
        score_options,
    )
    from revgan.commands.windowing import add_window_options, window_options
    from revgan.evaluation.comparison import compare
    from revgan.evaluation.runs import run_evaluation

    parser = Parser(
        "evaluate",
        "Score runs on their test images or volumes, write their reports, and compare them.",
    )
    parser.add_argument("runs", nargs="+", metavar="run", help="a run folder")
    add_score_options(parser)
    add_output_options(parser)
    add_test_options(parser)
    add_window_options(parser)
    options = parser.parse_args(arguments)
    wanted, output = score_options(options), output_options(options)
    runs = named_runs(options.runs, options.names)
    console = Console(stderr=options.json)
    configs = {name: trained_config(run, options) for name, run in runs.items()}
    evaluations = {}
    for name, run in runs.items():
        if len(runs) > 1:
            console.print(f"Evaluating {name}", soft_wrap=True)
        evaluations[name] = run_evaluation(
            configs[name], run, console, window_options(options), wanted, options.model
        )
        compare(evaluations)  # so that one on other images ends it at once
    output.show(evaluations, console)
    if not options.json:
        for run in runs.values():
            console.print(f"The report: {run.report}", soft_wrap=True)
    return 0


def figure(arguments: list[str]) -> int:
    """Draws test images beside the translations of one or more runs."""
    from revgan.commands.figure import add_options, run_figure

    parser = Parser(
        "figure",
        "Draw rows of test images: the input, each run's translation, and the truth.",
    )
    add_options(parser)
    add_test_options(parser)
    options = parser.parse_args(arguments)
    runs = named_runs(options.runs, options.names)
    configs = {name: trained_config(run, options) for name, run in runs.items()}
    written = run_figure(options, runs, configs, Console())
    print(f"Wrote {' and '.join(map(str, written))}")
    return 0


def benchmark(arguments: list[str]) -> int:
    """Measures ways to train, side by side; or, called `benchmark paper`, the paper's tables."""
    if arguments[:1] == ["paper"]:
        from revgan.commands.benchmark_paper import benchmark_paper

        return benchmark_paper(arguments[1:])
    from revgan.commands.benchmark import add_options, run_benchmark

    parser = Parser(
        "benchmark",
        "Measure ways to train the same RevGAN side by side: time, memory, arithmetic, and the "
        "gradient's error. An interrupted benchmark goes on when it is started again. "
        "revgan benchmark paper measures the rows of the paper's tables instead.",
    )
    add_options(parser)
    options = parser.parse_args(arguments)
    require_device(options.device, "--device")
    run_benchmark(options, shlex.join(["revgan", "benchmark", *arguments]), Console())
    return 0


def plan(arguments: list[str]) -> int:
    """Predicts memory, and what fits."""
    from revgan.commands.plan import make_plan, planned_domains, planned_workload, print_plan

    parser = run_parser(
        "plan",
        "Predict the memory that a training needs, and the largest size, depth and batch that fit, "
        "before anything runs.",
        arguments,
        makes_run=False,
    )
    parser.add_argument("run_folder", nargs="?", help="a run folder, for its options")
    parser.add_argument(
        "--spatial-dims",
        type=Literal[2, 3],
        help="images or volumes; by default the run's, else data.spatial_dims",
    )
    parser.add_argument(
        "--channels",
        type=int,
        nargs=2,
        metavar=("A", "B"),
        help="of the domains A and B; by default the run's, else 3 3, or 1 1 of volumes",
    )
    parser.add_argument(
        "--size", type=int | None, help="side of the training images; by default data.crop"
    )
    parser.add_argument("--json", action="store_true", help="print the plan in bytes, as JSON")
    options = parse_run(parser, arguments)
    run = None
    if options.run_folder is not None:
        if options.preset is not None:
            raise UsageError("a run folder has options of its own; omit --preset")
        run = existing_run(Path(options.run_folder))
        options = parse_run(parser, ["--config", str(run.config), *arguments])
    config, channels = run_config(options), options.channels
    domains = planned_domains(config, run, options.spatial_dims, channels and tuple(channels))
    workload = planned_workload(config, domains, options.size)
    console = Console(stderr=options.json)
    with console.status("Predicting: each try takes seconds at a great depth"):
        result = make_plan(workload)
    if options.json:
        print(result.to_json())
    else:
        print_plan(result, console)
    return 0


def _status(signal: int | None) -> int:
    return 0 if signal is None else 128 + signal
