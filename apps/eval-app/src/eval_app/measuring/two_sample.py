"""`eval-app two-sample`: whether a classifier can tell generated from real images."""

from pathlib import Path
from typing import TYPE_CHECKING

import PIL.Image

from eval_app.measuring.sides import whole_images
from eval_app.outputs import results_folder
from eval_app.reporting.results import FILE_NAMES, ImageScore, MeasuredSide, Result, show_figures, side_name
from pfid import Figure, Images, Progress, classifier_two_sample_test, telling_images_picture
from run_folder import whole_file
from run_folder.cli.console import progress_bars, say
from run_folder.cli.devices import resolve_device

if TYPE_CHECKING:
    from pfid import ClassifierConfig, ClassifierTest

PICTURE = "telling.png"
CAPTION = "Generated images that look least real to the classifier, and below them those that look most real."


def run_two_sample(
    *,
    real: Path,
    fake: Path,
    out: Path,
    name: str | None,
    config: "ClassifierConfig",
    folds: int,
    resamples: int,
    shown: int,
    seed: int,
    device: str,
    skip_unreadable: bool,
    overwrite: bool,
) -> None:
    """Trains and tests the classifier; see `eval_app.cli.measuring.two_sample` for the arguments.

    Raises:
        UsageError: The folder holds a result already.
        LockedError: Another run works in the folder.
        RunFolderError: The folder has files that no run recorded under the names of the results.
        PfidError: Images cannot be used, or there are too few.
    """
    with results_folder(out, "two-sample", overwrite=overwrite, inputs=(real, fake)) as run:
        sides = [whole_images(place, skip_unreadable=skip_unreadable) for place in (real, fake)]
        where = resolve_device(device)
        run.claim(FILE_NAMES["two-sample"], PICTURE)
        found = _tested(*sides, config=config, folds=folds, resamples=resamples, seed=seed, device=str(where))
        picture = telling_images_picture(found, fake=sides[1], count=shown)
        with whole_file(out / PICTURE) as partial:
            PIL.Image.fromarray(picture).save(partial, "png")
        figures = (found.accuracy, found.area, _p_value(found))
        result = Result(
            "two-sample",
            side_name(name, [fake]),
            MeasuredSide.of([real], sides[0]),
            MeasuredSide.of([fake], sides[1]),
            figures,
            scores=tuple(ImageScore(image.kind, image.name, image.group, image.realness) for image in found.images),
            picture=PICTURE,
            caption=CAPTION,
        )
        result.save(out / FILE_NAMES["two-sample"])
        show_figures(figures)
        say(f"{out / FILE_NAMES['two-sample']}, {out / PICTURE} (generated images that look least and most real)")


def _tested(
    real: Images, fake: Images, *, config: "ClassifierConfig", folds: int, resamples: int, seed: int, device: str
) -> "ClassifierTest":
    """The result of the test, with a bar that shows how far it is."""
    events = classifier_two_sample_test(
        real=real, fake=fake, config=config, folds=folds, resamples=resamples, seed=seed, device=device
    )
    with progress_bars() as bars:
        task = bars.add_task("training steps", total=None)
        for event in events:
            if not isinstance(event, Progress):
                return event
            bars.update(task, completed=event.done, total=event.total)
    raise RuntimeError("the test ended without a result")


def _p_value(found: "ClassifierTest") -> Figure:
    counts = found.accuracy.n_real, found.accuracy.n_fake
    name = "p of an accuracy of 0.5 (sign flips of groups)"
    return Figure(name, found.p_value, found.accuracy.extractor, found.accuracy.resize, *counts)
