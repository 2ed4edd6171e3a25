"""Pictures and charts: tensors and numbers in, grids, figures and SVG out."""
