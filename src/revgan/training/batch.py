"""A batch of images of both domains, and where losses don't count in it."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from torch import Tensor

from revgan.data.domains import fill_gaps
from revgan.directions import DomainName


@dataclass
class Gaps:
    """Where losses don't count in a batch, and what the discriminators see there.

    Attributes:
        measured: by domain, (B, C, *spatial) of bool: where data was measured, and is inside the
            mask, if there is one.
        fill: by domain, (1 or C, *1) in [-1, 1].
    """

    measured: dict[DomainName, Tensor]
    fill: dict[DomainName, Tensor]

    def seen(self, domain: DomainName) -> Tensor:
        """(B, 1, *spatial): where any channel was measured."""
        return self.measured[domain].any(dim=1, keepdim=True)


@dataclass
class Batch:
    """Images of both domains, (B, C, *spatial) in [-1, 1]; aligned if the data is paired.

    Where data is missing, they hold `gaps.fill`. Outside a mask they are what they are.

    Attributes:
        a: the images of A.
        b: those of B.
        gaps: where losses don't count; None if they count everywhere.
        over: of a part of a batch with gaps, over how many values its means are, by their names:
            as many as all parts have on average, those of other processes included. So the mean of
            all parts' means is that of the whole batch, however unevenly masks cover it. Means that
            aren't named are over the part's own values.
    """

    a: Tensor
    b: Tensor
    gaps: Gaps | None = field(default=None, kw_only=True)
    over: Mapping[str, Tensor] = field(default_factory=dict, kw_only=True)

    @classmethod
    def with_gaps(
        cls,
        a: Tensor,
        b: Tensor,
        fill_a: Tensor,
        fill_b: Tensor,
        inside: tuple[Tensor, Tensor] | None = None,
    ) -> "Batch":
        """Makes a batch from images that are NaN where data is missing.

        Args:
            a: the images of A, (B, C, *spatial).
            b: those of B.
            fill_a: see `Gaps.fill`.
            fill_b: the same for B.
            inside: of A and B, (B, 1, *spatial) of bool, where losses count; None for everywhere.
        """
        fill: dict[DomainName, Tensor] = {"a": fill_a.to(a), "b": fill_b.to(b)}
        counts: dict[DomainName, Tensor] = {"a": ~a.isnan(), "b": ~b.isnan()}
        if inside is not None:
            counts = {"a": counts["a"] & inside[0], "b": counts["b"] & inside[1]}
        gaps = Gaps(counts, fill)
        return cls(fill_gaps(a, fill["a"]), fill_gaps(b, fill["b"]), gaps=gaps)

    def parts(self, count: int) -> "list[Batch]":
        """The batch in so many parts of equal size."""
        if count == 1:
            return [self]
        of_a, of_b = self.a.chunk(count), self.b.chunk(count)
        if self.gaps is None:
            return [Batch(a, b) for a, b in zip(of_a, of_b, strict=True)]
        fill, measured = self.gaps.fill, self.gaps.measured
        masks = zip(measured["a"].chunk(count), measured["b"].chunk(count), strict=True)
        gaps = [Gaps({"a": a, "b": b}, fill) for a, b in masks]
        parts = zip(of_a, of_b, gaps, strict=True)
        return [Batch(a, b, gaps=own) for a, b, own in parts]

    def of(self, domain: DomainName) -> Tensor:
        """The images of a domain."""
        return self.a if domain == "a" else self.b

    def marked(self, domain: DomainName, image: Tensor, seen: Tensor | None) -> Tensor:
        """An image of a domain that says where something was measured; itself without gaps.

        Args:
            domain: whose `gaps.fill` the image gets where it isn't seen.
            image: (B, C, *spatial).
            seen: (B, 1, *spatial) of bool.

        Returns:
            (B, C + 1, *spatial): the last channel is 1 where it is seen, and else 0.
        """
        if self.gaps is None or seen is None:
            return image
        shown = torch.where(seen, image, self.gaps.fill[domain].to(image))
        return torch.cat((shown, seen.to(image)), dim=1)

    def unmarked(self, marked: Tensor) -> tuple[Tensor, Tensor | None]:
        """The image, and where it is seen, of what `marked` gave."""
        return (marked, None) if self.gaps is None else (marked[:, :-1], marked[:, -1:])

    def distance(self, domain: DomainName, image: Tensor, counts: Tensor | None = None) -> Tensor:
        """The mean absolute difference from the images of a domain, where these were measured.

        Args:
            domain: whose images.
            image: as they are.
            counts: bool (B, C, *spatial), where it counts if there are gaps; by default where the
                domain's images were measured.
        """
        truth = self.of(domain)
        if self.gaps is None:
            return F.l1_loss(image, truth)

        if counts is None:
            counts = self.gaps.measured[domain]
        distances = F.l1_loss(image, truth, reduction="none") * counts
        return mean_of_part(distances, counts, self.over.get(distance_name(domain)))


def distance_name(domain: DomainName) -> str:
    """The name of a domain's distance in `Batch.over`."""
    return f"distance_{domain}"


def mean_of_part(values: Tensor, counts: Tensor, over: Tensor | None = None) -> Tensor:
    """The mean of values by how much each counts.

    Args:
        values: already multiplied by their counts.
        counts: of any shape, 0 where values don't count.
        over: a number above 0, see `Batch.over`; None for the sum of the counts, or 1 if it is
            less.
    """
    total = counts.sum().clamp(min=1) if over is None else over.to(values.dtype)
    return values.sum() / total
