"""The steps that make synthetic pairs."""

from collections.abc import Iterator
from dataclasses import asdict

from maskcond.enrichment.pairs.synthetic_pairs import (
    AGREEMENT_FILE,
    DATASET,
    DRAWN_DROPPED_FILE,
    DRAWN_FILE,
    DROPPED_FILE,
    PAIRS_FILE,
    PROVENANCE_FILE,
    SyntheticPairs,
)
from maskcond.enrichment.run_inputs import RunInputs, given_model, step_if
from maskcond.enrichment.run_paths import (
    AGREEMENT,
    CASCADE,
    FILTERED_PAIRS,
    FINISHED_CASCADE,
    MASK_CASCADE,
    MASK_DIFFUSION,
    PREDICTED_MASKS,
    SAMPLED_IMAGES,
    SAMPLED_MASKS,
    SYNTHETIC_PAIRS,
    VARIANTS,
)
from maskcond.enrichment.steps.step import Step

COMPRESSED = 0.75
"""Approximate compression of tissue by PNG."""


def pair_steps(run: RunInputs, pairs: SyntheticPairs) -> Iterator[Step]:
    """The steps that make synthetic pairs.

    Args:
        run: Inputs of the steps.
        pairs: Maker of the pairs.
    """
    config, sampling, paths = run.config, run.config.sampling, run.paths
    picture_bytes = round(run.models.image_px**2 * 3 * COMPRESSED)
    seeded = {"seed": sampling.seed}
    yield Step(
        SAMPLED_IMAGES,
        "sample images from the unconditional cascade",
        lambda folder: pairs.sample_images(folder, paths.finished_cascade),
        ("images",),
        {"images": sampling.images, **seeded, **given_model(config.cascade.folder, "cascade")},
        step_if(FINISHED_CASCADE if config.cascade.finishing else CASCADE, bool(config.cascade.training)),
        units=sampling.images,
        kind=SAMPLED_IMAGES,
        unit_bytes=picture_bytes,
    )
    yield Step(
        PREDICTED_MASKS,
        "predict masks of the sampled images",
        lambda folder: pairs.predict_masks(folder, paths.of(SAMPLED_IMAGES), paths.segmenter),
        ("masks",),
        given_model(config.segmentation.folder, "segmentation"),
        (SAMPLED_IMAGES, *([run.segmenter_step] if run.segmenter_step else [])),
        units=sampling.images,
        kind=PREDICTED_MASKS,
        unit_bytes=picture_bytes // 30,
    )
    masks, count = [PREDICTED_MASKS], sampling.images + sampling.drawn_masks
    if sampling.drawn_masks:
        masks.append(SAMPLED_MASKS)
        yield Step(
            SAMPLED_MASKS,
            "sample more masks",
            lambda folder: pairs.sample_masks(folder, paths.mask_diffusion),
            ("masks",),
            {
                "masks": sampling.drawn_masks,
                "after": sampling.images,
                **seeded,
                **given_model(config.mask_diffusion.folder, "mask_diffusion"),
            },
            step_if(MASK_DIFFUSION, config.mask_diffusion.plan is not None),
            units=sampling.drawn_masks,
            kind=SAMPLED_MASKS,
            unit_bytes=picture_bytes // 30,
        )
    yield Step(
        FILTERED_PAIRS,
        "drop implausible pairs and near-duplicates",
        lambda folder: pairs.filter_pairs(folder, paths.of(SAMPLED_IMAGES), paths.masks),
        (PAIRS_FILE, *step_if(DRAWN_FILE, bool(sampling.drawn_masks))),
        {
            **{key: value for key, value in asdict(config.filter).items() if key != "agreement"},
            **seeded,
            "scale": config.data.scale,
            "masks": config.data.masks,
            "images": run.training_digest,
        },
        (SAMPLED_IMAGES, *masks),
        units=count,
        kind=FILTERED_PAIRS,
        work_files=(DROPPED_FILE, DRAWN_DROPPED_FILE),
    )
    yield Step(
        VARIANTS,
        "sample images of the masks from the mask-conditioned cascade",
        lambda folder: pairs.sample_variants(folder, paths.masks, paths.of(FILTERED_PAIRS), paths.mask_cascade),
        ("images",),
        {
            "variants": sampling.variants,
            "given": list(sampling.given),
            "guidance": sampling.guidance,
            **seeded,
            **given_model(config.mask_cascade.folder, "mask_cascade"),
        },
        (*masks, FILTERED_PAIRS, *step_if(MASK_CASCADE, config.mask_cascade.plan is not None)),
        units=count * sampling.variants,
        kind=VARIANTS,
        unit_bytes=picture_bytes,
    )
    agreement = config.filter.agreement
    if agreement is not None:
        yield Step(
            AGREEMENT,
            "drop images that the segmentation model sees other nuclei in",
            lambda folder: pairs.judge_variants(
                folder, paths.masks, paths.of(FILTERED_PAIRS), paths.of(VARIANTS), paths.segmenter
            ),
            (AGREEMENT_FILE,),
            {"agreement": agreement, **given_model(config.segmentation.folder, "segmentation")},
            (*masks, FILTERED_PAIRS, VARIANTS, *([run.segmenter_step] if run.segmenter_step else [])),
            units=count * sampling.variants,
            kind=AGREEMENT,
        )
    yield Step(
        SYNTHETIC_PAIRS,
        "write the pairs as an nnU-Net dataset",
        lambda folder: pairs.export(
            folder,
            paths.masks,
            paths.of(FILTERED_PAIRS),
            paths.of(VARIANTS),
            paths.model_digests(),
            agreement=None if agreement is None else paths.of(AGREEMENT),
        ),
        (DATASET, PROVENANCE_FILE),
        {},
        (*masks, FILTERED_PAIRS, VARIANTS, *step_if(AGREEMENT, agreement is not None)),
        units=count * sampling.variants,
        kind=SYNTHETIC_PAIRS,
        unit_bytes=picture_bytes,
    )
