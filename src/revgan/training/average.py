"""The exponential moving average of a generator's weights."""

from collections.abc import Mapping

import torch
from torch import Tensor

from revgan.networks import TwoWayGenerator


class WeightAverage:
    """Follows a generator's weights through training; their average is often better than the last
    ones.

    Source: Yazici et al., "The Unusual Effectiveness of Averaging in GAN Training", ICLR 2019.
    Early on, the decay is lower, so that the initial weights are soon forgotten: it is the lesser
    of the given one and (1 + step) / (10 + step), as in TensorFlow's
    `tf.train.ExponentialMovingAverage`.

    PyTorch's `torch.optim.swa_utils.AveragedModel` has no such start. Each update also reads a
    tensor's value, which waits for the GPU, and which the planner's fake tensors don't have.

    Args:
        network: a second network of the same architecture, on the same device, to hold the average.
        decay: the share of the average that is kept in a step, below 1.
    """

    def __init__(self, network: TwoWayGenerator, decay: float) -> None:
        self.network = network
        network.requires_grad_(False)
        self.decay = decay

    def start(self, weights: Mapping[str, Tensor]) -> None:
        """Starts from a state dict of the generator or of an earlier average.

        Raises:
            RuntimeError: it belongs to a different network.
        """
        self.network.load_state_dict(weights)

    @torch.no_grad()
    def update(self, network: TwoWayGenerator, step: int) -> None:
        """Moves towards the weights of `network` and its batch norms' running statistics.

        Args:
            network: the trained network.
            step: the number, from 0, of the step just done.
        """
        decay = min(self.decay, (1 + step) / (10 + step))
        mine, theirs = self.network.state_dict(), network.state_dict()
        for name, average in mine.items():
            if average.is_floating_point():
                average.lerp_(theirs[name], 1 - decay)
            else:  # the number of batches that a batch norm has seen
                average.copy_(theirs[name])
