"""The tissue mask: a rule on hue and saturation, without pen marks, specks and small holes.

Both are those of the light that passes, as a share of what passes bare glass: tinted glass is as neutral as white. The
almost black of areas that were never scanned has hues of chance, so below a share of brightness nothing is tissue; nor
is what is as bright as the glass in red, green and blue.
"""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from wsi_tiling.checks import check_colour, check_number, is_whole
from wsi_tiling.errors import SlideError
from wsi_tiling.glass import DEFAULT_BACKGROUND, glass_of
from wsi_tiling.reading.slide import Slide
from wsi_tiling.region import MAX_BAND_PX, Colour, Image, check_image
from wsi_tiling.tissue.components import without_small_parts
from wsi_tiling.tissue.pen import INK, PEN_REACH_L0, Flags, ink_flags, pen_mask, stroke_px, unmarked

OTSU_PX = 1024
"""Longer side of the image of a slide on which Otsu's limit is found."""
DARKEST = 0.15
"""Pixels darker than this share of the glass, in their brightest channel, are not tissue."""
_COLOUR = 1
_MOST_OF_GLASS = 0.1


@dataclass(frozen=True)
class TissueRule:
    """A pixel is tissue if its hue and its saturation are both above a limit; then the mask is cleaned.

    Hue and saturation are relative to the glass, which has none. Blue, purple and red, the colours of most stains, have
    hues above 0.5. Pixels darker than `DARKEST` are not tissue. Limits below 0 accept everything. Cleaning takes place
    in this order: pen marks out, small holes filled, specks out, erode, dilate. Specks and holes at the edge of a
    image stay: they may go on outside.

    Args:
        min_hue: Hue, in [0, 1], that tissue exceeds.
        min_saturation: Saturation, in [0, 1], that tissue exceeds.
        erode_px: Side of the square that erodes the mask, against specks; odd, or 0 for none.
        dilate_px: Side of the square that dilates it afterwards, for a rim of glass round tissue; odd, or 0 for none.
        kind: 'limits' takes min_saturation as it is; 'otsu' as the least that Otsu's limit can be, which is found on
            the image or the slide as a whole, see `resolve_rule`.
        reject_pen: Leave out blue, green, red and black ink, see `wsi_tiling.tissue.pen`.
        min_area_l0: Least area of a connected patch of tissue, level-0 pixels squared; 0 keeps every speck.
        max_hole_l0: Largest area of a hole in the tissue that is filled, level-0 pixels squared.

    Raises:
        SlideError: A limit is above 1 or not finite, a side is negative or even, an area is negative, or the kind is
            not known.
    """

    min_hue: float = 0.5
    min_saturation: float = 0.02
    erode_px: int = 0
    dilate_px: int = 0
    kind: Literal["limits", "otsu"] = "limits"
    reject_pen: bool = False
    min_area_l0: float = 0.0
    max_hole_l0: float = 0.0

    def __post_init__(self) -> None:
        check_number("a limit of hue of at most 1", self.min_hue, most=1)
        check_number("a limit of saturation of at most 1", self.min_saturation, most=1)
        for side in (self.erode_px, self.dilate_px):
            if not is_whole(side, least=0) or (side and side % 2 == 0):
                raise SlideError(f"wanted an odd number of pixels to erode or dilate by, or 0, got {side}")
        for area in (self.min_area_l0, self.max_hole_l0):
            check_number("areas of specks and holes of at least 0", area, least=0)
        if self.kind not in ("limits", "otsu"):
            raise SlideError(f"wanted a rule of the kind 'limits' or 'otsu', got '{self.kind}'")

    @classmethod
    def everything(cls) -> "TissueRule":
        """The rule for images without a background: all of it counts."""
        return cls(min_hue=-1.0, min_saturation=-1.0)

    def shrunk(self, factor: float) -> "TissueRule":
        """The same rule for an image that is smaller by a factor: it erodes and dilates by fewer pixels."""
        erode_px, dilate_px = (
            side and 2 * round((side / factor - 1) / 2) + 1 for side in (self.erode_px, self.dilate_px)
        )
        return replace(self, erode_px=max(erode_px, 0), dilate_px=max(dilate_px, 0))

    @property
    def accepts_everything(self) -> bool:
        """Whether no pixel can fail the rule."""
        return self.min_hue < 0 and self.min_saturation < 0 and self.kind == "limits" and not self.reject_pen

    @property
    def goes_by_colour_alone(self) -> bool:
        """Whether a pixel's neighbours have no say, but for erosion and dilation."""
        return not (self.reject_pen or self.looks_at_areas)

    def reach_px(self, scale_l0: float) -> int:
        """Returns how far from a pixel, in pixels, others have a say in whether it is tissue.

        Args:
            scale_l0: Level-0 pixels a pixel.
        """
        pen = int(PEN_REACH_L0 / scale_l0) + 4 if self.reject_pen else 0
        areas = sum(math.ceil(area / scale_l0**2) for area in (self.min_area_l0, self.max_hole_l0))
        return (self.erode_px + self.dilate_px) // 2 + pen + areas

    @property
    def looks_at_areas(self) -> bool:
        """Whether specks or holes count, of which pixels anywhere may be part."""
        return bool(self.min_area_l0 or self.max_hole_l0)


