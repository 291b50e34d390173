"""`eval-app memorise`: copies of training images."""

from dataclasses import replace

from eval_app.console import show_metrics
from eval_app.measuring.extractors import features_of, load_extractor
from eval_app.measuring.sides import whole_images
from eval_app.options import MemoriseOptions
from eval_app.outputs import RESULT_FILES, results_folder, save_result, side_name, versions
from pfid import (
    Features,
    MeasuredSide,
    Memorisation,
    MetricValue,
    Neighbour,
    Result,
    check_real_images,
    closest_pairs_picture,
    memorisation,
)
from run_folder.cli.console import say
from run_folder.cli.devices import resolve_device

CAPTION = "Generated images, each on the left of the training image nearest to it; the nearest pairs come first."


def find_copies(options: MemoriseOptions) -> None:
    """Finds copies of training images.

    Raises:
        UsageError: The folder holds a result.
        LockedError: Another run works in the folder.
        RunFolderError: The folder has files that no run recorded under the names of the results.
        PfidError: Images or the extractor cannot be used, or there are too few images.
    """
    out, held_out, quantile = options.out, options.held_out, options.quantile
    places = {"training": options.train, "generated": options.fake} | ({"held out": held_out} if held_out else {})
    with results_folder(out, "memorise", overwrite=options.overwrite, inputs=places.values()) as run:
        images = {side: whole_images(place, skip_unreadable=options.skip_unreadable) for side, place in places.items()}
        compared = "held out" if held_out else "training"
        check_real_images(f"{len(images[compared])} {compared} images", len(images[compared]), quantile)
        device = resolve_device(options.device)
        extractor = load_extractor(options, device)
        run.claim(*RESULT_FILES["memorise"])
        features = {side: features_of(images[side], extractor, options, side) for side in images}
        memorised = memorisation(
            train=features["training"].values,
            fake=features["generated"].values,
            held_out=features["held out"].values if held_out else None,
            quantile=quantile,
            device=device,
        )
        # Damaged images were left out, so the others have new indices.
        train, fake = (images[side].select(features[side].names) for side in ("training", "generated"))
        metrics = _metrics(memorised, features)
        result = Result(
            "memorise",
            side_name(options.name, [options.fake]),
            MeasuredSide.of([options.train], train),
            MeasuredSide.of([options.fake], fake),
            metrics,
            neighbours=tuple(
                Neighbour(fake.names[pair.fake], train.names[pair.train], pair.distance, memorised.is_copy(pair))
                for pair in memorised.closest(len(fake))
            ),
            caption=CAPTION,
            versions=versions(),
        )
        files = save_result(out, result, closest_pairs_picture(memorised, train=train, fake=fake, count=options.pairs))
        say(
            f"{len(memorised.copies)} of {len(fake)} generated images count as copies: they are as near to a training "
            f"image as the nearest {100 * quantile:.3g} % of {memorised.against} images are"
        )
        show_metrics(metrics)
        say(f"{files[0]}, {files[1]} (the closest pairs)")


def _metrics(memorised: Memorisation, features: dict[str, Features]) -> tuple[MetricValue, MetricValue]:
    """The share of copies and the p value, with notes on all sides."""
    notes = [f"{side}: {line}" for side, its in features.items() for line in its.notes]
    if memorised.duplicates:
        repeated = "are training images" if "held out" in features else "repeat another one"
        notes.append(f"{memorised.duplicates:,} {memorised.against} images {repeated}: left out of the threshold")
    share = MetricValue(
        f"share of copies ({100 * memorised.quantile:.3g} % of {memorised.against} images are as near)",
        memorised.share,
        features["training"].extractor,
        features["training"].resize,
        len(features["training"].names),
        len(features["generated"].names),
        note="; ".join(notes) or None,
    )
    p_value = f"p of being no nearer than {memorised.against} images (Mann-Whitney)"
    return share, replace(share, name=p_value, value=memorised.p_value)
