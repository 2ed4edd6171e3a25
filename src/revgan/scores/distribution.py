"""Distances between two sets of images, by a network's features."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from revgan.errors import UserError, one_line
from revgan.scores.intervals import Estimate, resamples, with_intervals

_TENSORS_ONLY = "TORCH_FORCE_WEIGHTS_ONLY_LOAD"

Features = Callable[[Tensor], Tensor]
"""Computes the features (D,) of an image (C, *spatial) in [-1, 1]."""


def kid(features_x: Tensor, features_y: Tensor) -> Estimate:
    """Kernel inception distance (Binkowski et al., 2018) for features of any network.

    The unbiased estimate of the squared maximum mean discrepancy under the kernel (x . y / D +
    1)^3, over all images at once rather than over random subsets. For sets from one distribution it
    is around 0, as often below as above. Its interval comes from resampling both sets; pairs of an
    image with itself never count. Sets of two images have no interval.

    Args:
        features_x: (N, D).
        features_y: (M, D).

    Raises:
        ValueError: one of the sets has fewer than two images.
    """
    n, m = len(features_x), len(features_y)
    if min(n, m) < 2:
        raise ValueError("a distance between sets needs at least two images of each")
    x, y = features_x.double(), features_y.double()
    within_x, within_y, across = _kernel(x, x), _kernel(y, y), _kernel(x, y)

    def distance(times_x: Tensor, times_y: Tensor) -> Tensor:
        means = _mean_within(within_x, times_x) + _mean_within(within_y, times_y)
        return means - 2 * ((times_x @ across) * times_y).sum(1, keepdim=True) / (n * m)

    value = distance(x.new_ones(1, n), y.new_ones(1, m))
    if max(n, m) == 2:  # with two images each, every resample that has a score is the set itself
        return Estimate(float(value))
    return with_intervals(value[0], distance(resamples(n), resamples(m, seed=1)), n)[0]


def _mean_within(kernel: Tensor, times: Tensor) -> Tensor:
    """The mean (R, 1) over pairs of different images, which occur `times` (R, N).

    NaN if there is no such pair, because all draws are the same image.
    """
    total = ((times @ kernel) * times).sum(1) - times.square() @ kernel.diagonal()
    pairs = times.sum(1).square() - times.square().sum(1)
    # Without a pair, rounding may turn 0 / 0 into infinity too.
    return (total / pairs).where(pairs > 0, torch.nan)[:, None]


def _kernel(x: Tensor, y: Tensor) -> Tensor:
    return (x @ y.T / x.shape[1] + 1) ** 3


class RandomFeatures:
    """Features from convolutions with random, untrained weights.

    They need no download and are the same everywhere. Like any convolutions, they distinguish
    colours, contrasts and textures, but they know nothing about objects: sharp nonsense in the
    right colours gets a good distance. Distances are comparable only for the same features.

    Args:
        channels: the images'.
        spatial_dims: 2 or 3.
    """

    WIDTHS = (32, 64, 128)

    def __init__(self, channels: int, spatial_dims: int) -> None:
        self.weights: list[Tensor] = []
        generator = torch.Generator().manual_seed(0)
        self.convolve: Callable[..., Tensor] = (
            nn.functional.conv2d if spatial_dims == 2 else nn.functional.conv3d
        )
        for width in self.WIDTHS:
            shape = (width, channels, *[3] * spatial_dims)
            scale = (2 / (channels * 3**spatial_dims)) ** 0.5  # keeps the scale through ReLUs
            self.weights.append(torch.randn(shape, generator=generator) * scale)
            channels = width

    def __call__(self, image: Tensor) -> Tensor:
        """Means and standard deviations of each layer's channels, (448,).

        Args:
            image: (C, *spatial) in [-1, 1], of any size.
        """
        hidden, features = image.detach().cpu().float()[None], []
        for weight in self.weights:
            hidden = self.convolve(hidden, weight, stride=2, padding=1).relu()
            flat = hidden[0].flatten(1)
            features += [flat.mean(1), flat.std(1, correction=0)]
        return torch.cat(features)


def inception_features(device: torch.device) -> Features:
    """The 2,048 features of the Inception network used for published FID and KID.

    Raises:
        UserError: torch-fidelity is missing, or its weights can't be downloaded.
    """
    try:
        from torchmetrics.image.fid import NoTrainInceptionV3

        with _tensors_only():
            network = NoTrainInceptionV3("inception-v3-compat", ["2048"]).to(device)
    except ImportError as error:
        raise UserError(
            "--distribution inception needs the package torch-fidelity: pip install "
            "'revgan[scores]'; --distribution random needs none"
        ) from error
    except OSError as error:
        raise UserError(
            "--distribution inception needs weights that can't be downloaded now "
            f"({one_line(error)}); put weights-inception-2015-12-05-6726825d.pth into "
            f"{torch.hub.get_dir()}/checkpoints, or use --distribution random"
        ) from error

    @torch.inference_mode()
    def features(image: Tensor) -> Tensor:
        if image.shape[0] != 3:
            raise UserError(
                f"--distribution inception takes images with 3 channels, not {image.shape[0]}"
            )
        pixels = ((image + 1) * 127.5).round().clamp(0, 255).to(torch.uint8)
        result: Tensor = network(pixels[None].to(device))
        return result.reshape(-1).cpu()

    return features


@contextmanager
def _tensors_only() -> Iterator[None]:
    """Reads downloaded weights only as tensors while active; other pickles are refused.

    The libraries that load them leave this to PyTorch's environment variable.
    """
    before = os.environ.get(_TENSORS_ONLY)
    os.environ[_TENSORS_ONLY] = "1"
    try:
        yield
    finally:
        if before is None:
            del os.environ[_TENSORS_ONLY]
        else:
            os.environ[_TENSORS_ONLY] = before


def fid(features_x: Tensor, features_y: Tensor) -> float:
    """Frechet distance of two sets of features (Heusel et al., 2017).

    Args:
        features_x: (N, D), N of at least 2; published values use thousands.
        features_y: (M, D).
    """
    x, y = features_x.double(), features_y.double()
    apart = (x.mean(0) - y.mean(0)).square().sum()
    # The trace of the root of a product of covariances is the sum of the singular values of the
    # product of the centred sets: no root of a D x D matrix, and exact for few images.
    centred = [(z - z.mean(0)) / (len(z) - 1) ** 0.5 for z in (x, y)]
    shared = torch.linalg.svdvals(centred[0] @ centred[1].T).sum()
    spread = sum(z.square().sum() for z in centred)
    return float(apart + spread - 2 * shared)


def perceptual_distance(device: torch.device) -> Callable[[Tensor, Tensor], float]:
    """LPIPS (Zhang et al., 2018) with AlexNet, between two images (3, H, W) in [-1, 1].

    Raises:
        UserError: torchvision is missing, or its weights can't be downloaded.
    """
    try:
        from torchmetrics.image.lpip import LearnedPerceptualImagePatchSimilarity

        with _tensors_only():
            metric = LearnedPerceptualImagePatchSimilarity("alex").to(device)
    except (ImportError, RuntimeError) as error:
        raise UserError(
            "--lpips needs the package torchvision, of the version that fits the installed torch: "
            "pip install 'revgan[scores]'"
        ) from error
    except OSError as error:
        raise UserError(
            "--lpips needs the weights of AlexNet, which can't be downloaded now "
            f"({one_line(error)}); put them into {torch.hub.get_dir()}/checkpoints"
        ) from error

    @torch.inference_mode()
    def distance(x: Tensor, y: Tensor) -> float:
        if len(x) != 3 or len(y) != 3:
            raise UserError(f"--lpips takes images with 3 channels, not {len(x)}")
        batch = (image[None].to(device).clamp(-1, 1) for image in (x, y))
        return float(metric(*batch))

    return distance
