"""Chooses what `revgan evaluate` scores, from its options and what the data set allows."""

from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch
from rich.console import Console
from torch import Tensor

from revgan.data.domains import DataSet
from revgan.data.formats import KINDS
from revgan.data.labels import FILE, Palette
from revgan.data.sets import open_data_set
from revgan.directions import DOMAINS, Direction, DomainName, ends
from revgan.environment import cache_folder
from revgan.errors import UserError
from revgan.evaluation.ct_scorers import StructureScorer, SyntheticCtScorer, TissueScorer
from revgan.evaluation.label_scorers import LabelScorer, SegmenterScorer
from revgan.evaluation.scales import Scale, measure_scale
from revgan.evaluation.scorers import (
    DistributionScorer,
    MaskedTruthScorer,
    RoundTripScorer,
    Scorer,
    TruthScorer,
    has_masks,
)
from revgan.evaluation.segmenter import Segmenter, UNetSegmenter, load_segmenter
from revgan.evaluation.segmenter_training import trained_segmenter
from revgan.evaluation.structure_finder import StructureFinder
from revgan.evaluation.wanted import UNET, Distribution, ScoreOptions
from revgan.progress import progress_bar
from revgan.scores.distribution import (
    Features,
    RandomFeatures,
    inception_features,
    perceptual_distance,
)
from revgan.scores.synthetic_ct import CT_RANGE
from revgan.training.config import RunConfig


