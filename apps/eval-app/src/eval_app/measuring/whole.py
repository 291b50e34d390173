"""Features of whole images, with a bar that shows how far it is."""

from collections.abc import Iterator

from rich.progress import Progress

from pfid import Extractor, FeatureBatch, Features, Images, collect_features, feature_batches


def measured_features(images: Images, extractor: Extractor, *, batch: int, bars: Progress, what: str) -> Features:
    """Returns the features of whole images.

    Args:
        images: The images.
        extractor: What gives the features.
        batch: Most images to give it at a time.
        bars: Where to show how far it is.
        what: What the images are called there.

    Raises:
        ImageError: Images are unreadable and not to be skipped.
    """
    task = bars.add_task(what, total=len(images))

    def batches() -> Iterator[FeatureBatch]:
        for part in feature_batches(images, extractor, batch=batch):
            yield part
            bars.advance(task, len(part.numbers))

    return collect_features(images, extractor, batches())
