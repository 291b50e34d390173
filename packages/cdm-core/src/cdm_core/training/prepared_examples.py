"""Examples on their way to a training step: at the stage's size, cropped, and with all the random numbers of a draw."""

import os
from collections.abc import Iterable, Iterator
from typing import Literal, TypeVar

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from cdm_core.config import StageConfig, TrainingConfig
from cdm_core.errors import TrainingError
from cdm_core.stages.examples import (
    Examples,
    check_example,
    small_image,
    stage_cond_images,
    stage_embedding,
    stage_image,
)
from cdm_core.stages.lowres import BLUR_SIGMA_PX
from run_folder import first_line

Batch = dict[str, Tensor]
T = TypeVar("T")

TRAINING, HELD_OUT = 0, 1
"""Streams of random numbers, so that training and validation share none."""
MOST_WORKERS = 32
"""Processes that 'auto' starts at most: each holds two batches."""


class PreparedExamples(Dataset[Batch]):
    """Examples as the network takes them: at the stage's size, cropped, and with all the random numbers of their draw.

    Random numbers come from (seed, stream, draw) alone: chunks, processes, workers and a resumed run change none.

    Args:
        config: The stage.
        training: How it is trained.
        examples: The data.
        held_out: How many there are, if they measure and do not train: their times are spread evenly over [0, 1], and
            no embedding is dropped.
    """

    def __init__(
        self, config: StageConfig, training: TrainingConfig, examples: Examples, *, held_out: int | None = None
    ) -> None:
        self.config, self.training, self.examples, self.held_out = config, training, examples, held_out

    def __getitem__(self, draw: int) -> Batch:
        """Returns the example of a draw.

        Raises:
            ValueError: It lacks something that the stage takes, or has another type, shape or range; or there is none.
        """
        return self._at(draw, finite=False)

    def check(self, draws: Iterable[int], *, finite: bool) -> None:
        """Checks the examples of some draws.

        Args:
            draws: Their numbers.
            finite: Refuse values that are not finite, too.

        Raises:
            ValueError: As of `__getitem__`, or a value is not finite.
        """
        for draw in draws:
            self._at(draw, finite=finite)

    def shown(self, draw: int) -> Batch:
        """Returns what a sheet of samples shows of a draw, at the stage's size; values that are not finite are grey."""
        example = {name: value[None] for name, value in self._checked(draw, finite=False).items()}
        parts = {
            "image": stage_image(self.config, example),
            "lowres": small_image(self.config, example),
            "cond_images": stage_cond_images(self.config, example),
        }
        if (embedding := stage_embedding(self.config, example)) is not None:
            parts["embedding"], parts["embedding_given"] = embedding
        return {name: torch.nan_to_num(value[0], nan=0.5) for name, value in parts.items() if value is not None}

    def _at(self, draw: int, *, finite: bool) -> Batch:
        example = self._checked(draw, finite=finite)
        try:
            return self._prepared(draw, example)
        except ValueError as error:
            raise ValueError(f"example {draw}: {error}") from None

    def _checked(self, draw: int, *, finite: bool) -> Batch:
        try:
            example = self.examples[draw]
        except IndexError as error:
            raise ValueError(
                f"example {draw}: there is none ({first_line(error)}); draws count without an end, so begin again "
                "after the last one, for instance with data[draw % len(data)]"
            ) from None
        try:
            return check_example(self.config, example, finite=finite)
        except ValueError as error:
            raise ValueError(f"example {draw}: {error}") from None

    def _prepared(self, draw: int, example: dict[str, Tensor]) -> Batch:
        config, training = self.config, self.training
        stream = TRAINING if self.held_out is None else HELD_OUT
        rng = np.random.default_rng([training.seed % 2**64, stream, draw])
        # all of them, whatever the settings, so that no setting moves the others' numbers
        t, lowres_t, blur, blur_width, kept, crop_x, crop_y = rng.random(7).tolist()
        example = {name: value[None] for name, value in example.items()}
        side = training.crop_px or config.image_px
        x, y = (int(share * (config.image_px - side + 1)) for share in (crop_x, crop_y))
        prepared = {
            "x0": stage_image(config, example)[..., y : y + side, x : x + side] * 2 - 1,
            "t": torch.tensor([t if self.held_out is None else (draw + t) / self.held_out]),
            "noise_seed": torch.from_numpy(rng.integers(2**63, size=1)),
            "crop_xy": torch.tensor([[x, y]]),
            "draw": torch.tensor([draw]),
        }
        if (images := stage_cond_images(config, example)) is not None:
            prepared["cond_images"] = images[..., y : y + side, x : x + side]
        if (lowres := small_image(config, example)) is not None:
            low, high = BLUR_SIGMA_PX
            prepared["lowres"] = lowres * 2 - 1
            prepared["lowres_t"] = torch.tensor([lowres_t * config.max_lowres_noise])
            prepared["blur_px"] = torch.tensor([low + (high - low) * blur_width if blur < config.lowres_blur else 0.0])
        if (embedding := stage_embedding(config, example)) is not None:
            dropped = self.held_out is None and kept < training.drop_embedding
            prepared["embedding"] = embedding[0]
            prepared["embedding_given"] = embedding[1] & (not dropped)
        return {name: value[0] for name, value in prepared.items()}


def count_workers(workers: int | Literal["auto"], device: torch.device) -> int:
    """Returns how many processes 'auto' means for a device that this process feeds: none on the CPU."""
    if workers != "auto":
        return workers
    if device.type == "cpu":
        return 0
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    sharing = int(os.environ.get("LOCAL_WORLD_SIZE", "1"))  # of `accelerate launch` and `torchrun`
    return min(max(cores // sharing - 1, 1), MOST_WORKERS)


def prepared_batches(
    examples: PreparedExamples, draws: Iterable[list[int]], device: torch.device, *, count: int | None = None
) -> Iterator[Batch]:
    """Yields a batch for each list of draws, stacked, on the CPU; worker processes prepare them ahead.

    Args:
        examples: The data.
        draws: The draws of each batch.
        device: Device of the batches.
        count: How many batches there are, where they may be fewer than the workers.

    Raises:
        ValueError: An example is wrong, see `PreparedExamples`.
        TrainingError: A worker process died.
    """
    workers = count_workers(examples.training.workers, device)
    loader: Iterable[Batch] = DataLoader(
        examples,
        batch_sampler=draws,
        num_workers=workers if count is None else min(workers, count),
        pin_memory=device.type == "cuda",
        generator=torch.Generator(),  # leaves the global one alone
    )
    yield from loaded_batches(loader, workers)


def loaded_batches(loader: Iterable[T], workers: int) -> Iterator[T]:
    """Yields what a `DataLoader` gives, whose worker processes' errors come as one line.

    Args:
        loader: The `DataLoader`.
        workers: How many worker processes it has.

    Raises:
        ValueError: Of a worker process, or of this one.
        TrainingError: A worker process died.
    """
    try:
        yield from loader
    except ValueError as error:
        # an error of a worker process comes with its traceback in the message, which ends with the message itself
        lines = str(error).splitlines() or [""]
        if "in DataLoader worker process" not in lines[0]:
            raise
        raise type(error)(lines[-1].partition(": ")[2] or lines[-1]) from None
    except RuntimeError as error:
        if not str(error).startswith("DataLoader worker (pid"):
            raise
        raise TrainingError(
            f"a process that prepares examples died ({first_line(error)}); set workers to fewer than {workers}, or "
            "give the machine more (shared) memory"
        ) from None
