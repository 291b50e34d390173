"""A picture of the generated images that look least and most real to a classifier."""

import numpy as np
from PIL import Image as PillowImage
from PIL import ImageDraw

from pfid.images.sources import Image, Images
from pfid.pictures.layout import CAPTION_PX, FONT, MARGIN_PX, draw_caption, fitted
from pfid.two_sample.classifier_test import ClassifierTest

TITLE_PX = 20


def extreme_images_picture(
    test: ClassifierTest, *, fake: Images, count: int = 12, across: int = 6, image_px: int = 192
) -> Image:
    """Draws the generated images that look least real to the classifier, and below them those that look most real.

    The caption of an image has the probability that it is real, and its name. No image is drawn twice.

    Args:
        test: The result of `classifier_two_sample_test` for these images.
        fake: The generated images.
        count: Most images to draw in each of the two parts.
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
    draw = ImageDraw.Draw(picture)
    numbers = {name: number for number, name in enumerate(fake.names)}
    parts = ("least real", test.most_fake(count)), ("most real", test.most_real(count))
    for part, (title, images) in enumerate(parts):
        begin = MARGIN_PX + part * (TITLE_PX + rows * height)
        draw.text((MARGIN_PX, begin), f"generated images that look {title}", "black", FONT)
        for position, image in enumerate(images):
            left = MARGIN_PX + position % across * width
            top = begin + TITLE_PX + position // across * height
            picture.paste(fitted(fake.pixels(numbers[image.name]), image_px), (left, top))
            draw_caption(draw, (left, top + image_px), (f"real: {image.realness:.1%}", image.name), image_px)
    return np.asarray(picture)
