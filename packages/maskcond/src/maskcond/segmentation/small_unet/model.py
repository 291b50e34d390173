"""A small U-Net, for quick runs: the plain network of nnU-Net without its planning."""

import functools
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from cdm_core.config_file import dump_config, parse_config
from maskcond.masks.arrays import Image, Labels
from maskcond.masks.classes import KUMAR_BORDER, ClassSet
from maskcond.masks.distances import instances_from_distances
from maskcond.masks.instances import border_labels
from maskcond.segmentation.errors import SegmentationError
from maskcond.segmentation.loading import Workers, check_workers
from maskcond.segmentation.model import FitProgress, Pairs
from maskcond.segmentation.model_record import WEIGHTS_FILE, ModelRecord, check_start, claim_folder, read_record
from maskcond.segmentation.pairs import check_pairs
from maskcond.segmentation.small_unet.network import build_network
from maskcond.segmentation.small_unet.settings import SmallUnetSettings
from maskcond.segmentation.small_unet.tiles import mean_over_flips, predict_tiled
from maskcond.segmentation.small_unet.training import train
from maskcond.segmentation.weights import load_network
from run_folder import FolderLock, file_sha256

KIND = "small-unet"
NETWORK = ("features", "block_px", "distances")
"""The settings that make the network."""


class SmallUnet:
    """A small U-Net, trained on augmented crops with Dice and cross-entropy; a `SegmentationModel`.

    Args:
        folder: Folder of the model; made by `fit`.
        classes: Classes of the labels.
        settings: Settings of network and training.
        device: Device of the network.
        checkpoint_every: Steps between checkpoints of a training.
        workers: Number of processes that read and augment crops; it does not change the crops. 0: none; 'auto': all
            cores but one for a GPU, none for the CPU.
    """

    def __init__(
        self,
        folder: Path,
        classes: ClassSet,
        settings: SmallUnetSettings = SmallUnetSettings(),  # noqa: B008 - frozen
        *,
        device: str | torch.device = "cpu",
        checkpoint_every: int = 200,
        workers: Workers = "auto",
    ) -> None:
        weights, wanted = settings.class_weights, len(classes.classes) + 1
        if weights is not None and len(weights) != wanted:
            raise SegmentationError(f"wanted {wanted} class weights, the background's first, got {len(weights)}")
        if settings.distances and classes != KUMAR_BORDER:
            raise SegmentationError(
                f"distances: wanted the classes {' and '.join(KUMAR_BORDER.names)}, got {' and '.join(classes.names)}"
            )
        check_workers(workers)
        self.folder = Path(folder)
        self.classes = classes
        self.settings = settings
        self.device = torch.device(device)
        self.checkpoint_every = checkpoint_every
        self.workers = workers

    @classmethod
    def open(cls, folder: Path, *, device: str | torch.device = "cpu") -> "SmallUnet":
        """Opens the model of a folder, whether its training is complete or not.

        Raises:
            SegmentationError: The folder has no model, or one of another kind.
        """
        record = read_record(Path(folder), KIND, SmallUnetSettings)
        settings = parse_config(SmallUnetSettings, record.settings, str(folder))
        return cls(folder, record.classes, settings, device=device)

    @property
    def is_trained(self) -> bool:
        """Whether the training is complete, so that the model can predict."""
        return (self.folder / WEIGHTS_FILE).exists()

    def fit(self, pairs: Pairs, *, seed: int = 0, start_from: Path | None = None) -> Iterator[FitProgress]:
        """Trains the model, an event for each step; see `SegmentationModel.fit`.

        The crops of a step depend on the seed and the step alone, so an interruption does not change the result.
        """
        network = self._network(seed)
        start = None if start_from is None else check_start(start_from, KIND, self.classes, self.settings, NETWORK)
        record = ModelRecord(
            kind=KIND,
            classes=self.classes,
            settings=dump_config(self.settings),
            seed=seed,
            pairs=len(pairs),
            pairs_sha256=check_pairs(pairs, self.classes, min_side_px=self.settings.crop_px),
            start_sha256="" if start is None else file_sha256(start),
        )
        with FolderLock(self.folder):
            claim_folder(self.folder, record, SmallUnetSettings)
            if self.is_trained:
                return
            if start is not None:
                load_network(network, start)
            yield from train(
                network.to(self.device),
                pairs,
                self.settings,
                folder=self.folder,
                seed=seed,
                checkpoint_every=self.checkpoint_every,
                workers=self.workers,
            )

    def predict(self, images: Iterable[Image]) -> Iterator[Labels]:
        """Labels images of any size; see `SegmentationModel.predict`.

        Larger images are processed in tiles of the training size, because the normalisation depends on the tile.
        """
        network = self._network(0)
        load_network(network, self.folder / WEIGHTS_FILE)
        network.to(self.device).eval()
        predict = functools.partial(self._predict, network)
        for image in images:
            with torch.inference_mode():
                values = predict_tiled(
                    image,
                    functools.partial(mean_over_flips, predict) if self.settings.flips else predict,
                    channels=self._channels,
                    tile_px=self.settings.crop_px,
                    multiple=self.settings.multiple,
                    device=self.device,
                )
            if self.settings.distances:
                nuclei = instances_from_distances(values[1:-1].sum(axis=0) > 0.5, values[-1])
                yield border_labels(nuclei)
            else:
                yield np.asarray(values.argmax(axis=0), np.uint8)

    @property
    def _channels(self) -> int:
        """Number of outputs of the network: a logit for each class and the background, and the distance."""
        return len(self.classes.classes) + 1 + self.settings.distances

    def _network(self, seed: int) -> nn.Module:
        settings = self.settings
        return build_network(settings.features, block_px=settings.block_px, outputs=self._channels, seed=seed)

    def _predict(self, network: nn.Module, images: Tensor) -> Tensor:
        """Probabilities of the classes and, if the network has learnt it, the distance: (B, C, H, W)."""
        outputs: Tensor = network(images).float()
        count = len(self.classes.classes) + 1
        return torch.cat([outputs[:, :count].softmax(dim=1), outputs[:, count:]], dim=1)
