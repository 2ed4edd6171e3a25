"""Trains the U-Net that judges translated photos, on real photos and their label maps."""

import hashlib
import json
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import cast

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor
from torch.nn import functional as F

from revgan.data.contents import digest
from revgan.data.domains import DataSet, Domain
from revgan.data.labels import FILE, IGNORED, Palette, class_map, class_map_files
from revgan.data.refs import ScanRef
from revgan.errors import UserError, notice
from revgan.evaluation.segmenter import MULTIPLE, UNetSegmenter, build_unet
from revgan.networks.pretrained import save_tensors

STEPS, BATCH, CROP = 800, 8, 128
"""Training steps, images per step, and the side of crops in pixels, unless images are smaller."""

LEARNING_RATE = 2e-3
VERSION = 2
"""Increase this when the training changes, so that older cached networks aren't used."""

Progress = Callable[[int, int], None]
"""Called with the number of steps done and their total."""


def trained_segmenter(
    data: DataSet, cache: Path, device: torch.device, progress: Progress | None = None
) -> UNetSegmenter:
    """Trains a U-Net on a data set's training pairs, or takes it from the cache.

    Args:
        data: pairs of photos and label maps.
        cache: the folder for networks, which are named by what they were trained on.
        device: where to train and run.
        progress: called after each step.

    Raises:
        UserError: a label map can't be read or has unknown colours, or no class counts in any.
        OSError: the network can't be written.
    """
    palette = cast(Palette, data.palette)
    photos, labels = (data.b, data.a) if palette.domain == "A" else (data.a, data.b)
    pairs = list(zip(photos.train, labels.train, strict=True))
    torch_seed = torch.random.get_rng_state()
    torch.manual_seed(0)
    network = build_unet(photos.channels, len(palette.names))
    torch.random.set_rng_state(torch_seed)
    path = cache / f"segmenter-{_digest(photos, pairs, palette)}.safetensors"
    try:
        network.load_state_dict(load_file(path))
    except (OSError, SafetensorError, RuntimeError) as error:
        if not isinstance(error, FileNotFoundError):
            notice(f"the segmenter {path} is damaged, and trained again")
        _train(network.to(device), _Samples(photos, pairs, palette), device, progress)
        cache.mkdir(parents=True, exist_ok=True)
        save_tensors(path, network.state_dict())
    return UNetSegmenter(network, device)


class _Samples:
    """Random crops of training pairs, which depend only on the step."""

    def __init__(
        self,
        photos: Domain,
        pairs: list[tuple[ScanRef, ScanRef]],
        palette: Palette,
    ) -> None:
        self.photos, self.pairs, self.palette = photos, pairs, palette

    def batch(self, step: int) -> tuple[Tensor, Tensor]:
        """(B, C, S, S) in [-1, 1] and (B, S, S)."""
        random = np.random.default_rng(step)
        places = random.integers(len(self.pairs), size=BATCH)
        loaded = [self._load(*self.pairs[place]) for place in places]
        side = min([CROP, *(min(photo.shape[1:]) for photo, _ in loaded)])
        side = max(side // MULTIPLE * MULTIPLE, MULTIPLE)
        crops = [_crop(photo, classes, side, random) for photo, classes in loaded]
        photos, classes = zip(*crops, strict=True)
        return torch.stack(photos), torch.stack(classes)

    def _load(self, photo: ScanRef, label: ScanRef) -> tuple[Tensor, Tensor]:
        image = self.photos.load(photo)
        return image, class_map(label, self.palette, image.shape[1:])


def _crop(
    photo: Tensor, classes: Tensor, side: int, random: np.random.Generator
) -> tuple[Tensor, Tensor]:
    top, left = (int(random.integers(size - side + 1)) for size in classes.shape)
    photo = photo[:, top : top + side, left : left + side]
    classes = classes[top : top + side, left : left + side]
    return (photo.flip(-1), classes.flip(-1)) if random.random() < 0.5 else (photo, classes)


def _train(
    network: torch.nn.Module,
    samples: _Samples,
    device: torch.device,
    progress: Progress | None,
) -> None:
    """Adam on cross entropy, with a cosine learning rate schedule."""
    optimizer = torch.optim.Adam(network.parameters(), LEARNING_RATE)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, STEPS)
    network.train()
    learnt = False
    for step in range(STEPS):
        photos, classes = (part.to(device) for part in samples.batch(step))
        loss = F.cross_entropy(network(photos), classes, ignore_index=IGNORED)
        optimizer.zero_grad()
        if (classes != IGNORED).any():  # else the loss is NaN
            loss.backward()
            learnt = True
        optimizer.step()  # does nothing if there are no gradients
        schedule.step()
        if progress is not None:
            progress(step + 1, STEPS)
    if not learnt:
        raise UserError(
            f"a segmenter can't be trained, as no pixel of the training label maps has a class "
            f"that counts in {FILE}; leave fewer classes void, or give a network's file"
        )


def _digest(photos: Domain, pairs: list[tuple[ScanRef, ScanRef]], palette: Palette) -> str:
    """A digest of everything that the trained network depends on."""
    files = []
    for photo, label in pairs:
        paths = (*photo.files, *class_map_files(label, palette))
        files.append([digest(path) for path in paths])
    facts = [VERSION, STEPS, BATCH, CROP, LEARNING_RATE, asdict(palette), files]
    facts += [photos.store.recipe.config.resize, photos.channels]
    return hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:16]
