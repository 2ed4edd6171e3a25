"""Pictures and charts: tensors and numbers in, grids, figures and SVG out."""

from typing import TYPE_CHECKING

from revgan.faces import face

if TYPE_CHECKING:
    from revgan.figures.agreement import agreement_charts, agreement_figure
    from revgan.figures.charts import Panel, Points, line_chart, save_figure, write_figure
    from revgan.figures.comparison import comparison_figure
    from revgan.figures.differences import (
        common_limit,
        difference_map,
        most_different,
        scale_colours,
    )
    from revgan.figures.pictures import image_grid, shown_channels, tensor_to_uint8
    from revgan.figures.slices import VolumeSlices, slice_volumes, strips
    from revgan.figures.stacks import Stack, encoded, mosaic, stack
    from revgan.figures.svg import loss_curves, memory_chart, to_svg
    from revgan.figures.volumes import volume_grid

__all__ = [
    "Panel",
    "Points",
    "Stack",
    "VolumeSlices",
    "agreement_charts",
    "agreement_figure",
    "common_limit",
    "comparison_figure",
    "difference_map",
    "encoded",
    "image_grid",
    "line_chart",
    "loss_curves",
    "memory_chart",
    "mosaic",
    "most_different",
    "save_figure",
    "scale_colours",
    "shown_channels",
    "slice_volumes",
    "stack",
    "strips",
    "tensor_to_uint8",
    "to_svg",
    "volume_grid",
    "write_figure",
]

_HOMES = {
    "agreement_charts": "agreement",
    "agreement_figure": "agreement",
    "Panel": "charts",
    "Points": "charts",
    "line_chart": "charts",
    "save_figure": "charts",
    "write_figure": "charts",
    "comparison_figure": "comparison",
    "common_limit": "differences",
    "difference_map": "differences",
    "most_different": "differences",
    "scale_colours": "differences",
    "image_grid": "pictures",
    "shown_channels": "pictures",
    "tensor_to_uint8": "pictures",
    "VolumeSlices": "slices",
    "slice_volumes": "slices",
    "strips": "slices",
    "Stack": "stacks",
    "encoded": "stacks",
    "mosaic": "stacks",
    "stack": "stacks",
    "loss_curves": "svg",
    "memory_chart": "svg",
    "to_svg": "svg",
    "volume_grid": "volumes",
}

if not TYPE_CHECKING:
    # Imported on first use: grids of pixels do without matplotlib.
    __getattr__ = face(__name__, _HOMES)
