"""nnU-Net's predictor, made from a model's folder. Imports nnU-Net."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor
from nnunetv2.utilities.plans_handling.plans_handler import PlansManager

from maskcond.masks.arrays import Image, Labels
from maskcond.segmentation.nnunet.dataset import CHANNELS
from maskcond.segmentation.nnunet.planning import CONFIGURATION
from maskcond.segmentation.nnunet.trainer import MaskcondTrainer

SPACING = (999, 1, 1)
"""Spacing that nnU-Net's reader gives to two-dimensional images."""


def make_predictor(plans: Path, dataset: Path, device: torch.device) -> Any:
    """Makes a predictor with an untrained network; tiles overlap by half, and the results of all flips are averaged."""
    manager = PlansManager(str(plans))
    configuration = manager.get_configuration(CONFIGURATION)
    described = json.loads(dataset.read_text(encoding="utf-8"))
    heads = manager.get_label_manager(described).num_segmentation_heads
    network = MaskcondTrainer.build_network_architecture(
        manager, configuration, len(CHANNELS), heads, enable_deep_supervision=False
    )
    predictor = nnUNetPredictor(device=device, perform_everything_on_device=device.type == "cuda", allow_tqdm=False)
    predictor.manual_initialization(
        network,
        manager,
        configuration,
        None,
        described,
        MaskcondTrainer.__name__,
        inference_allowed_mirroring_axes=(0, 1),
    )
    return predictor


def predict_labels(predictor: Any, image: Image) -> Labels:
    """Labels one image."""
    channels = np.asarray(image.transpose(2, 0, 1)[:, None], np.float32)
    labels = predictor.predict_single_npy_array(channels, {"spacing": SPACING})
    return np.asarray(labels[0], np.uint8)
