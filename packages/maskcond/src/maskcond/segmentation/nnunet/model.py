"""nnU-Net v2 as a segmentation model, by its Python interface."""

import hashlib
import json
import shutil
import uuid
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from cdm_core.config_file import dump_config, parse_config
from cdm_core.training.prepared_examples import count_workers
from maskcond.masks.arrays import Image, Labels, check_image
from maskcond.masks.classes import ClassSet, check_class_names
from maskcond.segmentation.errors import SegmentationError
from maskcond.segmentation.extras import import_extra
from maskcond.segmentation.loading import Workers, check_workers
from maskcond.segmentation.model import FitProgress, Pairs
from maskcond.segmentation.model_record import (
    MODEL_FILE,
    WEIGHTS_FILE,
    ModelRecord,
    check_start,
    claim_folder,
    read_record,
)
from maskcond.segmentation.nnunet.dataset import export_nnunet_dataset
from maskcond.segmentation.nnunet.session import nnunet_session
from maskcond.segmentation.nnunet.settings import NnUnetSettings
from maskcond.segmentation.pairs import check_pairs
from maskcond.segmentation.weights import load_network, save_network
from run_folder import FolderLock, file_sha256, whole_file

KIND = "nnunet"
PLANS_FILE, DATASET_FILE = "plans.json", "dataset.json"
WORK_FOLDER = "nnunet"
WORK_PARTS = ("raw", "preprocessed", "results")
"""Folders that nnU-Net writes during training; they are removed afterwards, and its log stays."""


class NnUnet:
    """nnU-Net v2, two-dimensional, trained on all pairs; a `SegmentationModel`.

    On CUDA nnU-Net compiles its network, unless the environment has nnUNet_compile=0.

    A model that is fine-tuned later needs plans that fit the pairs of the fine-tuning: make them beforehand with
    `plan_nnunet`, and give them to all models involved.

    Args:
        folder: Folder of the model; made by `fit`.
        classes: Classes of the labels.
        settings: Settings of planning and training.
        plans: File of the plans. None: the plans of the model to start from, or else plans made from the pairs.
        device: Device of the network, 'cpu' or 'cuda'.
        checkpoint_every: Epochs between checkpoints of a training.
        workers: Number of processes that augment crops and of threads that preprocess; it does not change the crops.
            0: none; 'auto': all cores but one for a GPU, none for the CPU. A training begun by an earlier version
            continues without worker processes, as it began.
    """

    def __init__(
        self,
        folder: Path,
        classes: ClassSet,
        settings: NnUnetSettings = NnUnetSettings(),  # noqa: B008 - frozen
        *,
        plans: Path | None = None,
        device: str | torch.device = "cpu",
        checkpoint_every: int = 10,
        workers: Workers = "auto",
    ) -> None:
        check_workers(workers)
        self.folder = Path(folder)
        self.classes = classes
        self.settings = settings
        self.plans = plans
        self.device = torch.device(device)
        self.checkpoint_every = checkpoint_every
        self.workers = workers

    @classmethod
    def open(cls, folder: Path, *, device: str | torch.device = "cpu") -> "NnUnet":
        """Opens the model of a folder, whether its training is complete or not.

        Raises:
            SegmentationError: The folder has no model, or one of another kind.
        """
        record = read_record(Path(folder), KIND, NnUnetSettings)
        return cls(folder, record.classes, parse_config(NnUnetSettings, record.settings, str(folder)), device=device)

    @property
    def is_trained(self) -> bool:
        """Whether the training is complete, so that the model can predict."""
        return (self.folder / WEIGHTS_FILE).exists()

    def fit(self, pairs: Pairs, *, seed: int = 0, start_from: Path | None = None) -> Iterator[FitProgress]:
        """Trains the model, an event for each epoch; see `SegmentationModel.fit`.

        All weights of the model to start from are taken, including the last layer's, because the classes are the same;
        nnU-Net's own loader skips the last layer.
        """
        _check_installed()
        check_class_names(self.classes)
        network = ("base_features", "patch_px")
        start = None if start_from is None else check_start(start_from, KIND, self.classes, self.settings, network)
        plans = self.plans if start is None else self._plans_of(start)
        if plans is not None:
            _check_plans(plans, self.settings)
        record = ModelRecord(
            kind=KIND,
            classes=self.classes,
            settings=dump_config(self.settings),
            seed=seed,
            pairs=len(pairs),
            pairs_sha256=check_pairs(pairs, self.classes),
            start_sha256="" if start is None else file_sha256(start),
            plans_sha256="" if plans is None else _plans_sha256(plans),
            batch_seeds="number",
        )
        with FolderLock(self.folder):
            if (self.folder / MODEL_FILE).exists():
                begun = read_record(self.folder, KIND, NnUnetSettings)
                record = replace(record, batch_seeds=begun.batch_seeds)  # None: begun by an earlier version
            claim_folder(self.folder, record, NnUnetSettings)
            if not self.is_trained:
                self._prepare(pairs, plans)
                yield from self._train(seed, start, seeded=record.batch_seeds is not None)
            self._remove_work(*WORK_PARTS[1:])

    def predict(self, images: Iterable[Image]) -> Iterator[Labels]:
        """Labels images of any size; see `SegmentationModel.predict`."""
        _check_installed()
        if not self.is_trained:
            raise SegmentationError(f"{self.folder}: the model is not trained")
        from maskcond.segmentation.nnunet.prediction import make_predictor, predict_labels

        with self._session(0, keep_log=False):
            predictor = make_predictor(self.folder / PLANS_FILE, self.folder / DATASET_FILE, self.device)
            load_network(predictor.network, self.folder / WEIGHTS_FILE)
            predictor.list_of_parameters = [predictor.network.state_dict()]
        for image in images:
            check_image(image)
            with self._session(0, keep_log=False):
                labels = predict_labels(predictor, image)
            yield labels

    def _session(self, *seed: int, keep_log: bool = True) -> AbstractContextManager[None]:
        work = self.folder / WORK_FOLDER
        return nnunet_session(work, seed=seed, device=self.device, keep_log=keep_log)

    def _plans_of(self, start: Path) -> Path:
        plans = start.parent / PLANS_FILE
        if self.plans is not None and _plans_sha256(self.plans) != _plans_sha256(plans):
            raise SegmentationError(f"{start.parent}: the model to start from has other plans than {self.plans}")
        return plans

    def _prepare(self, pairs: Pairs, plans: Path | None) -> None:
        """Exports, plans and preprocesses the pairs, unless that is done."""
        if (self.folder / PLANS_FILE).exists():
            return
        from maskcond.segmentation.nnunet.planning import DATASET, plan, preprocess, take_plans

        work = self.folder / WORK_FOLDER
        self._remove_work(*WORK_PARTS)
        with nnunet_session(work, seed=(0,), device=self.device, plans=True):
            export_nnunet_dataset(pairs, work / "raw" / DATASET, self.classes)
            made = plan(work, self.settings) if plans is None else take_plans(work, plans)
            preprocess(work, made, count_workers(self.workers, self.device))
        shutil.copyfile(work / "raw" / DATASET / DATASET_FILE, self.folder / DATASET_FILE)
        self._remove_work("raw")
        with whole_file(self.folder / PLANS_FILE) as partial:
            shutil.copyfile(made, partial)

    def _remove_work(self, *parts: str) -> None:
        """Removes what nnU-Net wrote; the folder was empty when the model claimed it."""
        for part in parts:
            shutil.rmtree(self.folder / WORK_FOLDER / part, ignore_errors=True)

    def _train(self, seed: int, start: Path | None, *, seeded: bool) -> Iterator[FitProgress]:
        from maskcond.segmentation.nnunet.planning import DATASET, PLANS
        from maskcond.segmentation.nnunet.trainer import MaskcondTrainer

        work = self.folder / WORK_FOLDER
        with self._session(seed, 0):
            trainer = MaskcondTrainer.make(
                work / "preprocessed" / DATASET / f"{PLANS}.json",
                self.settings,
                device=self.device,
                checkpoint_every=self.checkpoint_every,
                batch_seed=seed if seeded else None,
                workers=self.workers,
            )
            if trainer.latest_checkpoint.exists():
                trainer.load_checkpoint(str(trainer.latest_checkpoint))
            elif start is not None:
                load_network(trainer.plain_network, start)
            trainer.on_train_start()
        try:
            while trainer.current_epoch < self.settings.epochs:
                with self._session(seed, trainer.current_epoch + 1):
                    loss = trainer.run_epoch()
                if not np.isfinite(loss):
                    raise SegmentationError(
                        f"the loss was not finite in epoch {trainer.current_epoch}; lower the learning rate"
                    )
                yield FitProgress(trainer.current_epoch, self.settings.epochs, loss, trainer.rate)
        finally:
            trainer.end_workers()
        save_network(trainer.plain_network, self.folder / WEIGHTS_FILE)
        trainer.disable_checkpointing = True  # otherwise it writes another checkpoint now
        with self._session(seed, self.settings.epochs + 1):
            trainer.on_train_end()


