"""`eval-app two-sample`: whether a classifier can tell generated from real images."""

from dataclasses import replace

from eval_app.console import follow, show_metrics
from eval_app.measuring.sides import whole_images
from eval_app.options import TwoSampleOptions
from eval_app.outputs import RESULT_FILES, results_folder, save_result, side_name, versions
from pfid import (
    ClassifierConfig,
    ImageScore,
    MeasuredSide,
    Result,
    classifier_two_sample_test,
    extreme_images_picture,
)
from run_folder.cli.console import say
from run_folder.cli.devices import resolve_device

CAPTION = "Generated images that look least real to the classifier, and below them those that look most real."


def classify_sides(options: TwoSampleOptions) -> None:
    """Trains and tests the classifier.

    Raises:
        UsageError: The folder holds a result.
        LockedError: Another run works in the folder.
        RunFolderError: The folder has files that no run recorded under the names of the results.
        PfidError: Images cannot be used, or there are too few.
    """
    config = ClassifierConfig(options.crop, options.steps, options.batch)
    places = options.real, options.fake
    with results_folder(options.out, "two-sample", overwrite=options.overwrite, inputs=places) as run:
        real, fake = (whole_images(place, skip_unreadable=options.skip_unreadable) for place in places)
        device = resolve_device(options.device)
        run.claim(*RESULT_FILES["two-sample"])
        test = follow(
            classifier_two_sample_test(
                real=real,
                fake=fake,
                config=config,
                folds=options.folds,
                resamples=options.resamples,
                seed=options.seed,
                device=device,
            )
        )
        p_value = replace(
            test.accuracy,
            name="p of an accuracy of 0.5 (sign flips of groups)",
            value=test.p_value,
            interval=None,
            note=None,
        )
        metrics = (test.accuracy, test.area, p_value)
        result = Result(
            "two-sample",
            side_name(options.name, [options.fake]),
            MeasuredSide.of([options.real], real),
            MeasuredSide.of([options.fake], fake),
            metrics,
            scores=tuple(ImageScore(image.kind, image.name, image.group, image.realness) for image in test.images),
            caption=CAPTION,
            versions=versions(),
        )
        files = save_result(options.out, result, extreme_images_picture(test, fake=fake, count=options.shown))
        show_metrics(metrics)
        say(f"{files[0]}, {files[1]} (generated images that look least and most real)")
