"""The filter of sampled pairs: keeps plausible ones that are neither copies of real images nor near-duplicates."""

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from enum import StrEnum
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from maskcond.enrichment.config import FilterConfig
from maskcond.enrichment.errors import EnrichmentError
from maskcond.enrichment.pairs.nearness import copy_limit, find_nearest, random_crop
from maskcond.enrichment.pairs.repeats import find_repeats
from maskcond.enrichment.pairs.thumbnails import ImageParts, distances, thumbs, turned
from maskcond.masks.arrays import Image, Numbers
from run_folder import whole_file

AT_ONCE = 64


class Reason(StrEnum):
    """Why a pair is left out; of several, the first."""

    EMPTY = "empty mask"
    FOREGROUND = "implausible share of foreground"
    SIZE = "implausible size of nuclei"
    COPY = "near-copy of a training image"
    LOOKS = "implausible colours or sharpness"
    DUPLICATE = "duplicate of another sample"


@dataclass(frozen=True)
class Limits:
    """What the real images allow.

    Args:
        foreground: Least and largest share of foreground.
        size_px: Least and largest median area of nuclei; None where masks are of classes.
        copy: Distance up to which an image is a copy; None for none.
        looks: Least and largest of each of `looks_of`; None where they play no part.
        repeats: How many training images show pixels of another one, which `copy` is therefore not measured on.
    """

    foreground: tuple[float, float]
    size_px: tuple[float, float] | None
    copy: float | None
    looks: tuple[tuple[float, float], ...] | None = None
    repeats: int = 0


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
        looks: Of `looks_of`.
    """

    number: int
    foreground: float
    size_px: float | None
    nearest: str
    distance: float
    reason: Reason | None = None
    twin: int | None = None
    looks: tuple[float, ...] = ()


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
        with whole_file(path) as partial:
            partial.write_text(json.dumps(told, indent=1), encoding="utf-8")

    @classmethod
    def load(cls, path: Path) -> "Filtered":
        """Reads what `save` wrote."""
        told = json.loads(path.read_text(encoding="utf-8"))
        limits = told["limits"]
        pairs = (
            Judged(
                **{
                    **each,
                    "reason": None if each["reason"] is None else Reason(each["reason"]),
                    "looks": tuple(each["looks"]),
                }
            )
            for each in told["pairs"]
        )
        size_px = None if limits["size_px"] is None else tuple(limits["size_px"])
        looks = None if limits["looks"] is None else tuple(tuple(ends) for ends in limits["looks"])
        repeats = limits.get("repeats", 0)
        return cls(Limits(tuple(limits["foreground"]), size_px, limits["copy"], looks, repeats), tuple(pairs))


def real_limits(
    real: Sequence[tuple[str, Image, Numbers]],
    training: Sequence[ImageParts],
    side_px: int,
    settings: FilterConfig,
    *,
    nuclei: bool,
    seed: int,
) -> Limits:
    """Limits of random crops of the real training images.

    Args:
        real: Names, images and masks, at the scale of the samples.
        training: Of `part_thumbs`: of the real images first, in their order, then of all other training images.
        side_px: Side of the samples.
        settings: Which shares of the real crops lie outside.
        nuclei: Whether masks number nuclei; otherwise their sizes play no part.
        seed: Of the draws.

    Raises:
        EnrichmentError: A training image is smaller than the samples.
    """
    generator = np.random.default_rng(seed)
    shares, sizes, looked = [], [], []
    for number in range(settings.crops):
        _, image, mask = real[number % len(real)]
        crop = random_crop(mask, side_px, generator)
        shares.append(float((crop > 0).mean()))
        if nuclei and (size := median_area(crop)) is not None:
            sizes.append(size)
        if settings.looks:
            looked.append(looks_of(random_crop(image, side_px, generator)))
    images = [(name, image) for name, image, _ in real]
    repeats = find_repeats([image for _, image in images], training)
    return Limits(
        _ends(shares, settings.outside),
        _ends(sizes, settings.outside) if sizes else None,
        copy_limit(
            images,
            training,
            side_px,
            share=settings.copies,
            crops=settings.crops,
            generator=generator,
            repeats=repeats,
        ),
        tuple(_ends(values, settings.outside) for values in zip(*looked, strict=True)) if settings.looks else None,
        len(set().union(*(same for same in repeats if len(same) > 1))),
    )


def judge(
    images: Sequence[Image], masks: Sequence[Numbers], training: Sequence[ImageParts], limits: Limits
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
        found = Judged(
            number,
            float((mask > 0).mean()),
            None if limits.size_px is None else median_area(mask),
            near.name,
            near.distance,
            looks=() if limits.looks is None else looks_of(image),
        )
        reason, twin = _reason(found, limits), None
        if reason is None and (twin := _twin(image, small, kept, limits.copy or 0.0)) is not None:
            reason = Reason.DUPLICATE
        if reason is None:
            kept.append(number)
        judged.append(replace(found, reason=reason, twin=twin))
    return judged


def median_area(mask: Numbers) -> float | None:
    """The median area of the nuclei of a mask, in pixels; None if there is none."""
    areas = np.bincount(mask.ravel())[1:]
    areas = areas[areas > 0]
    return float(np.median(areas)) if areas.size else None


def looks_of(image: Image) -> tuple[float, ...]:
    """What tells tissue from noise, blur and other colours: the means of red, green and blue, and the sharpness.

    All are in grey levels of 255; the sharpness is the mean absolute difference of neighbouring pixels' grey values.
    """
    grey = image.mean(axis=2)
    steps = np.concatenate([np.abs(np.diff(grey, axis=axis)).ravel() for axis in (0, 1)])
    return (*(float(value) for value in image.mean(axis=(0, 1))), float(steps.mean()))


def _reason(found: Judged, limits: Limits) -> Reason | None:
    if found.foreground == 0:
        return Reason.EMPTY
    if not _within(found.foreground, limits.foreground):
        return Reason.FOREGROUND
    if limits.size_px is not None and (found.size_px is None or not _within(found.size_px, limits.size_px)):
        return Reason.SIZE
    if limits.copy is not None and found.distance <= limits.copy:
        return Reason.COPY
    if limits.looks is not None and not all(map(_within, found.looks, limits.looks)):
        return Reason.LOOKS
    return None


def _within(value: float, ends: tuple[float, float]) -> bool:
    return ends[0] <= value <= ends[1]


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
