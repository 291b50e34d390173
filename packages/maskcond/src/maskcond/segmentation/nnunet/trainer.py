"""nnU-Net's trainer, with the study's learning rate and augmentation. Imports nnU-Net."""

import json
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from batchgeneratorsv2.transforms.spatial.spatial import SpatialTransform
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer

from maskcond.segmentation.learning_rate import learning_rate
from maskcond.segmentation.loading import Workers, load_batches
from maskcond.segmentation.nnunet.batches import SeededBatches, as_it_is
from maskcond.segmentation.nnunet.planning import CONFIGURATION
from maskcond.segmentation.nnunet.settings import NnUnetSettings


class FallingRate:
    """The learning rate schedule, with the interface that nnU-Net expects."""

    def __init__(self, optimiser: torch.optim.Optimizer, settings: NnUnetSettings) -> None:
        self.optimiser = optimiser
        self.settings = settings

    def step(self, epoch: int) -> None:
        """Sets the learning rate of an epoch, counted from 0."""
        settings = self.settings
        share = epoch / max(1, settings.epochs - 1)
        for group in self.optimiser.param_groups:
            group["lr"] = learning_rate(share, first=settings.learning_rate, last=settings.final_learning_rate)


class MaskcondTrainer(nnUNetTrainer):  # type: ignore[misc]
    """nnU-Net's trainer on all pairs, one epoch a call, without plots and without a 'best' checkpoint."""

    settings: NnUnetSettings
    batch_seed: int | None
    workers: Workers

    @classmethod
    def make(
        cls,
        plans: Path,
        settings: NnUnetSettings,
        *,
        device: torch.device,
        checkpoint_every: int,
        batch_seed: int | None,
        workers: Workers,
    ) -> "MaskcondTrainer":
        """Makes a trainer from the plans of a preprocessed data set; its network has fresh weights.

        Args:
            plans: File of the plans.
            settings: Settings of the training.
            device: Device of the network.
            checkpoint_every: Epochs between checkpoints.
            batch_seed: Seed of the batches, which depend on it and on their number; None: batches are sampled in this
                process, one after the other.
            workers: Number of processes that make the batches.
        """
        # nnU-Net inspects the names of its constructor's arguments, so ours are set afterwards
        trainer = cls(
            {**json.loads(plans.read_text(encoding="utf-8")), "continue_training": False},
            CONFIGURATION,
            "all",
            json.loads((plans.parent / "dataset.json").read_text(encoding="utf-8")),
            device,
        )
        trainer.settings, trainer.batch_seed, trainer.workers = settings, batch_seed, workers
        trainer.num_epochs = settings.epochs
        trainer.num_iterations_per_epoch = settings.steps_per_epoch
        trainer.num_val_iterations_per_epoch = 1  # on training pairs: meaningless, but the log needs it
        trainer.initial_lr = settings.learning_rate
        trainer.save_every = checkpoint_every
        trainer._best_ema = np.inf  # so no epoch counts as better
        trainer.initialize()
        return trainer

    @property
    def plain_network(self) -> torch.nn.Module:
        """The network, without the wrapping of `torch.compile`."""
        wrapped: Any = self.network
        network: torch.nn.Module = getattr(wrapped, "_orig_mod", wrapped)
        return network

    @property
    def latest_checkpoint(self) -> Path:
        """The checkpoint from which an interrupted training continues; missing before the first checkpoint."""
        return Path(self.output_folder) / "checkpoint_latest.pth"

    @property
    def rate(self) -> float:
        """The current learning rate."""
        return float(self.optimizer.param_groups[0]["lr"])

    def run_epoch(self) -> float:
        """Runs one epoch, as the loop of `run_training` does; returns the mean loss."""
        self.on_epoch_start()
        self.on_train_epoch_start()
        outputs = [self.train_step(next(self.dataloader_train)) for _ in range(self.num_iterations_per_epoch)]
        self.on_train_epoch_end(outputs)
        with torch.no_grad():
            self.on_validation_epoch_start()
            self.on_validation_epoch_end([self.validation_step(next(self.dataloader_val))])
        self.on_epoch_end()
        return float(np.mean([output["loss"] for output in outputs]))

    def get_dataloaders(self) -> tuple[Iterator[Any], Iterator[Any]]:
        """nnU-Net's data loaders, with `SeededBatches` for training, from the current epoch on."""
        train, validation = super().get_dataloaders()
        if self.batch_seed is not None:
            steps = self.num_iterations_per_epoch
            numbers = range(self.current_epoch * steps, self.num_epochs * steps)
            batches = SeededBatches(train.data_loader, self.batch_seed)
            train = load_batches(batches, numbers, self.device, self.workers, batch_size=None, collate_fn=as_it_is)
        return train, validation

    def end_workers(self) -> None:
        """Ends the processes that make batches."""
        if isinstance(self.dataloader_train, Generator):
            self.dataloader_train.close()

    def configure_optimizers(self) -> tuple[torch.optim.Optimizer, FallingRate]:
        """nnU-Net's optimiser, with our learning rate."""
        optimiser, _ = super().configure_optimizers()
        return optimiser, FallingRate(optimiser, self.settings)

    def get_training_transforms(self, *args: Any, **kwargs: Any) -> Any:
        """nnU-Net's augmentation, with elastic deformation."""
        chain = super().get_training_transforms(*args, **kwargs)
        for transform in chain.transforms:
            if isinstance(transform, SpatialTransform):
                transform.p_elastic_deform = self.settings.elastic_share
        return chain

    def plot_network_architecture(self) -> None:
        """Does nothing: no picture of the network is wanted."""

    def on_train_start(self) -> None:
        """Prepares the training as nnU-Net does, without a plot of the progress after each epoch."""
        self.logger.local_logger.plot_progress_png = lambda folder: None
        super().on_train_start()
