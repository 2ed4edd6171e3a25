"""Images and volumes, in words."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Kind:
    """The words for scans with a given number of spatial axes.

    Attributes:
        one: the word for one scan.
        article: the same with its article.
        many: the plural.
        elements: the word for their elements.
        scale: the option that sets how many elements they have.
        preset: the preset to start from.
        halved: whether A and B may be side by side in one file, as in pix2pix.
        photos: they may be photos, in which the full range of their type of integers counts, and
            which may be even.
        thin: they may have fewer elements along an axis than training cuts out, as scans of few
            slices do.
    """

    one: str
    article: str
    many: str
    elements: str
    scale: str
    preset: str
    halved: bool
    photos: bool
    thin: bool

    def size(self, shape: tuple[int, ...]) -> str:
        """The size in words: width before height for images, X, Y, Z for volumes."""
        said = shape if len(shape) > 2 else shape[::-1]
        return f"{' x '.join(map(str, said))} {self.elements}"


KINDS = {
    2: Kind(
        "image",
        "an image",
        "images",
        "pixels",
        "data.resize",
        "default",
        halved=True,
        photos=True,
        thin=False,
    ),
    3: Kind(
        "volume",
        "a volume",
        "volumes",
        "voxels",
        "data.spacing",
        "volumes",
        halved=False,
        photos=False,
        thin=True,
    ),
}
"""By the number of spatial axes."""
