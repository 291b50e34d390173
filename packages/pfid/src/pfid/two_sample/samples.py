"""The images of a classifier two-sample test: read, checked, grouped and spread over folds."""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Literal, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from pfid.errors import ImageError
from pfid.images.sources import Image, Images, listed
from pfid.two_sample.classifier import LARGEST_CROP_PX, LEAST_CROP_PX
from pfid.two_sample.statistics import assign_folds

Kind: TypeAlias = Literal["real", "fake"]
LEAST_IMAGES = 10
"""Of each kind."""
_WORDS: dict[Kind, str] = {"real": "real", "fake": "generated"}


class Grouped(Protocol):
    """An image of one of the two kinds, in a group."""

    @property
    def kind(self) -> Kind:
        """'real' or 'fake'."""

    @property
    def group(self) -> str:
        """Name of its group."""


@dataclass(frozen=True, eq=False)
class Sample:
    """An image to train on and to test.

    Attributes:
        kind: 'real' or 'fake'.
        name: Its name.
        group: The group that it belongs to.
        pixels: (H, W, 3) uint8.
    """

    kind: Kind
    name: str
    group: str
    pixels: Image

    def __str__(self) -> str:
        return f"{_WORDS[self.kind]} {self.name}"


def image_group(name: str) -> str:
    """Returns the first folder in the name of an image, or its name without ending if it lies in none.

    Images of one folder, with those in the folders inside it, are one group. A real and a generated image of the same
    name are one group too, as are folders of the same name on both sides.
    """
    path = PurePosixPath(name)
    return path.parts[0] if len(path.parts) > 1 else path.stem


def equal_sides(
    real: Images, fake: Images, group: Callable[[str], str], rng: np.random.Generator
) -> tuple[list[Sample], list[str]]:
    """Reads both sides, and takes as many images of the larger one as the other has.

    Args:
        real: The real images.
        fake: The generated ones.
        group: Gives the group of an image by its name.
        rng: Source of the choice, which takes images of groups that both sides have first.

    Returns:
        The images, the real ones first, and notes on them.

    Raises:
        ImageError: Unreadable images, images that are on both sides, or too few.
    """
    notes: list[str] = []
    left, right = (_distinct(kind, side, group, notes) for kind, side in _of_kinds(real, fake))
    if both := left.keys() & right.keys():
        pairs = sorted(f"real {left[digest].name} is generated {right[digest].name}" for digest in both)
        raise ImageError(f"{len(both)} images are on both sides ({listed(pairs)}); remove them from one")
    samples = list(left.values()), list(right.values())
    count = min(map(len, samples))
    if count < LEAST_IMAGES:
        numbers = f"{len(samples[0])} real and {len(samples[1])} generated images"
        raise ImageError(f"{numbers}: a classifier takes {LEAST_IMAGES} or more of each; add some")
    chosen: list[Sample] = []
    for side, other in (samples, samples[::-1]):
        if left_out := len(side) - count:
            kind = _WORDS[side[0].kind]
            notes.append(f"{kind}: {left_out:,} of {len(side):,} images left out at random, for equal numbers")
        shared = {sample.group for sample in other}
        order = rng.permutation(len(side)).tolist()
        both_have = [number for number in order if side[number].group in shared]
        first = both_have + [number for number in order if side[number].group not in shared]
        chosen += [side[number] for number in sorted(first[:count])]
    return chosen, notes


def choose_crop_px(samples: Sequence[Sample], crop_px: int | None) -> int:
    """Returns the side of the crops: as given, or if None 64 px, or the smallest side of all images if that is less.

    Raises:
        ImageError: An image is smaller than the crop.
    """
    sides = [min(sample.pixels.shape[:2]) for sample in samples]
    if crop_px is None:
        crop_px = max(LEAST_CROP_PX, min(LARGEST_CROP_PX, *sides))
    small = [str(sample) for sample, side in zip(samples, sides, strict=True) if side < crop_px]
    if small:
        advice = "leave them out" if crop_px == LEAST_CROP_PX else "give a smaller crop, or leave them out"
        of_all = f"{len(small)} of {len(samples)} images are smaller than the crop of {crop_px} px"
        raise ImageError(f"{of_all} ({listed(small)}); {advice}")
    return crop_px


def folds_of(samples: Sequence[Sample], most: int, rng: np.random.Generator) -> list[int]:
    """Returns the fold of each image, from 0: images of one group are in the same fold.

    Args:
        samples: The images.
        most: Number of folds; fewer if either side has fewer groups.
        rng: Source of the order in which groups are assigned.

    Raises:
        ImageError: A side is of one group, or a fold lacks images of a kind.
    """
    is_real, groups = kinds_and_groups(samples)
    real, fake = (np.bincount(groups[kind], minlength=int(groups.max()) + 1) for kind in (is_real, ~is_real))
    group_counts = [int(np.count_nonzero(counts)) for counts in (real, fake)]
    folds = min(most, *group_counts)
    if folds < 2:
        kind = "real" if group_counts[0] < 2 else "generated"
        raise ImageError(f"all {kind} images are of one group; give images of 2 groups or more on each side")
    fold_of_group = assign_folds(real, fake, folds, rng)
    for counts, kind in ((real, "real"), (fake, "generated")):
        if not np.bincount(fold_of_group, counts, folds).all():
            raise ImageError(f"a fold has no {kind} images, as too many are of one group; give smaller groups")
    fold_of: list[int] = fold_of_group[groups].tolist()
    return fold_of


def kinds_and_groups(images: Sequence[Grouped]) -> tuple[NDArray[np.bool_], NDArray[np.int64]]:
    """Returns which images are real, (N,), and the number of each one's group, from 0, (N,)."""
    _, groups = np.unique([image.group for image in images], return_inverse=True)
    return np.array([image.kind == "real" for image in images]), groups


def _of_kinds(real: Images, fake: Images) -> tuple[tuple[Kind, Images], tuple[Kind, Images]]:
    return ("real", real), ("fake", fake)


def _distinct(kind: Kind, images: Images, group: Callable[[str], str], notes: list[str]) -> dict[str, Sample]:
    """The images of a side by a digest of their pixels, the first of each; adds notes."""
    samples: dict[str, Sample] = {}
    read = 0
    for number, pixels in images.whole():
        read += 1
        digest = hashlib.sha256(f"{pixels.shape} ".encode() + pixels.tobytes()).hexdigest()
        name = images.names[number]
        samples.setdefault(digest, Sample(kind, name, str(group(name)), pixels))
    lines = [*images.notes_after(read)]
    if repeats := read - len(samples):
        lines.append(f"{repeats:,} images repeat another one: left out")
    notes += [f"{_WORDS[kind]}: {line}" for line in lines]
    return samples
