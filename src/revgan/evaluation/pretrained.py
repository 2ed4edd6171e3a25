"""What the shipped model of the Earth makes of places that it never saw."""

from dataclasses import replace
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from rich.console import Console
from torch import Tensor

from revgan.data.datasets.earth import LARGE, SMALL, Layout, Role, Tile, tiles, world_picture
from revgan.directions import DIRECTIONS, Direction
from revgan.errors import visible
from revgan.figures import comparison_figure, write_figure
from revgan.inference import Translator
from revgan.progress import track

DRAWN = 5
"""Places in the picture."""

PICTURES = {"A": "bmng.jpg", "B": "shadedrelief.jpg"}


def show_pretrained(model: str, picture: Path, console: Console, device: str = "auto") -> None:
    """Translates the places of the test set both ways; prints scores, writes a picture.

    Args:
        model: where it is, as `Translator.from_pretrained` takes it.
        picture: the PNG to write: satellite image, its translation, the true map and the way back.
        console: for the scores.
        device: "cpu", "cuda" or "mps"; "auto" takes a GPU, if there is one.

    Raises:
        UserError: there is no such model, or the package with the pictures isn't installed.
    """
    translator = Translator.from_pretrained(model, None if device == "auto" else device)
    world = world_pictures(LARGE)
    places = held_out_places()
    scores: dict[Direction, list[float]] = {direction: [] for direction in DIRECTIONS}
    rows: list[dict[str, Tensor]] = []
    drawn = set(np.linspace(0, len(places) - 1, DRAWN).round().astype(int))
    for number, place in enumerate(track(places, f"translating by {model}", console)):
        shown = {domain: place.cut(whole) for domain, whole in world.items()}
        made = {way: translator(shown[way[0]], way) for way in DIRECTIONS}
        for way in DIRECTIONS:
            scores[way].append(distance(made[way], shown[way[-1]]))
        if number in drawn:
            back = translator(made["AtoB"], "BtoA")
            columns = shown["A"], made["AtoB"], shown["B"], back
            names = "satellite", "translated to map", "true map", "and back"
            rows.append(dict(zip(names, map(_unit, columns), strict=True)))
    write_figure(comparison_figure(rows), [picture])
    there, back_again = (fmean(scores[way]) for way in DIRECTIONS)
    console.print(
        f"The model {model} on {len(places)} places that it never saw: {there:.1f} dB from "
        f"satellite to map, {back_again:.1f} dB from map to satellite; see {visible(picture)}",
        soft_wrap=True,
    )


def world_pictures(layout: Layout) -> dict[str, NDArray[np.uint8]]:
    """The whole Earth in both domains, (H, W, 3) each, at a layout's size.

    Raises:
        UserError: the package with the pictures isn't installed.
    """
    return {domain: world_picture(name, layout) for domain, name in PICTURES.items()}


def held_out_places(role: Role = "test") -> list[Tile]:
    """The small layout's tiles of a role, at the pictures' full resolution.

    Those for validation are training tiles of the small set, but not of the large one.
    """
    scale = LARGE.size[0] // SMALL.size[0]
    small = tiles(world_picture(PICTURES["B"]), replace(SMALL, validation=True))
    return [
        Tile(scale * tile.top, scale * tile.left, tile.role, scale * tile.side, LARGE.size[0])
        for tile in small
        if tile.role == role
    ]


def _unit(pixels: NDArray[np.uint8]) -> Tensor:
    return torch.from_numpy(pixels.astype(np.float32)).movedim(-1, 0) / 127.5 - 1


def distance(made: NDArray[Any], truth: NDArray[np.uint8]) -> float:
    """PSNR in dB of values in 0 to 255."""
    return float(10 * np.log10(255**2 / np.square(made.astype(float) - truth).mean()))
