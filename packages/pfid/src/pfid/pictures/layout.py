"""Layout that the pictures share: margins, images fitted into squares, captions."""

from collections.abc import Iterable

from PIL import Image as PillowImage
from PIL import ImageDraw, ImageFont

from pfid.images.sources import Image

MARGIN_PX = 8
CAPTION_PX = 32
FONT = ImageFont.load_default(12)
_LINE_PX = 14


def fitted(pixels: Image, side_px: int) -> PillowImage.Image:
    """Returns an image, resized to fit, in the middle of a white square."""
    height, width = pixels.shape[:2]
    scale = side_px / max(width, height)
    size = max(1, round(width * scale)), max(1, round(height * scale))
    square = PillowImage.new("RGB", (side_px, side_px), "white")
    resized = PillowImage.fromarray(pixels).resize(size, PillowImage.Resampling.LANCZOS)
    square.paste(resized, ((side_px - size[0]) // 2, (side_px - size[1]) // 2))
    return square


def draw_caption(draw: ImageDraw.ImageDraw, xy: tuple[int, int], lines: Iterable[str], width_px: int) -> None:
    """Draws lines of text below an image; a line that is too long is shortened.

    Args:
        draw: The picture.
        xy: Lower left corner of the image (x, y), pixels of the picture.
        lines: The text.
        width_px: Width of the caption.
    """
    for line, text in enumerate(lines):
        draw.text((xy[0], xy[1] + 2 + _LINE_PX * line), _shortened(draw, text, width_px), "black", FONT)


def _shortened(draw: ImageDraw.ImageDraw, text: str, width_px: int) -> str:
    if draw.textlength(text, FONT) <= width_px:
        return text
    while text and draw.textlength(text + "...", FONT) > width_px:
        text = text[:-1]
    return text + "..."
