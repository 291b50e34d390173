"""Pictures of generated images: beside the training images nearest to them, and those that look most and least real."""

import numpy as np
from PIL import Image as PillowImage
from PIL import ImageDraw, ImageFont

from pfid.copies.memorisation import Memorisation
from pfid.images.sources import Image, Images
from pfid.two_sample.classifier_test import ClassifierTest

MARGIN_PX = 8
CAPTION_PX = 32
TITLE_PX = 20


def closest_pairs_picture(
    found: Memorisation, *, train: Images, fake: Images, count: int = 12, across: int = 3, image_px: int = 192
) -> Image:
    """Draws the generated images nearest to a training image, each on the left of that image.

    Under each pair stand its distance, whether it counts as a copy, and the names of both.

    Args:
        found: What `memorisation` returned for the features of these images, in their order.
        train: The training images.
        fake: The generated images.
        count: How many pairs to draw, if there are as many; the nearest come first.
        across: Pairs in a row.
        image_px: Side of the square that each image is fitted into.

    Returns:
        The picture, (H, W, 3) uint8.

    Raises:
        ImageError: An image cannot be read.
    """
    pairs = found.closest(count)
    across = min(across, len(pairs))
    width, height = 2 * image_px + MARGIN_PX, image_px + CAPTION_PX + MARGIN_PX
    rows = -(-len(pairs) // across)
    size = (across * (width + MARGIN_PX) + MARGIN_PX, rows * height + MARGIN_PX)
    picture = PillowImage.new("RGB", size, "white")
    draw, font = ImageDraw.Draw(picture), ImageFont.load_default(12)
    for number, pair in enumerate(pairs):
        left = MARGIN_PX + number % across * (width + MARGIN_PX)
        top = MARGIN_PX + number // across * height
        for side, pixels in enumerate((fake.pixels(pair.fake), train.pixels(pair.train))):
            picture.paste(_fitted(pixels, image_px), (left + side * (image_px + MARGIN_PX // 2), top))
        verdict = "counts as a copy" if pair.distance <= found.threshold else "does not count as a copy"
        lines = f"{pair.distance:.4g}: {verdict}", f"{fake.names[pair.fake]} | {train.names[pair.train]}"
        for line, text in enumerate(lines):
            draw.text((left, top + image_px + 2 + 14 * line), _shortened(draw, text, font, width), "black", font)
    return np.asarray(picture)


def telling_images_picture(
    test: ClassifierTest, *, fake: Images, count: int = 12, across: int = 6, image_px: int = 192
) -> Image:
    """Draws the generated images that look least real to the classifier, and below them those that look most real.

    Under each image stand the probability that it is real, and its name. Where there are fewer images than places, none
    is drawn twice.

    Args:
        test: What `classifier_two_sample_test` returned for these images.
        fake: The generated images.
        count: How many images to draw in each of the two parts.
        across: Images in a row.
        image_px: Side of the square that each image is fitted into.

    Returns:
        The picture, (H, W, 3) uint8.

    Raises:
        ImageError: An image cannot be read.
    """
    count = min(count, sum(image.kind == "fake" for image in test.images) // 2)
    across = min(across, count)
    width, height = image_px + MARGIN_PX, image_px + CAPTION_PX + MARGIN_PX
    rows = -(-count // across)
    size = (across * width + MARGIN_PX, 2 * (TITLE_PX + rows * height) + MARGIN_PX)
    picture = PillowImage.new("RGB", size, "white")
    draw, font = ImageDraw.Draw(picture), ImageFont.load_default(12)
    numbers = {name: number for number, name in enumerate(fake.names)}
    parts = ("least real", test.most_fake(count)), ("most real", test.most_real(count))
    for part, (title, images) in enumerate(parts):
        begin = MARGIN_PX + part * (TITLE_PX + rows * height)
        draw.text((MARGIN_PX, begin), f"generated images that look {title}", "black", font)
        for position, image in enumerate(images):
            left = MARGIN_PX + position % across * width
            top = begin + TITLE_PX + position // across * height
            picture.paste(_fitted(fake.pixels(numbers[image.name]), image_px), (left, top))
            for line, text in enumerate((f"real: {image.realness:.1%}", image.name)):
                draw.text((left, top + image_px + 2 + 14 * line), _shortened(draw, text, font, image_px), "black", font)
    return np.asarray(picture)


def _fitted(pixels: Image, side_px: int) -> PillowImage.Image:
    """Returns an image in the middle of a white square."""
    height, width = pixels.shape[:2]
    scale = side_px / max(width, height)
    size = max(1, round(width * scale)), max(1, round(height * scale))
    square = PillowImage.new("RGB", (side_px, side_px), "white")
    resized = PillowImage.fromarray(pixels).resize(size, PillowImage.Resampling.LANCZOS)
    square.paste(resized, ((side_px - size[0]) // 2, (side_px - size[1]) // 2))
    return square


def _shortened(
    draw: ImageDraw.ImageDraw, text: str, font: ImageFont.FreeTypeFont | ImageFont.ImageFont, width_px: int
) -> str:
    if draw.textlength(text, font) <= width_px:
        return text
    while text and draw.textlength(text + "...", font) > width_px:
        text = text[:-1]
    return text + "..."
