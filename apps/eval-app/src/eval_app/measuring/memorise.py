"""`eval-app memorise`: whether generated images are copies of training images."""

from pathlib import Path

import PIL.Image

from eval_app.measuring.extractors import ExtractorChoice
from eval_app.measuring.sides import of_names, whole_images
from eval_app.measuring.whole import measured_features
from eval_app.outputs import results_folder
from eval_app.reporting.results import FILE_NAMES, MeasuredSide, Neighbour, Result, show_figures, side_name
from pfid import Figure, Images, closest_pairs_picture, least_real_images, memorisation
from run_folder import UsageError, whole_file
from run_folder.cli.console import progress_bars, say
from run_folder.cli.devices import resolve_device

PICTURE = "pairs.png"
CAPTION = "Generated images, each on the left of the training image nearest to it; the nearest pairs come first."


def run_memorise(
    *,
    train: Path,
    fake: Path,
    held_out: Path | None,
    out: Path,
    name: str | None,
    quantile: float,
    pairs: int,
    choice: ExtractorChoice,
    device: str,
    batch: int,
    skip_unreadable: bool,
    overwrite: bool,
) -> None:
    """Finds copies; see `eval_app.cli.measuring.memorise` for the arguments.

    Raises:
        UsageError: The folder holds a result already.
        LockedError: Another run works in the folder.
        RunFolderError: The folder has files that no run recorded under the names of the results.
        PfidError: Images or the extractor cannot be used, or there are too few images.
    """
    given = {"training": train, "generated": fake} | ({} if held_out is None else {"held out": held_out})
    with results_folder(out, "memorise", overwrite=overwrite, inputs=given.values()) as run:
        images = {what: whole_images(place, skip_unreadable=skip_unreadable) for what, place in given.items()}
        _check_enough(images, "training" if held_out is None else "held out", quantile)
        where = resolve_device(device)
        extractor = choice.load(where)
        run.claim(FILE_NAMES["memorise"], PICTURE)
        with progress_bars() as bars:
            features = {
                what: measured_features(side, extractor, batch=batch, bars=bars, what=what)
                for what, side in images.items()
            }
        found = memorisation(
            train=features["training"].values,
            fake=features["generated"].values,
            held_out=features["held out"].values if held_out is not None else None,
            quantile=quantile,
            device=where if where.type == "cuda" else None,
        )
        # Images that turned out to be damaged were left out: the rest are numbered anew.
        left = {what: of_names(side, features[what].names) for what, side in images.items()}
        picture = closest_pairs_picture(found, train=left["training"], fake=left["generated"], count=pairs)
        with whole_file(out / PICTURE) as partial:
            PIL.Image.fromarray(picture).save(partial, "png")

        notes = [f"{what}: {line}" for what in features for line in features[what].notes]
        if found.duplicates:
            repeated = "are training images" if held_out is not None else "repeat another one"
            notes.append(f"{found.duplicates:,} {found.against} images {repeated}: left out of the threshold")
        note = "; ".join(notes) or None
        counts = len(left["training"]), len(left["generated"])
        figures = tuple(
            Figure(title, float(value), extractor.name, extractor.resize, *counts, note=note)
            for title, value in (
                (f"share of copies ({100 * quantile:.3g} % of {found.against} images are as near)", found.share),
                (f"p of being no nearer than {found.against} images (Mann-Whitney)", found.p_value),
            )
        )
        copies = set(found.copies.tolist())
        result = Result(
            "memorise",
            side_name(name, [fake]),
            MeasuredSide.of([train], left["training"]),
            MeasuredSide.of([fake], left["generated"]),
            figures,
            neighbours=tuple(
                Neighbour(
                    left["generated"].names[pair.fake],
                    left["training"].names[pair.train],
                    pair.distance,
                    pair.fake in copies,
                )
                for pair in found.closest(counts[1])
            ),
            picture=PICTURE,
            caption=CAPTION,
        )
        result.save(out / FILE_NAMES["memorise"])
        say(
            f"{len(copies)} of {counts[1]} generated images count as copies: they are as near to a training image as "
            f"the nearest {100 * quantile:.3g} % of {found.against} images are"
        )
        show_figures(figures)
        say(f"{out / FILE_NAMES['memorise']}, {out / PICTURE} (the closest pairs)")


def _check_enough(images: dict[str, Images], compared: str, quantile: float) -> None:
    """Raises UsageError, before anything is measured, where there are too few real images to set the threshold."""
    count, needed = len(images[compared]), least_real_images(quantile)
    if count < needed:
        raise UsageError(
            f"{count} {compared} images; a threshold at {100 * quantile:.3g} % of them takes {needed} or more: add "
            "some, or give a larger --quantile"
        )
