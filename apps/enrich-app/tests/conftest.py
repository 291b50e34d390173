from pathlib import Path

import numpy as np
import PIL.Image
import pytest

from cdm_core import SamplingConfig, TrainingConfig
from cdm_core.testing.tiny import tiny_stage
from maskcond import (
    KUMAR,
    KUMAR_BORDER,
    KUMAR_CONDITIONS,
    Augmentation,
    MaskDiffusionNetwork,
    MaskDiffusionPlan,
    MaskInput,
    MaskNetworkPlan,
    MaskPictures,
    MaskPlan,
)
from maskcond.enrichment.config import (
    CascadeSource,
    DataConfig,
    EnrichmentConfig,
    EvaluationConfig,
    FilterConfig,
    MaskCascadeSource,
    MaskDiffusionSource,
    SamplingPlan,
    SegmentationConfig,
    config_text,
)
from maskcond.segmentation import SmallUnetSettings
from maskcond.segmentation.small_unet.plan import SmallUnetPlan
from run_folder.cli.testing import app_fixture

run_app = app_fixture("enrich-app")


def write_tissue(folder: Path, name: str, seed: int, side_px: int = 64) -> None:
    """Violet nuclei, round, on pink tissue, as an image and a picture of their numbers."""
    rng = np.random.default_rng(seed)
    rows, cols = np.indices((side_px, side_px))
    instances = np.zeros((side_px, side_px), np.uint16)
    for number in range(1, 13):
        row, col, radius = rng.uniform((3, 3, 4), (side_px - 3, side_px - 3, 7))
        instances[(rows - row) ** 2 + (cols - col) ** 2 < radius**2] = number
    image = np.where(instances[..., None] > 0, (105, 60, 140), (230, 170, 200)) + rng.normal(
        0, 8, (side_px, side_px, 3)
    )
    PIL.Image.fromarray(image.clip(0, 255).astype(np.uint8)).save(folder / "images" / f"{name}.png")
    PIL.Image.fromarray(instances).save(folder / "instances" / f"{name}.png")


@pytest.fixture(scope="session")
def kumar(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in KUMAR's form, of made-up images: four to train on, two seen, two unseen."""
    folder = tmp_path_factory.mktemp("data") / "kumar"
    for part in ("images", "instances"):
        (folder / part).mkdir(parents=True)
    lines = ["image,split,organ,disease"]
    for split, count in (("train", 4), ("seen", 2), ("unseen", 2)):
        for number in range(count):
            write_tissue(folder, f"{split}-{number}", len(lines))
            lines.append(f"{split}-{number},{split},Breast,Breast invasive carcinoma")
    (folder / "index.csv").write_text("\n".join(lines) + "\n")
    return folder


def tiny_config(kumar: Path) -> EnrichmentConfig:
    """Networks of 16 and 32 px and few steps."""
    sampling = SamplingConfig(2, "dpmpp_2m", lowres_noise=0.1)
    training = TrainingConfig(5, 4, learning_rate=5e-3, ema_decay=0.5)
    networks = (
        MaskNetworkPlan(tiny_stage(16, sampling=sampling), training),
        MaskNetworkPlan(tiny_stage(32, 16, sampling), training),
    )
    plan = MaskPlan(MaskInput.of(KUMAR, KUMAR_CONDITIONS), networks, Augmentation(crop_px=32))
    first = SmallUnetSettings((8, 16), 20, 4, learning_rate=1e-2, augmentation=Augmentation(crop_px=32))
    more = SmallUnetSettings((8, 16), 5, 4, augmentation=Augmentation(crop_px=32))
    masks = MaskDiffusionPlan(
        MaskPictures(KUMAR_BORDER.classes),
        (MaskDiffusionNetwork(tiny_stage(32, sampling=sampling), training),),
        Augmentation(crop_px=32),
    )
    return EnrichmentConfig(
        DataConfig(kumar=kumar, annotated=3),
        CascadeSource(training=(training, training)),
        MaskCascadeSource(plan=plan),
        SamplingPlan(8, 2, batch_size=2, drawn_masks=4),
        FilterConfig(outside=0.0, copies=0.0, crops=40, looks=False),
        SegmentationConfig(
            small_unet=SmallUnetPlan(first, more), strategies=("1", "1c", "2", "5"), seeds=2, synthetic_share=0.5
        ),
        EvaluationConfig(resamples=200),
        MaskDiffusionSource(plan=masks),
    )


@pytest.fixture
def config_file(kumar: Path, tmp_path: Path) -> Path:
    """The configuration of a tiny run, as a file."""
    path = tmp_path / "tiny.toml"
    path.write_text(config_text(tiny_config(kumar)))
    return path
