"""`revgan push`: put a trained model on the Hugging Face hub, with a model card."""

from pathlib import Path

from jsonargparse import Namespace
from rich.console import Console

from revgan.options import Parser


def add_options(parser: Parser) -> None:
    """Which model, where to, and what to say of it."""
    parser.description = (
        "Put a trained model on the Hugging Face hub, with a card written from its configuration "
        "and scores. Others get it by revgan translate USER/NAME. Log in first: hf auth login."
    )
    parser.add_argument("run", help="a run folder or a model folder")
    parser.add_argument("name", metavar="USER/NAME", help="the repository; a new one is made")
    parser.add_argument("--private", action="store_true", help="only you see a new repository")
    parser.add_argument(
        "--about", metavar="TEXT", type=str, default="", help="what the data were, for the card"
    )
    parser.add_argument(
        "--license",
        metavar="NAME",
        type=str,
        default="",
        help="the model's licence by the hub's name for it, such as cc-by-4.0",
    )
    parser.add_argument(
        "--card",
        action="store_true",
        help="only print the card; nothing leaves this machine",
    )


def run(options: Namespace, console: Console) -> int:
    """Pushes a model, and says where it is."""
    from revgan.sharing import PushOptions, card_of, push

    said = PushOptions(options.private, options.about, options.license)
    if options.card:
        console.out(card_of(Path(options.run), options.name, said), highlight=False)
        return 0
    address = push(Path(options.run), options.name, said)
    console.print(f"Pushed {options.run}: {address}", soft_wrap=True)
    return 0