class Scoring:
    """The scorers of both directions of a data set, and the networks that they share.

    Args:
        options: what to score.
        data: the data set.
        config: of the run.
        device: where scoring networks run.
        console: for progress.

    Raises:
        UserError: the data set doesn't allow a wanted score, or something for it is missing.
    """

    def __init__(
        self,
        options: ScoreOptions,
        data: DataSet,
        config: RunConfig,
        device: torch.device,
        console: Console,
    ) -> None:
        self.data, self.paired = data, config.paired
        self.config, self.device, self.console = config.data, device, console
        self.palette = data.palette
        self.segmenter = None
        if options.segmenter is not None:
            self.segmenter = self._segmenter(options.segmenter, trust=options.trust)
        self.perceptual: Callable[[Tensor, Tensor], float] | None = None
        if options.lpips:
            self._require_colour_images("--lpips")
            self.perceptual = perceptual_distance(device)
        if "inception" in options.distributions:
            self._require_colour_images("--distribution inception")
        self.distributions = {name: self._features(name) for name in options.distributions}
        self.scales = {
            name: measure_scale(data.of(name), name, options.data_range, data.kind)
            for name in DOMAINS
            if data.of(name).test
        }

        self.limits = CT_RANGE if isinstance(options.data_range, str) else options.data_range
        self.ct, self.tissues = options.synthetic_ct, options.tissues
        if self.ct is not None:
            self._require_ct(self.ct)
        self.structures: Callable[[Tensor], Tensor] | None = None
        if options.structures is not None:
            file = Path(options.structures)
            self.structures = StructureFinder(file, device, trust=options.trust)

    def scorers(self, direction: Direction, method: str) -> list[Scorer]:
        """The scorers of a direction.

        Raises:
            UserError: a label map can't be read, or has unknown colours.
        """
        scorers: list[Scorer] = []
        if self.data.test_aligned:
            scorers += self._aligned(direction, method)
        for name, features in self.distributions.items():
            if (key := self._distribution_key(name, direction)) is not None:
                made = features(self.data.sides(direction)[1].channels)
                scorers.append(DistributionScorer(direction, self.data, method, made, key))
        return [*scorers, RoundTripScorer(direction, method, self.scales[ends(direction)[0]])]

    def _aligned(self, direction: Direction, method: str) -> list[Scorer]:
        scale = self.scales[ends(direction)[1]]
        scorers: list[Scorer] = [TruthScorer(direction, self.data, method, scale, self.perceptual)]
        if has_masks(self.data, direction):
            scorers.append(MaskedTruthScorer(direction, self.data, method, scale))
        if ends(direction)[1] == self.ct:
            scorers += self._synthetic_ct(direction, method, scale)
        if self.palette is None:
            return scorers
        if direction.endswith(self.palette.domain):
            for scorer in scorers:  # a colour is a name here, and no amount of anything
                scorer.agreement = None
        with self.console.status("Reading label maps"):
            if direction.endswith(self.palette.domain):
                scorers.append(LabelScorer(direction, self.data, self.palette, method))
            elif self.segmenter is not None:
                scorers.append(
                    SegmenterScorer(direction, self.data, self.palette, method, self.segmenter)
                )
        return scorers

    def _synthetic_ct(self, direction: Direction, method: str, scale: Scale) -> list[Scorer]:
        of = direction, self.data, method
        scorers: list[Scorer] = [
            SyntheticCtScorer(*of, scale, self.limits),
            TissueScorer(*of, scale, self.tissues),
        ]
        if self.structures is not None:
            scorers.append(StructureScorer(*of, self.structures))
        return scorers

    def _require_ct(self, name: DomainName) -> None:
        """Refuses what isn't CT: HU have one channel, and are below 0 in air."""
        if not self.data.test_aligned:
            raise UserError(
                "--synthetic-ct needs a true CT for each translation, but the test "
                f"{self.data.kind.many} of A and B don't pair; give both the same names and sizes"
            )
        domain, scale = self.data.of(name), self.scales[name]
        wrong = None
        if domain.channels != 1:
            wrong = f"{domain.channels} channels"
        elif scale.lowest >= self.tissues[0]:
            wrong = f"no value below {scale.lowest:g}, as air would be"
        if wrong is not None:
            raise UserError(
                f"--synthetic-ct says that {name.upper()} is CT in Hounsfield units, but its test "
                f"{self.data.kind.many} have {wrong}; name the other domain, or convert its files "
                "to HU"
            )

    def _segmenter(self, wanted: str, *, trust: bool) -> Segmenter:
        palette = self._required_palette()
        if wanted == UNET:
            return self._trained_unet()
        photos = self.data.b if palette.domain == "A" else self.data.a
        shapes = sorted({photos.load(ref).shape for ref in photos.test})
        sizes = [(height, width) for _, height, width in shapes]
        return load_segmenter(
            Path(wanted), palette, photos.channels, sizes, self.device, trust=trust
        )

    def _required_palette(self) -> Palette:
        if self.palette is None:
            raise UserError(
                f"--segmenter is for photos made from label maps, but {self.config.path} has no "
                f"{FILE} that says which domain has label maps; add it, or omit --segmenter"
            )
        if not self.data.test_aligned:
            raise UserError(
                "--segmenter needs a photo for each label map, but the test images in "
                f"{self.config.path} don't pair; give both the same names and sizes"
            )
        return self.palette

    def _trained_unet(self) -> UNetSegmenter:
        pairs = self.data
        if not self.paired:
            try:
                pairs = open_data_set(self.config, paired=True)
            except UserError as error:
                raise UserError(
                    f"--segmenter {UNET} is trained on pairs: {error}; or give a network's file"
                ) from error
        with progress_bar(self.console) as bar:
            task = bar.add_task("training the segmenter")

            def show(done: int, total: int) -> None:
                bar.update(task, completed=done, total=total)

            return trained_segmenter(pairs, cache_folder(), self.device, show)

    def _require_colour_images(self, option: str) -> None:
        if self.data.kind != KINDS[2] or self.data.channels != (3, 3):
            channels = " and ".join(map(str, self.data.channels))
            raise UserError(
                f"{option} takes images with 3 channels, not {self.data.kind.many} of {channels}; "
                "omit it"
            )

    def _features(self, name: Distribution) -> Callable[[int], Features]:
        """Makes the features for images with a given number of channels."""
        if name == "random":
            return partial(RandomFeatures, spatial_dims=self.config.spatial_dims)
        if name == "inception":
            inception = inception_features(self.device)
            return lambda channels: inception
        assert isinstance(self.segmenter, UNetSegmenter)
        unet = self.segmenter
        return lambda channels: unet.features

    def _distribution_key(self, name: Distribution, direction: Direction) -> str | None:
        """The score's key; None if the features are for the other domain's images."""
        if name == "segmenter":
            towards_labels = self.palette is None or direction.endswith(self.palette.domain)
            return None if towards_labels else "kid_segmenter"
        return {"random": "kid_random", "inception": "kid"}[name]
