"""Training plans by name: the study's ultra-resolution cascades, of kidney slides and of aerial pictures."""

from cdm_core.presets import preset
from urcdm.config import Level, NetworkPlan, TrainingPlan, UrcdmConfig
from wsi_tiling import STUDY, TissueRule

STUDY_KIDNEY = UrcdmConfig(
    levels=(Level("low", 40_000, 1024), Level("medium", 6_500, 1024), Level("high", 1_024, 1024)),
    mpp=0.25,  # a scan at 40x; the study counts in level-0 pixels whatever their size
    fill=(242, 243, 242),
    context="plain",
    context_noise=0.0,
    max_context_noise=0.0,
    tissue=STUDY,
)
STUDY_AIRS = UrcdmConfig(
    levels=(Level("low", 10_000, 1024), Level("medium", 3_328, 1024), Level("high", 1_024, 1024)),
    mpp=75_000.0,  # 7.5 cm of ground a pixel
    fill=(0, 0, 0),
    context="plain",
    context_noise=0.0,
    max_context_noise=0.0,
    tissue=TissueRule.everything(),
)


def study_plan(config: UrcdmConfig, *, as_in_code: bool = False) -> TrainingPlan:
    """Returns the study's plan for three levels named low, medium and high: nine networks.

    Args:
        config: The levels.
        as_in_code: The last network of each level as in the study's code rather than its text, see
            `cdm_core.presets`.
    """
    networks = []
    for level in config.levels:
        chosen = preset(f"urcdm-{level.name}" + ("-code" if as_in_code else ""))
        for stage, training in zip(chosen.cascade.stages, chosen.training, strict=True):
            networks.append(NetworkPlan(level.name, stage, training))
    return TrainingPlan(config, tuple(networks))


PLANS: dict[str, TrainingPlan] = {
    "study": study_plan(STUDY_KIDNEY),
    "study-code": study_plan(STUDY_KIDNEY, as_in_code=True),
    "airs": study_plan(STUDY_AIRS),
}