STUDY = TissueRule(0.5, 0.02, erode_px=5, dilate_px=51)
"""The limits of the study that this project follows, made for images of some 6 level-0 pixels a pixel."""
STRICT = TissueRule(0.8, 0.05, erode_px=5, dilate_px=51)
"""Its stricter limits: pink and purple only."""
RECOMMENDED = TissueRule(0.5, 0.04, reject_pen=True, min_area_l0=2500, max_hole_l0=2500)
"""For slides stained with haematoxylin and eosin: without pen marks, dust, and what a camera's noise makes of glass."""


def tissue_mask(
    image: Image, rule: TissueRule, scale_l0: float = 1.0, background: Colour | None = None
) -> NDArray[np.bool_]:
    """Marks the tissue in an image.

    At the image's edge, tissue is taken to go on as it does inside: erosion does not eat into it from there.

    Args:
        image: Image, (H, W, 3) uint8 RGB.
        rule: What counts as tissue; the sides by which it erodes and dilates are pixels of this image. Otsu's limit
            is found on this image: resolve the rule before if it is to be one limit for many images.
        scale_l0: Level-0 pixels a pixel of the image: the measure of pen strokes, specks and holes.
        background: Colour of bare glass: `Slide.glass` for a part of a slide. Measured on the image if not given,
            and taken as white where it shows none.

    Returns:
        (H, W) bool, true on tissue.

    Raises:
        ValueError: The image is not (H, W, 3) uint8, the scale is not positive, or the background is no colour.
    """
    check_image(image)
    glass = _glass(image, rule, background)
    return _eroded_and_dilated(clean(classify(image, resolve_rule(rule, image, glass), glass), rule, scale_l0), rule)


