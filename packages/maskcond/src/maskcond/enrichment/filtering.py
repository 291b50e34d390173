"""Which sampled pairs (X1, Y1) are kept: those that could be real, and are neither copies nor there twice."""

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from maskcond.arrays import Image, Numbers
from maskcond.enrichment.config import FilterConfig
from maskcond.enrichment.errors import EnrichmentError
from maskcond.enrichment.nearness import Thumbs, copy_limit, distances, find_nearest, random_crop, thumbs, turned

AT_ONCE = 64


class Reason(StrEnum):
    """Why a pair is left out; of several, the first."""

    EMPTY = "empty mask"
    FOREGROUND = "implausible share of foreground"
    SIZE = "implausible size of nuclei"
    COPY = "near-copy of a training image"
    DUPLICATE = "duplicate of another sample"


@dataclass(frozen=True)
class Limits:
    """What the real images allow.

    Args:
        foreground: Least and largest share of foreground.
        size_px: Least and largest median area of nuclei; None where masks are of classes.
        copy: Distance up to which an image is a copy; None for none.
    """

    foreground: tuple[float, float]
    size_px: tuple[float, float] | None
    copy: float | None


@dataclass(frozen=True)
class Judged:
    """A sampled pair.

    Args:
        number: Its number.
        foreground: Share of its foreground.
        size_px: Median area of its nuclei; None where it has none, or masks are of classes.
        nearest: Name of the training image nearest to it.
        distance: Its distance.
        reason: Why it is left out; None if it is kept.
        twin: The pair that it is a duplicate of.
    """

    number: int
    foreground: float
    size_px: float | None
    nearest: str
    distance: float
    reason: Reason | None = None
    twin: int | None = None


@dataclass(frozen=True)
class Filtered:
    """The pairs, and the limits that they were judged by."""

    limits: Limits
    pairs: tuple[Judged, ...] = field(default=())

    @property
    def kept(self) -> list[int]:
        """Numbers of the pairs that are kept."""
        return [each.number for each in self.pairs if each.reason is None]

    def counts(self) -> dict[str, int]:
        """How many pairs are left out for each reason."""
        found = Counter(each.reason for each in self.pairs)
        return {reason.value: found[reason] for reason in Reason}

    def save(self, path: Path) -> None:
        """Writes it as JSON, under a temporary name until it is whole."""
        told = {
            "limits": asdict(self.limits),
            "kept": len(self.kept),
            "left_out": self.counts(),
            "pairs": [asdict(each) for each in self.pairs],
        }
        temporary = path.with_name(f".{path.name}.tmp")
        temporary.write_text(json.dumps(told, indent=1), encoding="utf-8")
        temporary.replace(path)

    @classmethod
    def load(cls, path: Path) -> "Filtered":
        """Reads what `save` wrote."""
        told = json.loads(path.read_text(encoding="utf-8"))
        limits = told["limits"]
        pairs = (
            Judged(**{**each, "reason": None if each["reason"] is None else Reason(each["reason"])})
            for each in told["pairs"]
        )
        size_px = None if limits["size_px"] is None else tuple(limits["size_px"])
        return cls(Limits(tuple(limits["foreground"]), size_px, limits["copy"]), tuple(pairs))


def real_limits(
    real: Sequence[tuple[str, Image, Numbers]],
    training: Sequence[tuple[str, Thumbs]],
    side_px: int,
    settings: FilterConfig,
    *,
    nuclei: bool,
    seed: int,
) -> Limits:
    """Limits of random crops of the real training images.

    Args:
        real: Names, images and masks, at the scale of the samples.
        training: Thumbnails of all training images, of `part_thumbs`.
        side_px: Side of the samples.
        settings: Which shares of the real crops lie outside.
        nuclei: Whether masks number nuclei; otherwise their sizes play no part.
        seed: Of the draws.

    Raises:
        EnrichmentError: A training image is smaller than the samples.
    """
    generator = np.random.default_rng(seed)
    shares, sizes = [], []
    for number in range(settings.crops):
        crop = random_crop(real[number % len(real)][2], side_px, generator)
        shares.append(float((crop > 0).mean()))
        if nuclei and (size := median_area(crop)) is not None:
            sizes.append(size)
    images = [(name, image) for name, image, _ in real]
    limit = copy_limit(images, training, side_px, share=settings.copies, crops=settings.crops, generator=generator)
    return Limits(_ends(shares, settings.outside), _ends(sizes, settings.outside) if sizes else None, limit)


def judge(
    images: Sequence[Image], masks: Sequence[Numbers], training: Sequence[tuple[str, Thumbs]], limits: Limits
) -> list[Judged]:
    """Judges sampled pairs.

    Args:
        images: The samples, all of one size.
        masks: Theirs.
        training: Thumbnails of all training images, of `part_thumbs`.
        limits: Of `real_limits`.

    Raises:
        EnrichmentError: There is no sample, or not as many masks.
    """
    if not len(images) or len(images) != len(masks):
        raise EnrichmentError(f"wanted a mask for each sampled image, got {len(images)} and {len(masks)}")
    nearest = [
        found
        for start in range(0, len(images), AT_ONCE)
        for found in find_nearest(images[start : start + AT_ONCE], training)
    ]
    small = thumbs(images)
    judged: list[Judged] = []
    kept: list[int] = []
    for number, (image, mask, near) in enumerate(zip(images, masks, nearest, strict=True)):
        share, size = float((mask > 0).mean()), None if limits.size_px is None else median_area(mask)
        reason, twin = _reason(share, size, near.distance, limits), None
        if reason is None and (twin := _twin(image, small, kept, limits.copy or 0.0)) is not None:
            reason = Reason.DUPLICATE
        if reason is None:
            kept.append(number)
        judged.append(Judged(number, share, size, near.name, near.distance, reason, twin))
    return judged


def median_area(mask: Numbers) -> float | None:
    """The median area of the nuclei of a mask, in pixels; None if there is none."""
    areas = np.bincount(mask.ravel())[1:]
    areas = areas[areas > 0]
    return float(np.median(areas)) if areas.size else None


def _reason(share: float, size: float | None, distance: float, limits: Limits) -> Reason | None:
    if share == 0:
        return Reason.EMPTY
    if not limits.foreground[0] <= share <= limits.foreground[1]:
        return Reason.FOREGROUND
    if limits.size_px is not None and (size is None or not limits.size_px[0] <= size <= limits.size_px[1]):
        return Reason.SIZE
    if limits.copy is not None and distance <= limits.copy:
        return Reason.COPY
    return None


def _twin(image: Image, small: NDArray[np.float32], kept: list[int], limit: float) -> int | None:
    """The first kept sample that is as near as a copy, or exactly the same."""
    if not kept:
        return None
    near = distances(turned(image), small[kept]).min(axis=0)
    found = np.flatnonzero(near <= limit)
    return kept[int(found[0])] if found.size else None


def _ends(values: Sequence[float], outside: float) -> tuple[float, float]:
    low, high = np.quantile(values, [outside, 1 - outside])
    return float(low), float(high)
