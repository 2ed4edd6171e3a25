"""Each command's options, and how they call it."""

from dataclasses import replace
from pathlib import Path

from jsonargparse import Namespace
from rich.console import Console

from revgan.commands.options import Parser, preset_arguments
from revgan.errors import UserError
from revgan.networks import Direction
from revgan.training.config import Device, RunConfig, preset_names
from revgan.training.runs import existing_run


def train(arguments: list[str]) -> int:
    """Trains on a folder, or resumes a run."""
    from revgan.commands.train import new_run, run_training

    parser = _run_parser("train", "Train a model on your images, or go on with a run.")
    parser.add_argument(
        "images", nargs="?", help="a folder of images, or earth; the same as --data.path"
    )
    parser.add_argument("--resume", metavar="RUN", help="go on with the run in this folder")
    options = _parse_run(parser, arguments)
    console = Console()
    if options.resume is not None:
        config, run = _run_config(parser, options), existing_run(Path(options.resume))
    else:
        if options.images is not None:
            options["data.path"] = options.images
        elif not any(a.split("=")[0] in ("--data.path", "--config") for a in arguments):
            raise UserError("give a folder of images to train on, or earth for the sample set")
        config = _run_config(parser, options)
        run = new_run(config, Path(options.run) if options.run else None)
    outcome = run_training(config, run, resume=options.resume is not None, console=console)
    return _status(outcome.signal)


def demo(arguments: list[str]) -> int:
    """Trains on Earth tiles, evaluates and reports."""
    from revgan.commands.demo import run_demo

    parser = _run_parser("demo", "Train on real satellite (A) and map (B) tiles, and report.")
    options = _parse_run(parser, arguments, preset="demo")
    root = Path(options.run) if options.run else None
    outcome = run_demo(_run_config(parser, options), root, Console())
    return _status(outcome.signal)


def translate(arguments: list[str]) -> int:
    """Translates files."""
    from revgan.commands.translate import run_translation

    parser = Parser("translate", "Translate an image, or a folder of images.")
    parser.add_argument("run", help="a run folder or a model folder")
    parser.add_argument("input", help="an image (PNG, JPEG, TIFF) or a folder of images")
    parser.add_argument("output", help="a file, or a folder for several images")
    parser.add_argument("--direction", type=Direction, default="AtoB", help="which way")
    parser.add_argument("--device", type=Device, default="auto", help="where to run")
    options = parser.parse_args(arguments)
    console = Console()
    written = run_translation(
        Path(options.run),
        Path(options.input),
        Path(options.output),
        options.direction,
        options.device,
        console,
    )
    what = f"{len(written)} images in {options.output}" if len(written) > 1 else str(written[0])
    console.print(f"Wrote {what}", soft_wrap=True)
    return 0


def evaluate(arguments: list[str]) -> int:
    """Scores a run and writes its report."""
    from revgan.commands.evaluate import run_evaluation
    from revgan.evaluation.metrics import rows_to_rich

    parser = Parser("evaluate", "Score a run on its test images and write its report.")
    parser.add_argument("run", help="a run folder")
    parser.add_argument("--json", action="store_true", help="print the scores as JSON")
    options = parser.parse_args(arguments)
    run = existing_run(Path(options.run))
    run_parser = _run_parser("evaluate", "")
    config = _run_config(run_parser, run_parser.parse_args(["--config", str(run.config)]))
    console = Console(stderr=options.json)
    evaluation = run_evaluation(config, run, console)
    if options.json:
        print(evaluation.to_json())
        return 0
    if evaluation.rows:
        console.print(rows_to_rich(evaluation.rows))
    else:
        console.print("The test images are not aligned: only round trips can be scored.")
        console.print(rows_to_rich(evaluation.cycle_rows))
    console.print(f"The report: {run.report}", soft_wrap=True)
    return 0


def _run_parser(command: str, description: str) -> Parser:
    """The options of a whole run: its folder, presets, and every field of `RunConfig`."""
    parser = Parser(command, description)
    parser.add_argument("--run", metavar="FOLDER", help="the run's new folder; below runs/ if not")
    parser.add_argument(
        "--preset", metavar="NAME", help=f"start from a preset: {', '.join(preset_names())}"
    )
    parser.add_argument("--config", action="config", help="start from a YAML file")
    parser.add_class_arguments(RunConfig, as_group=True)
    return parser


def _parse_run(parser: Parser, arguments: list[str], preset: str = "default") -> Namespace:
    return parser.parse_args(preset_arguments(arguments, preset) + arguments)


def _run_config(parser: Parser, options: Namespace) -> RunConfig:
    fields = RunConfig.__dataclass_fields__
    instances = parser.instantiate_options(options)
    config = RunConfig(**{name: instances[name] for name in fields})
    path = Path(config.data.path)
    if path.is_dir():  # so that the run can be resumed and evaluated from another folder
        config = replace(config, data=replace(config.data, path=str(path.resolve())))
    return config


def _status(signal: int | None) -> int:
    return 0 if signal is None else 128 + signal
