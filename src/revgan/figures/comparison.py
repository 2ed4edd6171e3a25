"""Figures as the paper's 6 to 9: test images, what each model makes of them, and the truth."""

from collections.abc import Mapping, Sequence
from textwrap import fill

from matplotlib.figure import Figure
from torch import Tensor

from revgan.figures.pictures import tensor_to_uint8

CELL = 1.4
"""Inches across a picture."""

HEAD = 0.3
"""Inches above them, for the names."""

LINE = 0.15
"""Inches that each further line of a name takes."""

LETTERS = 18
"""Letters of a name that usually fit over a picture, in a line."""

LEAST_DPI = 200

LARGEST = 512
"""Dots across a picture: more would only make figures heavy."""


def comparison_figure(rows: Sequence[Mapping[str, Tensor]]) -> Figure:
    """Pictures in rows, under the names of their columns.

    Args:
        rows: by column, an image (C, H, W) in [-1, 1] as `tensor_to_uint8` takes it. The first row
            has all columns; where another lacks one, its place stays empty.

    Raises:
        ValueError: there is no row.
    """
    if not rows:
        raise ValueError("there are no images for a figure")
    names = list(rows[0])
    heads = [fill(name, LETTERS) for name in names]
    head = HEAD + LINE * max(text.count("\n") for text in heads)
    ratios = [max(_ratio(image) for image in row.values()) for row in rows]
    width, heights = CELL * len(names), [CELL * ratio for ratio in ratios]
    # At least one dot for each pixel, so that nothing is lost.
    most = max(image.shape[2] for row in rows for image in row.values())
    height, dpi = sum(heights) + head, max(LEAST_DPI, min(most, LARGEST) / CELL)
    figure = Figure(figsize=(width, height), dpi=dpi, facecolor="white")
    cells = figure.subplots(
        len(rows),
        len(names),
        squeeze=False,
        gridspec_kw={
            "height_ratios": ratios,
            "wspace": 0.04,
            "hspace": 0.04,
            "left": 0.01,
            "right": 0.99,
            "bottom": 0.01,
            "top": 1 - head / height,
        },
    )
    for row, images in zip(cells, rows, strict=True):
        for axes, name in zip(row, names, strict=True):
            axes.set_axis_off()
            if name in images:
                # Pixels stay square where they are enlarged: small images look as they are.
                axes.imshow(tensor_to_uint8(images[name]), interpolation="none")
    for axes, text in zip(cells[0], heads, strict=True):
        axes.set_title(text, fontsize=9, pad=4, parse_math=False)
    return figure


def _ratio(image: Tensor) -> float:
    return image.shape[1] / image.shape[2]
