"""Cascades that are finished by lines of the configuration, within a run."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from cdm_core import Cascade
from cdm_core.distillation.finishing import FinishingConfig, FinishingPlan
from enrich_app.configurations import configuration_text
from maskcond import MaskCascade
from maskcond.enrichment import EnrichmentConfig, config_text, read_enrichment_config
from maskcond.enrichment.config import MaskDiffusionSource

RunApp = Callable[..., Any]


def finished(config: EnrichmentConfig) -> EnrichmentConfig:
    """The upper network of the unconditional cascade and the lower one of the mask-conditioned cascade are finished."""
    plan, training = config.mask_cascade.plan, config.cascade.training[0]
    assert plan is not None
    short = replace(training, steps=3, batch_size=2)
    finishing = FinishingPlan(short, FinishingConfig(starts_at=0, widths=(8, 8)), steps=1)
    lower, upper = (replace(each, training=short) for each in plan.networks)
    networks = (replace(lower, finishing=replace(finishing, steps=3)), upper)
    return replace(
        config,
        cascade=replace(config.cascade, finishing={32: finishing}),
        mask_cascade=replace(config.mask_cascade, plan=replace(plan, networks=networks)),
        mask_diffusion=MaskDiffusionSource(),
        sampling=replace(config.sampling, images=8, variants=1, drawn_masks=0),
        segmentation=replace(config.segmentation, strategies=("1",), seeds=1),
    )


def test_a_run_with_finished_cascades(run_app: RunApp, config_file: Path, tmp_path: Path) -> None:
    config_file.write_text(config_text(finished(read_enrichment_config(config_file))))
    run = tmp_path / "run"
    done = run_app("run", config_file, "--out", run, "--device", "cpu")
    assert done.code == 0, done.err

    def sampling(cascade: Cascade) -> list[tuple[str, int]]:
        return [(stage.sampling.method, stage.sampling.steps) for stage in cascade.config.stages]

    images, start = (Cascade.load(run / name / "model") for name in ("finished-cascade", "cascade"))
    assert sampling(images) == [("dpmpp_2m", 2), ("ddim", 1)]
    assert sampling(start) == [("dpmpp_2m", 2)] * 2
    moved = [
        any(not value.equal(before.state_dict()[name]) for name, value in after.state_dict().items())
        for before, after in zip(start.unets, images.unets, strict=True)
    ]
    assert moved == [False, True]
    assert images.provenance["steps"] == "32-finished 3 x 2"
    masked = MaskCascade.load(run / "mask-cascade" / "model")
    assert sampling(masked.cascade) == [("ddim", 3), ("dpmpp_2m", 2)]
    assert masked.provenance["start_steps"] == "16-images 5 x 4; 32-images 5 x 4"
    record = json.loads((run / "mask-cascade" / "step.json").read_text())
    assert record["units"] == 9
    again = run_app("run", config_file, "--out", run, "--device", "cpu", "--dry-run")
    assert "all steps are done" in again.out


def test_the_lines_that_a_configuration_offers_are_valid(tmp_path: Path) -> None:
    text = configuration_text("kumar-small")
    offered = text[text.index("# [cascade.finishing.64]") :].split("\n\n")[0]
    path = tmp_path / "plan.toml"
    path.write_text(text.replace(offered, offered.replace("# ", "")))
    chosen = read_enrichment_config(path).cascade.finishing
    assert chosen is not None
    assert chosen[64].steps == 4

    # the plan that a run's config.toml has in place of its name, and below a network the lines that are offered
    whole = config_text(read_enrichment_config(path))
    offered = text[text.index("# [mask_cascade.plan.networks.finishing]") :].split("\n\n")[0].replace("# ", "")
    before, after = whole.rsplit("[mask_cascade.plan.augmentation]", 1)
    path.write_text(f"{before}{offered}\n\n[mask_cascade.plan.augmentation]{after}")
    plan = read_enrichment_config(path).mask_cascade.plan
    assert plan is not None
    assert [network.finishing and network.finishing.steps for network in plan.networks] == [None, 4]
