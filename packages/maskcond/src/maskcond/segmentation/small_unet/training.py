"""The training of the small U-Net."""

import math
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import Dataset

from cdm_core.stages.inference import fastest_precision
from maskcond.masks.arrays import Numbers
from maskcond.masks.augmentation import Augmentation, augment
from maskcond.masks.distances import distance_map
from maskcond.masks.instances import border_labels, split_parts
from maskcond.segmentation.errors import SegmentationError
from maskcond.segmentation.learning_rate import learning_rate
from maskcond.segmentation.loading import Workers, load_batches
from maskcond.segmentation.model import FitProgress, Pairs
from maskcond.segmentation.model_record import WEIGHTS_FILE
from maskcond.segmentation.pairs import labels_of
from maskcond.segmentation.small_unet.loss import segmentation_loss
from maskcond.segmentation.small_unet.settings import SmallUnetSettings
from maskcond.segmentation.weights import save_network
from run_folder import whole_file

CHECKPOINT_FILE = "training.pt"
READ_EVERY = 10
"""Steps between two readings of the losses from a GPU; reading every step would make the GPU wait."""


class Crops(Dataset[tuple[Tensor, ...]]):
    """An endless sequence of augmented crops; the n-th is always the same.

    Args:
        pairs: Training pairs, sampled uniformly.
        augmentation: Augmentation of the crops.
        seed: Seed of the sampling.
        distances: Whether crops have a distance map, too; labels are then of `maskcond.KUMAR_BORDER`.
    """

    def __init__(self, pairs: Pairs, augmentation: Augmentation, seed: int, *, distances: bool = False) -> None:
        self.pairs = pairs
        self.augmentation = augmentation
        self.seed = seed
        self.distances = distances

    def __getitem__(self, index: int) -> tuple[Tensor, ...]:
        """The crop (3, h, w) float32 in [-1, 1], its labels (h, w) int64, and its distance map (h, w) if wanted."""
        generator = np.random.default_rng((self.seed, index))
        pair = self.pairs[int(generator.integers(len(self.pairs)))]
        mask: Numbers = pair.nuclei if self.distances else labels_of(pair)
        image, mask = augment(pair.image, mask, self.augmentation, generator)
        pixels = torch.from_numpy(image).movedim(-1, 0) / 127.5 - 1
        if not self.distances:
            return pixels, torch.from_numpy(mask.astype(np.int64))
        nuclei = split_parts(mask)
        labels = torch.from_numpy(border_labels(nuclei).astype(np.int64))
        return pixels, labels, torch.from_numpy(distance_map(nuclei))


class Losses:
    """The losses of a training, read from the device at intervals.

    Args:
        every: Number of steps between two readings.
    """

    def __init__(self, every: int) -> None:
        self.every, self.last = every, math.nan
        self._unread: list[Tensor] = []

    def add(self, loss: Tensor, step: int, *, read: bool) -> float:
        """Takes the loss of a step and returns the last loss that was read.

        Args:
            loss: The loss, ().
            step: Number of the step, from 1.
            read: Whether to read it now in any case.

        Raises:
            SegmentationError: A loss that was read is not finite.
        """
        self._unread.append(loss.detach())
        if read or math.isnan(self.last) or step % self.every == 0:
            first, values = step + 1 - len(self._unread), torch.stack(self._unread).tolist()
            for number, value in enumerate(values, first):
                if not math.isfinite(value):
                    raise SegmentationError(f"the loss was not finite in step {number}; lower the learning rate")
            self.last = values[-1]
            self._unread.clear()
        return self.last


def train(
    network: nn.Module,
    pairs: Pairs,
    settings: SmallUnetSettings,
    *,
    folder: Path,
    seed: int,
    checkpoint_every: int,
    workers: Workers,
) -> Iterator[FitProgress]:
    """Trains a network from the checkpoint in its folder, or else from its weights, and saves it in the folder.

    On a GPU the loss in the events is the last one that was read, see `READ_EVERY`.

    Raises:
        SegmentationError: The loss is not finite, or a worker process died.
    """
    device = next(network.parameters()).device
    on_gpu = device.type == "cuda"
    optimiser = torch.optim.AdamW(network.parameters(), lr=settings.learning_rate, fused=True if on_gpu else None)
    checkpoint = folder / CHECKPOINT_FILE
    first = _load(checkpoint, network, optimiser) if checkpoint.exists() else 0
    weights = None if settings.class_weights is None else torch.tensor(settings.class_weights, device=device)
    losses, mixed = Losses(READ_EVERY if on_gpu else 1), fastest_precision(device) == "bf16"
    batches = load_batches(
        Crops(pairs, settings.augmentation, seed, distances=settings.distances),
        range(first * settings.batch_size, settings.steps * settings.batch_size),
        device,
        workers,
        batch_size=settings.batch_size,
    )
    network.train()
    for step, (images, *targets) in enumerate(batches, first):
        rate = learning_rate(step / settings.steps, first=settings.learning_rate, last=settings.final_learning_rate)
        for group in optimiser.param_groups:
            group["lr"] = rate
        with torch.autocast(device.type, torch.bfloat16, enabled=mixed):
            outputs = network(images.to(device, non_blocking=True))
        loss = segmentation_loss(outputs.float(), [target.to(device, non_blocking=True) for target in targets], weights)
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(network.parameters(), 12.0)
        optimiser.step()
        saves = (step + 1) % checkpoint_every == 0 and step + 1 < settings.steps
        value = losses.add(loss, step + 1, read=saves or step + 1 == settings.steps)
        if saves:
            _save(checkpoint, network, optimiser, step + 1)
        yield FitProgress(step + 1, settings.steps, value, rate)
    save_network(network, folder / WEIGHTS_FILE)
    checkpoint.unlink(missing_ok=True)


def _save(path: Path, network: nn.Module, optimiser: torch.optim.Optimizer, step: int) -> None:
    with whole_file(path) as partial:
        torch.save({"step": step, "network": network.state_dict(), "optimiser": optimiser.state_dict()}, partial)


def _load(path: Path, network: nn.Module, optimiser: torch.optim.Optimizer) -> int:
    """Reads a checkpoint; returns the number of steps done."""
    state = torch.load(path, map_location="cpu", weights_only=True)
    network.load_state_dict(state["network"])
    # the optimiser keeps this run's settings, because the checkpoint may come from another device
    groups = optimiser.state_dict()["param_groups"]
    optimiser.load_state_dict({"state": state["optimiser"]["state"], "param_groups": groups})
    return int(state["step"])
