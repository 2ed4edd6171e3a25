"""The exponential moving average of a generator's weights."""

from collections.abc import Mapping

import torch
from torch import Tensor

from revgan.networks import TwoWayGenerator


class WeightAverage:
    """Follows a generator's weights through training; a GAN's average is often better than its end.

    Source: Yazici et al., "The Unusual Effectiveness of Averaging in GAN Training", ICLR 2019. The
    decay is lower early on, so that the initial weights are soon forgotten: it is the lower of the
    given one and (1 + step) / (10 + step), as in TensorFlow's `tf.train.ExponentialMovingAverage`.

    PyTorch's `torch.optim.swa_utils.AveragedModel` has no such start. In each update it also reads
    a tensor's value, which waits for the GPU, and which the planner's fake tensors don't have.

    Args:
        network: another one of the same architecture, on the same device; it will hold the average.
        decay: the share of the average that stays in a step, below 1.
    """

    def __init__(self, network: TwoWayGenerator, decay: float) -> None:
        self.network = network
        network.requires_grad_(False)
        self.decay = decay

    def start(self, weights: Mapping[str, Tensor]) -> None:
        """Takes over a state dict: that of the generator, or that of an earlier average.

        Raises:
            RuntimeError: it belongs to another network.
        """
        self.network.load_state_dict(weights)

    @torch.no_grad()
    def update(self, network: TwoWayGenerator, step: int) -> None:
        """Moves towards the weights of `network`, and its batch norms' running statistics.

        Args:
            network: the one that is trained.
            step: the number of the step that it has just done, from 0.
        """
        decay = min(self.decay, (1 + step) / (10 + step))
        mine, theirs = self.network.state_dict(), network.state_dict()
        for name, average in mine.items():
            if average.is_floating_point():
                average.lerp_(theirs[name], 1 - decay)
            else:  # the number of batches that a batch norm has seen
                average.copy_(theirs[name])
