"""Pictures and charts: tensors and numbers in, grids, figures and SVG out."""

from typing import TYPE_CHECKING

from revgan.faces import face

if TYPE_CHECKING:
    from revgan.figures.charts import Panel, Points, line_chart, save_figure
    from revgan.figures.comparison import comparison_figure
    from revgan.figures.pictures import image_grid, tensor_to_uint8
    from revgan.figures.slices import VolumeSlices, slice_volumes, strips
    from revgan.figures.svg import loss_curves, memory_chart, to_svg
    from revgan.figures.volumes import volume_figure, volume_grid

__all__ = [
    "Panel",
    "Points",
    "VolumeSlices",
    "comparison_figure",
    "image_grid",
    "line_chart",
    "loss_curves",
    "memory_chart",
    "save_figure",
    "slice_volumes",
    "strips",
    "tensor_to_uint8",
    "to_svg",
    "volume_figure",
    "volume_grid",
]

_HOMES = {
    "Panel": "charts",
    "Points": "charts",
    "line_chart": "charts",
    "save_figure": "charts",
    "comparison_figure": "comparison",
    "image_grid": "pictures",
    "tensor_to_uint8": "pictures",
    "VolumeSlices": "slices",
    "slice_volumes": "slices",
    "strips": "slices",
    "loss_curves": "svg",
    "memory_chart": "svg",
    "to_svg": "svg",
    "volume_figure": "volumes",
    "volume_grid": "volumes",
}

if not TYPE_CHECKING:
    # Imported on first use: grids of pixels do without matplotlib.
    __getattr__ = face(__name__, _HOMES)
