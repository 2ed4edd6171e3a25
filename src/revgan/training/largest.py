"""The largest training that fits a budget: by size, depth or batch."""

from revgan.memory import largest_fitting, largest_side
from revgan.training.prediction import Workload, predict_training

LARGEST_DEPTH = 64
LARGEST_BATCH = 16
"""The largest values that the searches try, as each try takes seconds."""


def largest_size(workload: Workload, budget: int) -> int | None:
    """The largest size within a budget, or longest side of `crop_of`; None if none fits."""
    return largest_side(
        lambda side: predict_training(workload.with_side(side)),
        budget,
        start=workload.side,
        spatial_dims=workload.spatial_dims,
        multiple=workload.config.size_multiple,
        least=workload.config.min_size,
    )


def largest_depth(workload: Workload, budget: int) -> int | None:
    """The largest depth of the generator within a budget, up to `LARGEST_DEPTH`."""
    stored = workload.config.generator.stored_blocks

    def need(depth: int) -> int:
        deeper = workload.with_generator(depth=depth, stored_blocks=min(stored, depth))
        return predict_training(deeper).total

    return largest_fitting(
        need,
        budget,
        {workload.config.generator.depth: predict_training(workload).total},
        least=0,
        limit=LARGEST_DEPTH,
    )


def largest_batch(workload: Workload, budget: int) -> int | None:
    """The largest batch within a budget, up to `LARGEST_BATCH`."""
    start = predict_training(workload)
    return largest_fitting(
        lambda batch_size: predict_training(workload.with_batch(batch_size)).total,
        budget,
        {workload.config.training.batch_size: start.total},
        fixed=start.held + start.gradients,
        limit=LARGEST_BATCH,
    )
