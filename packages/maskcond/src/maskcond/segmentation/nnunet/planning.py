"""Preparation of labelled images for nnU-Net: fingerprint, plans, preprocessed pairs. Imports nnU-Net."""

import json
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from nnunetv2.experiment_planning.dataset_fingerprint.fingerprint_extractor import DatasetFingerprintExtractor
from nnunetv2.experiment_planning.experiment_planners.default_experiment_planner import ExperimentPlanner
from nnunetv2.experiment_planning.plans_for_pretraining.move_plans_between_datasets import move_plans_between_datasets
from nnunetv2.imageio.natural_image_reader_writer import NaturalImage2DIO
from nnunetv2.utilities.plans_handling.plans_handler import PlansManager

from maskcond.segmentation.nnunet.settings import NnUnetSettings

DATASET, GIVEN = "Dataset001_pairs", "Dataset002_plans"
PLANS, CONFIGURATION = "nnUNetPlans", "2d"
VALUES = 100_000


class PatchPlanner(ExperimentPlanner):  # type: ignore[misc]
    """nnU-Net's planner, for a given crop size and batch size.

    By default nnU-Net plans crops as large as the images, if memory allows, and batches of at most 5 % of the data set:
    two crops for 16 images.
    """

    def __init__(self, dataset: str, settings: NnUnetSettings) -> None:
        super().__init__(dataset)
        self.settings = settings
        self.UNet_base_num_features = settings.base_features
        self.dataset_fingerprint["shapes_after_crop"] = [
            [depth, min(height, settings.patch_px), min(width, settings.patch_px)]
            for depth, height, width in self.dataset_fingerprint["shapes_after_crop"]
        ]

    def get_plans_for_configuration(self, *args: Any, **kwargs: Any) -> dict[str, Any]:
        """The plan of a configuration, with our batch size."""
        plan: dict[str, Any] = super().get_plans_for_configuration(*args, **kwargs)
        return {**plan, "batch_size": self.settings.batch_size}


def plan(folder: Path, settings: NnUnetSettings) -> Path:
    """Makes plans for the data set in `raw`; returns their file."""
    _write_fingerprint(folder)
    PatchPlanner(DATASET, settings).plan_experiment()
    return folder / "preprocessed" / DATASET / f"{PLANS}.json"


def take_plans(folder: Path, plans: Path) -> Path:
    """Transfers given plans to the data set in `raw` with nnU-Net's own function; returns their file.

    Source: nnU-Net's documentation, 'Pretraining with nnU-Net': pre-training and fine-tuning use the same plans, made
    for the data set of the fine-tuning.
    """
    _write_fingerprint(folder)
    given = folder / "preprocessed" / GIVEN
    given.mkdir()
    shutil.copyfile(plans, given / f"{PLANS}.json")
    move_plans_between_datasets(GIVEN, DATASET, PLANS, PLANS)
    (given / f"{PLANS}.json").unlink()
    given.rmdir()
    shutil.copyfile(folder / "raw" / DATASET / "dataset.json", folder / "preprocessed" / DATASET / "dataset.json")
    return folder / "preprocessed" / DATASET / f"{PLANS}.json"


def preprocess(folder: Path, plans: Path, threads: int) -> None:
    """Preprocesses the data set in `raw` by its plans.

    nnU-Net's own loop starts processes, which import torch again; threads suffice, because the work is in C.
    """
    manager = PlansManager(str(plans))
    configuration = manager.get_configuration(CONFIGURATION)
    out = plans.parent / configuration.data_identifier
    out.mkdir()
    dataset = _dataset_json(folder)
    preprocessor = configuration.preprocessor_class(verbose=False)

    def save(case: str, files: dict[str, Any]) -> None:
        preprocessor.run_case_save(str(out / case), files["images"], files["label"], manager, configuration, dataset)

    cases = _cases(folder)
    with ThreadPoolExecutor(max(1, threads)) as pool:
        for _ in pool.map(save, cases.keys(), cases.values()):
            pass


def _write_fingerprint(folder: Path) -> None:
    """Writes the fingerprint of all cases, from which plans are made.

    nnU-Net's own extractor keeps 1e8 pixel values in separate processes: 4 GB, for statistics that RGB images do not
    use.
    """
    cases = _cases(folder)
    fingerprints = [
        DatasetFingerprintExtractor.analyze_case(
            files["images"], files["label"], NaturalImage2DIO, max(1, VALUES // len(cases))
        )
        for files in cases.values()
    ]
    shapes, spacings, values, _, sizes = zip(*fingerprints, strict=True)
    fingerprint = {
        "spacings": [[float(value) for value in spacing] for spacing in spacings],
        "shapes_after_crop": [[int(side) for side in shape] for shape in shapes],
        "foreground_intensity_properties_per_channel": {
            str(channel): _statistics(np.concatenate(parts)) for channel, parts in enumerate(zip(*values, strict=True))
        },
        "median_relative_size_after_cropping": float(np.median(sizes)),
    }
    target = folder / "preprocessed" / DATASET
    target.mkdir(parents=True)
    (target / "dataset_fingerprint.json").write_text(json.dumps(fingerprint), encoding="utf-8")


def _statistics(values: Any) -> dict[str, float]:
    low, median, high = np.percentile(values, (0.5, 50, 99.5))
    return {
        "mean": float(values.mean()),
        "median": float(median),
        "std": float(values.std()),
        "min": float(values.min()),
        "max": float(values.max()),
        "percentile_99_5": float(high),
        "percentile_00_5": float(low),
    }


def _dataset_json(folder: Path) -> dict[str, Any]:
    dataset: dict[str, Any] = json.loads((folder / "raw" / DATASET / "dataset.json").read_text(encoding="utf-8"))
    return dataset


def _cases(folder: Path) -> dict[str, dict[str, Any]]:
    """The files of each case; nnU-Net's own function starts a pool of processes for this list."""
    dataset = folder / "raw" / DATASET
    return {
        path.stem: {"images": [str(dataset / "imagesTr" / f"{path.stem}_0000.png")], "label": str(path)}
        for path in sorted((dataset / "labelsTr").iterdir())
    }
