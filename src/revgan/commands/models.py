"""`revgan models`: the trained models that come with revgan."""

import json

from jsonargparse import Namespace
from rich.console import Console
from rich.table import Column, Table

from revgan.errors import visible
from revgan.options import Parser


def add_options(parser: Parser) -> None:
    """How to list them."""
    parser.description = "List the trained models that come with revgan."
    parser.add_argument("--json", action="store_true", help="print them as JSON")


def run(options: Namespace, console: Console) -> int:
    """Lists them, with what they translate and how well."""
    from revgan.networks.shipped import all_shipped

    models = all_shipped()
    if options.json:
        print(json.dumps([model.to_json() for model in models], indent=2))
        return 0
    name = Column("name", no_wrap=True, min_width=max(len(model.name) for model in models))
    table = Table(name, "A", "B", "PSNR A to B", "PSNR B to A")
    for model in models:
        there, back = (f"{model.psnr[way]:.1f} dB" for way in ("AtoB", "BtoA"))
        table.add_row(model.name, model.a, model.b, there, back)
    console.print(table)
    console.print("Try one: revgan translate NAME INPUT OUTPUT", soft_wrap=True)
    for model in models:
        facts = f"{model.megabytes:.1f} MB, {model.licence}"
        console.print(
            f"{model.name} ({facts}) was made as {visible(model.card)} says", soft_wrap=True
        )
    return 0