def shows_tissue(
    image: Image,
    rule: TissueRule,
    box: tuple[slice, slice],
    scale_l0: float = 1.0,
    background: Colour | None = None,
) -> bool:
    """Returns whether a part of an image has tissue: any pixel of `tissue_mask(...)[box]`, but faster.

    Args:
        image: Image, (H, W, 3) uint8 RGB.
        rule: See `tissue_mask`.
        box: Rows and columns of the part, with their begin and end.
        scale_l0: See `tissue_mask`.
        background: See `tissue_mask`.

    Raises:
        ValueError: As of `tissue_mask`.
    """
    if rule.looks_at_areas:
        return bool(tissue_mask(image, rule, scale_l0, background)[box].any())
    check_image(image)
    glass = _glass(image, rule, background)
    rule = resolve_rule(rule, image, glass)
    reach = (rule.erode_px + rule.dilate_px) // 2  # of colours, what lies further away has no say
    near = _widened(box, reach)
    mask = colour_mask(image[near], rule, glass)
    if not rule.reject_pen or not mask.any():
        return _is_marked(mask, rule, box, near)
    # Where some tissue is plainly no pen's, there is no need to look for pen strokes in all of the image.
    around = _widened(near, stroke_px(scale_l0) // 2)
    plain = unmarked(ink_flags(image[around], glass), scale_l0)[_within(near, around)]
    if _is_marked(mask & plain, rule, box, near):
        return True
    ink = _flags(image, lambda band: ink_flags(band, glass))
    return _is_marked(mask & ~pen_mask(ink, scale_l0)[near], rule, box, near)


def _widened(box: tuple[slice, slice], reach: int) -> tuple[slice, slice]:
    """A box with a margin; not beyond the image's first row and column."""
    rows, columns = (slice(max(side.start - reach, 0), side.stop + reach) for side in box)
    return rows, columns


def _within(inner: tuple[slice, slice], outer: tuple[slice, slice]) -> tuple[slice, slice]:
    """A box as a part of another that it lies in."""
    rows, columns = (
        slice(side.start - around.start, side.stop - around.start) for side, around in zip(inner, outer, strict=True)
    )
    return rows, columns


def _is_marked(mask: NDArray[np.bool_], rule: TissueRule, box: tuple[slice, slice], near: tuple[slice, slice]) -> bool:
    """Whether the mask of a part of an image, eroded and dilated, has any pixel in a box within that part."""
    return bool(_eroded_and_dilated(mask, rule)[_within(box, near)].any())


def _eroded_and_dilated(mask: NDArray[np.bool_], rule: TissueRule) -> NDArray[np.bool_]:
    if rule.erode_px:
        mask = ndimage.minimum_filter(mask, size=rule.erode_px, mode="nearest")
    if rule.dilate_px:
        mask = ndimage.maximum_filter(mask, size=rule.dilate_px, mode="nearest")
    return mask


def resolve_rule(rule: TissueRule, source: Slide | Image, background: Colour | None = None) -> TissueRule:
    """Finds Otsu's limit of saturation on a whole slide or image; a rule of plain limits comes back as it is.

    Otsu's limit splits the saturations into two classes as far apart as can be. It is never below the rule's
    min_saturation, and it is that where there are no two classes to split: where there is one colour only, or where the
    less saturated class is on average above 0.1, which no glass is. What is too dark to be tissue plays no part, nor
    does ink if the rule rejects it.

    Args:
        rule: The rule.
        source: A slide, looked at in an image of 1,024 px at most, or an image, (H, W, 3) uint8 RGB.
        background: Colour of bare glass; that of the slide, or measured on the image, if not given.

    Returns:
        A rule of the kind 'limits', to use for all of the slide or image.

    Raises:
        SlideError: The slide cannot be read.
        ValueError: The image is not (H, W, 3) uint8.

    Source: Otsu 1979, 'A threshold selection method from gray-level histograms'.
    """
    if rule.kind == "limits":
        return rule
    image = thumbnail(source, OTSU_PX) if isinstance(source, Slide) else source
    check_image(image)
    glass = source.glass if background is None and isinstance(source, Slide) else _glass(image, rule, background)
    counts = np.zeros(256)
    centres = (np.arange(256) + 0.5) / 256
    for band in _bands(image):
        _, saturation, value = hue_saturation_value(band, glass)
        counted = value >= DARKEST
        if rule.reject_pen:
            counted &= ink_flags(band, glass) & INK == 0
        counts += np.histogram(saturation[counted], bins=256, range=(0, 1))[0]
    found = rule.min_saturation
    if np.count_nonzero(counts) > 1:
        last = _last_of_lower_class(counts, centres)
        if np.average(centres[: last + 1], weights=counts[: last + 1]) <= _MOST_OF_GLASS:
            found = max(found, float(centres[last]))
    return replace(rule, kind="limits", min_saturation=found)


def thumbnail(slide: Slide, size_px: int) -> Image:
    """Reads the scanned region of a slide into an image whose longer side is `size_px`, or its own size if less.

    Raises:
        SlideError: The slide cannot be read.
    """
    x, y, width, height = slide.bounds_l0
    scale = max(width, height) / min(size_px, max(width, height))
    return slide.read((x, y), (width, height), (max(1, round(width / scale)), max(1, round(height / scale))))


def colour_mask(image: Image, rule: TissueRule, glass: Colour) -> NDArray[np.bool_]:
    """Marks the pixels whose colour passes the limits of a rule, (H, W) bool, nothing cleaned."""
    check_image(image)
    if rule.accepts_everything:
        return np.ones(image.shape[:2], np.bool_)
    return np.concatenate([_passes(band, rule, glass) for band in _bands(image)])


def classify(image: Image, rule: TissueRule, glass: Colour) -> Flags:
    """Flags, (H, W) uint8, what each pixel's colour says: that it passes the limits, and ink if the rule rejects it."""
    if rule.accepts_everything:
        return np.full(image.shape[:2], _COLOUR, np.uint8)

    def of_band(band: Image) -> Flags:
        passing = _passes(band, rule, glass).view(np.uint8)
        return passing | ink_flags(band, glass) if rule.reject_pen else passing

    return _flags(image, of_band)


def _flags(image: Image, of_band: Callable[[Image], Flags]) -> Flags:
    """Flags, (H, W) uint8, of an image, made in bands of bounded size."""
    flags = np.empty(image.shape[:2], np.uint8)
    top = 0
    for band in _bands(image):
        flags[top : top + len(band)] = of_band(band)
        top += len(band)
    return flags


def clean(flags: Flags, rule: TissueRule, scale_l0: float) -> NDArray[np.bool_]:
    """Makes a mask of flags: without pen marks and specks, small holes filled; not eroded, not dilated.

    Raises:
        ValueError: The scale is not positive.
    """
    check_number("a positive number of level-0 pixels a pixel", scale_l0, above=0)
    mask = (flags & _COLOUR).view(np.bool_)
    pen = pen_mask(flags, scale_l0) if rule.reject_pen else None
    if pen is not None:
        np.greater(mask, pen, out=mask)  # mask and not pen, without a copy
    if rule.max_hole_l0:
        # A hole of just the largest area is filled, a speck of just the least area stays.
        mask = ~without_small_parts(~mask, math.nextafter(rule.max_hole_l0 / scale_l0**2, math.inf), diagonal=False)
        if pen is not None:
            np.greater(mask, pen, out=mask)
    return without_small_parts(mask, rule.min_area_l0 / scale_l0**2, diagonal=True)


def _last_of_lower_class(counts: NDArray[np.float64], centres: NDArray[np.float64]) -> int:
    """The last bin of the lower of two classes whose means, weighted with their sizes, lie furthest apart."""
    below = np.cumsum(counts)[:-1]
    above = counts.sum() - below
    sums = np.cumsum(counts * centres)
    with np.errstate(invalid="ignore"):  # empty classes: 0 / 0, which nanargmax leaves out
        apart = sums[:-1] / below - (sums[-1] - sums[:-1]) / above
    return int(np.nanargmax(below * above * apart**2))


def _bands(image: Image) -> Iterator[Image]:
    rows = max(1, MAX_BAND_PX // 8 // image.shape[1])
    return (image[top : top + rows] for top in range(0, len(image), rows))


def _glass(image: Image, rule: TissueRule, background: Colour | None) -> Colour:
    """The background itself, or that of the image."""
    if background is not None:
        check_colour(background)
        return background
    return DEFAULT_BACKGROUND if rule.accepts_everything else glass_of(image)


def hue_saturation_value(
    image: Image, glass: Colour
) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]]:
    """Converts the transmitted light, relative to that of the empty glass, to hue, saturation and value.

    Each channel is an array of its own: numpy is many times slower along a last axis of three.

    Args:
        image: RGB image, (H, W, 3).
        glass: RGB colour of the empty glass.

    Returns:
        Hue, saturation and value in [0, 1], (H, W) each. Where two channels are the greatest, hue is that of the later.

    Source: Smith 1978, 'Color gamut transform pairs'.
    """
    red, green, blue = (np.divide(image[..., i], max(white, 1), dtype=np.float32) for i, white in enumerate(glass))
    value = np.maximum(np.maximum(red, green), blue)
    spread = value - np.minimum(np.minimum(red, green), blue)
    is_grey = spread == 0
    with np.errstate(invalid="ignore"):  # 0 / 0 of grey
        saturation = np.divide(spread, value)
        is_green, is_blue = green == value, blue == value
        difference = np.where(is_blue, red - green, np.where(is_green, blue - red, green - blue)) / spread
    hue = (difference + np.where(is_blue, np.float32(4), np.where(is_green, np.float32(2), np.float32(0)))) / 6
    hue[hue < 0] += 1  # the circle begins at red
    hue[is_grey] = saturation[is_grey] = 0
    return hue, saturation, value


def _passes(image: Image, rule: TissueRule, glass: Colour) -> NDArray[np.bool_]:
    hue, saturation, value = hue_saturation_value(image, glass)
    passing = (hue > rule.min_hue) & (saturation > rule.min_saturation)
    if rule.min_hue >= 0 or rule.min_saturation >= 0:
        passing &= value >= DARKEST
        red, green, blue = (image[..., channel] >= white for channel, white in enumerate(glass))
        passing &= ~(red & green & blue)
    return np.asarray(passing)
