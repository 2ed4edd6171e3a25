"""Finds structures in CT with a user's network, window by window."""

from pathlib import Path

import torch
from torch import Tensor

from revgan.errors import UserError, one_line
from revgan.networks.foreign import load_network

WINDOW = 128
"""Voxels per side of the windows that larger scans are cut into."""


class StructureFinder:
    """A network that takes (1, 1, *spatial) in HU, and returns a score per class and voxel.

    Args:
        path: see `load_network`; class 0 is background.
        device: where it runs.
        trust: whether to load files that can run their maker's code.

    Raises:
        UserError: the file can't be loaded or needs trust.
    """

    def __init__(self, path: Path, device: torch.device, *, trust: bool = False) -> None:
        self.path, self.device = path, device
        self.network, self.multiple, _ = load_network(path, device, trust=trust)

    @torch.inference_mode()
    def __call__(self, ct: Tensor) -> Tensor:
        """The class of each voxel, (*spatial), int64, on the CPU.

        Windows overlap by a quarter, and are blended by MONAI.

        Args:
            ct: (1, *spatial) in HU; NaN counts as air.

        Raises:
            UserError: the network doesn't take it.
        """
        from monai.inferers import sliding_window_inference  # MONAI takes seconds

        batch = ct[None].float().nan_to_num(-1024)
        sides = [-(-min(WINDOW, size) // self.multiple) * self.multiple for size in ct.shape[1:]]
        try:
            scores = sliding_window_inference(
                batch,
                sides,
                sw_batch_size=1,
                predictor=self.network,
                overlap=0.25,
                mode="gaussian",
                padding_mode="replicate",
                sw_device=self.device,
                device="cpu",
            )
            assert isinstance(scores, Tensor)
            if scores.shape[2:] != batch.shape[2:] or scores.shape[1] < 2:
                raise ValueError(f"it returned {tuple(scores.shape)}")
        except Exception as error:  # anything, from the network and what runs it
            why = one_line(error, -200)
            raise UserError(
                f"the network in {self.path} must take a scan {tuple(batch.shape)} in HU and "
                f"return scores of background and structures for each voxel: {why}"
            ) from error
        return scores[0].argmax(0)
