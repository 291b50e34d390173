"""Concentric fields of several sizes."""

from collections.abc import Sequence

from wsi_tiling.checks import check_number
from wsi_tiling.reading.slide import Slide
from wsi_tiling.region import Image, as_pair


def read_concentric(
    slide: Slide,
    centre_l0: tuple[float, float],
    fields_l0: Sequence[float | tuple[float, float]],
    size_px: int | tuple[int, int],
) -> list[Image]:
    """Reads fields of several sizes round one centre, each into an image of the same size.

    Args:
        slide: Slide to read.
        centre_l0: Common centre (x, y), level-0 pixels.
        fields_l0: Side, or width and height, of each field, level-0 pixels.
        size_px: Side, or width and height, of each image.

    Returns:
        One (height, width, 3) uint8 for each field, in their order; background where a field leaves the slide.

    Raises:
        SlideError: The slide cannot be read, the centre is not finite, or a field or the size is not positive.
    """
    pictures = []
    for place in centre_l0:
        check_number("a finite centre", place)
    for field_l0 in fields_l0:
        width, height = as_pair(field_l0)
        for side in (width, height):
            check_number("a positive field, in level-0 pixels", side, above=0)
        corner = (centre_l0[0] - width / 2, centre_l0[1] - height / 2)
        pictures.append(slide.read(corner, (width, height), size_px))
    return pictures
