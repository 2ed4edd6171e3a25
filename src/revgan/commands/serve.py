"""`revgan serve`: a web page for a trained model."""

from jsonargparse import Namespace
from rich.console import Console

from revgan.environment import require_device
from revgan.errors import UsageError
from revgan.options import Parser, add_window_options, window_options
from revgan.training.config import Device


def add_options(parser: Parser) -> None:
    """Which model, and where the page is."""
    parser.description = (
        "Serve a web page that translates images or volumes with a trained model. It is for this "
        "machine alone, unless --host says otherwise."
    )
    parser.add_argument(
        "run",
        help="a run folder, its checkpoints/step-N, a model folder, an ONNX file of revgan export, "
        "or a model on the Hugging Face hub, user/name",
    )
    parser.add_argument(
        "--host",
        type=str,
        default="127.0.0.1",
        help="address to listen at; 0.0.0.0 lets everybody in who reaches this machine",
    )
    parser.add_argument(
        "--port", type=int, default=7860, help="port to listen at; 0 takes any that is free"
    )
    parser.add_argument(
        "--max-upload",
        metavar="SIZE",
        type=str,
        default="1GiB",
        help="the most that the files of one scan may have together, such as 500MB",
    )
    parser.add_argument(
        "--max-kept",
        metavar="SIZE",
        type=str,
        default="10GiB",
        help="the most that all uploads and results may have together; the oldest go first",
    )
    parser.add_argument(
        "--device", type=Device, default="auto", help="where to run; auto takes a GPU if possible"
    )
    add_window_options(parser)


def run(options: Namespace, console: Console) -> int:
    """Serves until it is told to stop."""
    from pathlib import Path

    from revgan.inference import Translator
    from revgan.memory import parse_bytes
    from revgan.networks.shipped import shipped
    from revgan.serving import Address, Limits, serve

    require_device(options.device, "--device")
    if not 0 <= options.port <= 65535:
        raise UsageError(f"--port must be from 0 to 65535, not {options.port}")
    most, kept = parse_bytes(options.max_upload), parse_bytes(options.max_kept)
    if most is None:
        raise UsageError(f"--max-upload must be a size such as 500MB, not {options.max_upload}")
    if kept is None or kept < most:
        raise UsageError(
            f"--max-kept must be a size from --max-upload ({options.max_upload}) up, such as "
            f"10GiB, not {options.max_kept}"
        )
    limits = Limits(most, kept, window_options(options))
    device = None if options.device == "auto" else options.device
    translator = Translator.from_pretrained(options.run, device)
    limits.windows.decide(translator)  # refuses windows that the model can't take
    address = Address(options.host, options.port)
    known = shipped(options.run)
    ends = (known.a, known.b) if known else ("A", "B")
    serve(translator, Path(options.run).resolve().name, address, limits, console, ends)
    return 0
