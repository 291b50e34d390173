"""The training of the small U-Net."""

import math
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from maskcond.augmentation import Augmentation, augment
from maskcond.segmentation.errors import SegmentationError
from maskcond.segmentation.learning_rate import learning_rate
from maskcond.segmentation.loss import dice_cross_entropy
from maskcond.segmentation.model import FitProgress, Pairs
from maskcond.segmentation.model_record import WEIGHTS_FILE
from maskcond.segmentation.pairs import labels_of
from maskcond.segmentation.small_unet_settings import SmallUnetSettings
from maskcond.segmentation.weights import save_network
from run_folder import whole_file

CHECKPOINT_FILE = "training.pt"


class Crops(Dataset[tuple[Tensor, Tensor]]):
    """Augmented crops without end: the n-th is always the same.

    Args:
        pairs: Each is as likely as any other.
        augmentation: What happens to a crop.
        seed: Of the draws.
    """

    def __init__(self, pairs: Pairs, augmentation: Augmentation, seed: int) -> None:
        self.pairs = pairs
        self.augmentation = augmentation
        self.seed = seed

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        """The crop (3, h, w) float32 in [-1, 1], and its labels (h, w) int64."""
        generator = np.random.default_rng((self.seed, index))
        pair = self.pairs[int(generator.integers(len(self.pairs)))]
        image, labels = augment(pair.image, labels_of(pair), self.augmentation, generator)
        return torch.from_numpy(image).movedim(-1, 0) / 127.5 - 1, torch.from_numpy(labels.astype(np.int64))


def train(
    network: nn.Module,
    pairs: Pairs,
    settings: SmallUnetSettings,
    *,
    folder: Path,
    seed: int,
    checkpoint_every: int,
    workers: int,
) -> Iterator[FitProgress]:
    """Trains a network from the checkpoint in its folder, or from its weights if there is none; then saves it there.

    Raises:
        SegmentationError: The loss is no longer finite.
    """
    device = next(network.parameters()).device
    optimiser = torch.optim.AdamW(network.parameters(), lr=settings.learning_rate)
    checkpoint = folder / CHECKPOINT_FILE
    first = _load(checkpoint, network, optimiser, device) if checkpoint.exists() else 0
    weights = None if settings.class_weights is None else torch.tensor(settings.class_weights, device=device)
    batches = DataLoader(
        Crops(pairs, settings.augmentation, seed),
        batch_size=settings.batch_size,
        sampler=range(first * settings.batch_size, settings.steps * settings.batch_size),
        num_workers=workers,
        generator=torch.Generator(),  # else it draws from the global one
    )
    network.train()
    for step, (images, labels) in enumerate(batches, first):
        rate = learning_rate(step / settings.steps, first=settings.learning_rate, last=settings.final_learning_rate)
        for group in optimiser.param_groups:
            group["lr"] = rate
        with torch.autocast(device.type, torch.bfloat16, enabled=device.type == "cuda"):
            logits = network(images.to(device))
        loss = dice_cross_entropy(logits.float(), labels.to(device), weights)
        if not math.isfinite(value := loss.item()):
            raise SegmentationError(f"the loss was not finite in step {step + 1}; lower the learning rate")
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(network.parameters(), 12.0)
        optimiser.step()
        if (step + 1) % checkpoint_every == 0 and step + 1 < settings.steps:
            _save(checkpoint, network, optimiser, step + 1)
        yield FitProgress(step + 1, settings.steps, value, rate)
    save_network(network, folder / WEIGHTS_FILE)
    checkpoint.unlink(missing_ok=True)


def _save(path: Path, network: nn.Module, optimiser: torch.optim.Optimizer, step: int) -> None:
    with whole_file(path) as partial:
        torch.save({"step": step, "network": network.state_dict(), "optimiser": optimiser.state_dict()}, partial)


def _load(path: Path, network: nn.Module, optimiser: torch.optim.Optimizer, device: torch.device) -> int:
    """Reads a checkpoint; returns the steps that were done."""
    state = torch.load(path, map_location=device, weights_only=True)
    network.load_state_dict(state["network"])
    optimiser.load_state_dict(state["optimiser"])
    return int(state["step"])