def plan_nnunet(pairs: Pairs, path: Path, classes: ClassSet, settings: NnUnetSettings) -> None:
    """Makes nnU-Net's plans for pairs and writes them to a file, which must not exist.

    Raises:
        SegmentationError: The file exists, the pairs are invalid, or nnU-Net is not installed.
    """
    _check_installed()
    if path.exists():
        raise SegmentationError(f"{path} exists; take another name")
    from maskcond.segmentation.nnunet.planning import DATASET, plan

    check_class_names(classes)
    work = path.with_name(f".{uuid.uuid4().hex[:8]}.partial")
    try:
        with nnunet_session(work, seed=(0,), device=torch.device("cpu"), plans=True):
            export_nnunet_dataset(pairs, work / "raw" / DATASET, classes)
            plan(work, settings).replace(path)
    finally:
        shutil.rmtree(work, ignore_errors=True)


def _plans_sha256(plans: Path) -> str:
    """The digest of network and preprocessing in plans, independent of the data set's name."""
    return hashlib.sha256(json.dumps(_configurations(plans), sort_keys=True).encode()).hexdigest()


def _check_plans(plans: Path, settings: NnUnetSettings) -> None:
    """Checks that plans agree with the settings."""
    planned = _configurations(plans)["2d"]
    wanted = {
        "batch_size": planned["batch_size"],
        "base_features": planned["architecture"]["arch_kwargs"]["features_per_stage"][0],
    }
    for name, value in wanted.items():
        if value != getattr(settings, name):
            raise SegmentationError(
                f"{plans}: planned with {name} {value}, the settings have {getattr(settings, name)}"
            )


def _configurations(plans: Path) -> dict[str, Any]:
    try:
        configurations: dict[str, Any] = json.loads(plans.read_text(encoding="utf-8"))["configurations"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise SegmentationError(f"{plans}: no plans of nnU-Net that can be read ({error})") from None
    return configurations


def _check_installed() -> None:
    import_extra("nnunetv2", extra="nnunet", use="nnU-Net")
