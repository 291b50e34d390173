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
    """The reason why a pair is dropped; the first, if several apply."""

    EMPTY = "empty mask"
    FOREGROUND = "implausible share of foreground"
    SIZE = "implausible size of nuclei"
    COPY = "near-copy of a training image"
    LOOKS = "implausible colours or sharpness"
    DUPLICATE = "duplicate of another sample"


@dataclass(frozen=True)
class Limits:
    """The limits of the filter, measured on real images.

    Args:
        foreground: Smallest and largest share of foreground.
        size_px: Smallest and largest median area of nuclei, px; None for masks of classes.
        copy: Largest distance of a copy, grey levels; None: no copies are detected.
        looks: Smallest and largest value of each number of `looks_of`; None: not used.
        repeats: Number of training images that show pixels of another one; pairs of these do not count for `copy`.
    """

    foreground: tuple[float, float]
    size_px: tuple[float, float] | None
    copy: float | None
    looks: tuple[tuple[float, float], ...] | None = None
    repeats: int = 0


@dataclass(frozen=True)
class Judged:
    """The filter's judgement of a sampled pair.

    Args:
        number: Number of the pair.
        foreground: Share of foreground.
        size_px: Median area of the nuclei, px; None without nuclei, or for masks of classes.
        nearest: Name of the nearest training image.
        distance: Distance to the nearest training image, grey levels.
        reason: Reason for dropping the pair; None if it is kept.
        twin: Number of the pair that it duplicates.
        looks: Result of `looks_of`.
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
    """The judged pairs and the limits of the filter."""

    limits: Limits
    pairs: tuple[Judged, ...] = field(default=())

    @property
    def kept(self) -> list[int]:
        """Numbers of the pairs that are kept."""
        return [pair.number for pair in self.pairs if pair.reason is None]

    def counts(self) -> dict[str, int]:
        """Number of dropped pairs for each reason."""
        counts = Counter(pair.reason for pair in self.pairs)
        return {reason.value: counts[reason] for reason in Reason}

    def save(self, path: Path) -> None:
        """Writes the result as JSON, under a temporary name until the file is complete."""
        values = {
            "limits": asdict(self.limits),
            "kept": len(self.kept),
            "left_out": self.counts(),
            "pairs": [asdict(pair) for pair in self.pairs],
        }
        with whole_file(path) as partial:
            partial.write_text(json.dumps(values, indent=1), encoding="utf-8")

    @classmethod
    def load(cls, path: Path) -> "Filtered":
        """Reads a file that `save` wrote."""
        values = json.loads(path.read_text(encoding="utf-8"))
        limits = values["limits"]
        pairs = (
            Judged(
                **{
                    **pair,
                    "reason": None if pair["reason"] is None else Reason(pair["reason"]),
                    "looks": tuple(pair["looks"]),
                }
            )
            for pair in values["pairs"]
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
    more: Sequence[tuple[str, Image]] = (),
) -> Limits:
    """Measures the limits of the filter on random crops of the real training images.

    Looks need no masks, so they are measured on all training images: samples of a cascade have the colours of all.

    Args:
        real: Names, images and masks, at the scale of the samples.
        training: Result of `part_thumbs`: of the real images first, in order, then of all other training images.
        side_px: Side of the samples, px.
        settings: Settings of the filter.
        nuclei: Whether masks number nuclei; otherwise their sizes are not used.
        seed: Seed of the crops.
        more: Names and images of the training images without masks, at the scale of the samples.

    Raises:
        EnrichmentError: A training image is smaller than the samples.
    """
    generator = np.random.default_rng(seed)
    images = [(name, image) for name, image, _ in real]
    seen = [image for _, image in (*images, *more)]
    shares, sizes, looked = [], [], []
    for number in range(settings.crops):
        _, _, mask = real[number % len(real)]
        crop = random_crop(mask, side_px, generator)
        shares.append(float((crop > 0).mean()))
        if nuclei and (size := median_area(crop)) is not None:
            sizes.append(size)
        if settings.looks:
            looked.append(looks_of(random_crop(seen[number % len(seen)], side_px, generator)))
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
        masks: Masks of the samples.
        training: Result of `part_thumbs` for all training images.
        limits: Result of `real_limits`.

    Raises:
        EnrichmentError: There is no sample, or the numbers of samples and masks differ.
    """
    if not len(images) or len(images) != len(masks):
        raise EnrichmentError(f"wanted a mask for each sampled image, got {len(images)} and {len(masks)}")
    nearest = [
        match
        for start in range(0, len(images), AT_ONCE)
        for match in find_nearest(images[start : start + AT_ONCE], training)
    ]
    small = thumbs(images)
    judged: list[Judged] = []
    kept: list[int] = []
    for number, (image, mask, near) in enumerate(zip(images, masks, nearest, strict=True)):
        pair = Judged(
            number,
            float((mask > 0).mean()),
            None if limits.size_px is None else median_area(mask),
            near.name,
            near.distance,
            looks=() if limits.looks is None else looks_of(image),
        )
        reason, twin = _reason(pair, limits), None
        if reason is None and (twin := _twin(image, small, kept, limits.copy or 0.0)) is not None:
            reason = Reason.DUPLICATE
        if reason is None:
            kept.append(number)
        judged.append(replace(pair, reason=reason, twin=twin))
    return judged


def median_area(mask: Numbers) -> float | None:
    """The median area of the nuclei of a mask, in pixels; None if there is none."""
    areas = np.bincount(mask.ravel())[1:]
    areas = areas[areas > 0]
    return float(np.median(areas)) if areas.size else None


def looks_of(image: Image) -> tuple[float, ...]:
    """The mean red, green and blue and the sharpness of an image, which differ in noise, blur and unusual colours.

    All are in grey levels of 255; the sharpness is the mean absolute difference of neighbouring pixels' grey values.
    """
    grey = image.mean(axis=2)
    steps = np.concatenate([np.abs(np.diff(grey, axis=axis)).ravel() for axis in (0, 1)])
    return (*(float(value) for value in image.mean(axis=(0, 1))), float(steps.mean()))


def _reason(pair: Judged, limits: Limits) -> Reason | None:
    if pair.foreground == 0:
        return Reason.EMPTY
    if not _within(pair.foreground, limits.foreground):
        return Reason.FOREGROUND
    if limits.size_px is not None and (pair.size_px is None or not _within(pair.size_px, limits.size_px)):
        return Reason.SIZE
    if limits.copy is not None and pair.distance <= limits.copy:
        return Reason.COPY
    if limits.looks is not None and not all(map(_within, pair.looks, limits.looks)):
        return Reason.LOOKS
    return None


def _within(value: float, ends: tuple[float, float]) -> bool:
    return ends[0] <= value <= ends[1]


def _twin(image: Image, small: NDArray[np.float32], kept: list[int], limit: float) -> int | None:
    """The number of the first kept sample within the distance of a copy; None if there is none."""
    if not kept:
        return None
    near = distances(turned(image), small[kept]).min(axis=0)
    matches = np.flatnonzero(near <= limit)
    return kept[int(matches[0])] if matches.size else None


def _ends(values: Sequence[float], outside: float) -> tuple[float, float]:
    low, high = np.quantile(values, [outside, 1 - outside])
    return float(low), float(high)
