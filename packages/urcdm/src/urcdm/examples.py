"""Training examples from real slides: a patch, and the context that sampling would give it."""

from collections.abc import Mapping

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from urcdm.config import TrainingPlan
from urcdm.context import read_context
from urcdm.errors import TilesError
from wsi_tiling import Slide, TileTable, read_region


class LevelExamples:
    """Random patches at one level, for `cdm_core.train_stage`.

    A draw takes a tile of the table, moves it by up to half a field (an eighth for the first level, which shows whole
    slides), and turns and mirrors it with its context. The n-th draw is always the same.

    Args:
        plan: The model to train.
        level: Number of the level, from 0.
        stage: Number of the stage in its cascade, from 0.
        tiles: Tiles with the level's field; other rows are left out.
        slides: Slides by the name in the table's column `slide`.
        seed: Of the draws.

    Raises:
        TilesError: The table has no tiles of the level's field, or names a slide that is not given.
    """

    def __init__(
        self, plan: TrainingPlan, level: int, stage: int, tiles: TileTable, slides: Mapping[str, Slide], seed: int
    ) -> None:
        self.number, self.seed = level, seed
        self.level = plan.urcdm.levels[level]
        self.parent = plan.urcdm.levels[level - 1] if level else None
        self.make = MakeExample(plan, level, stage)
        frame = tiles.frame[tiles.frame["field_l0"] == self.level.field_l0]
        if frame.empty:
            raise TilesError(
                f"the tile table has no tiles of {self.level.field_l0:g} level-0 px for level '{self.level.name}'; "
                "cut them with the same configuration"
            )
        missing = set(frame["slide"]) - slides.keys()
        if missing:
            raise TilesError(f"the tile table names slides that are not there: {', '.join(sorted(missing))}")
        self.tiles = list(zip(frame["slide"], frame["x_l0"], frame["y_l0"], strict=True))
        self.slides = slides

    def __getitem__(self, draw: int) -> dict[str, Tensor]:
        """Returns the example of a draw, see `cdm_core.training.Examples`."""
        rng = np.random.default_rng([self.seed, self.number, draw])
        name, x, y = self.tiles[rng.integers(len(self.tiles))]
        slide, field = self.slides[name], self.level.field_l0
        reach = field / 2 if self.number else field / 8
        centre = np.array([x, y]) + field / 2 + rng.uniform(-reach, reach, 2)
        size = np.array(slide.size_l0)
        if (size >= field).all():  # a patch ends where its slide does: networks are not to learn that edge
            centre = np.clip(centre, field / 2, size - field / 2)
        # Whole level-0 pixels come back as they are; between them networks would learn the blur of interpolation.
        centre = np.floor(centre - field / 2) + field / 2
        patch = slide.read((centre[0] - field / 2, centre[1] - field / 2), field, self.level.image_px)
        around = None
        if self.parent is not None:
            side = self.parent.field_l0
            around = slide.read((centre[0] - side / 2, centre[1] - side / 2), side, self.parent.image_px)
        return self.make(patch, around, rng)


class MakeExample:
    """Makes an example of the pictures of a patch and of what is around it.

    Args:
        plan: The model to train.
        level: Number of the level, from 0.
        stage: Number of the stage in its cascade, from 0.
    """

    def __init__(self, plan: TrainingPlan, level: int, stage: int) -> None:
        self.config, self.level = plan.urcdm, plan.urcdm.levels[level]
        self.parent = plan.urcdm.levels[level - 1] if level else None
        self.stage = plan.of_level(level)[stage].stage
        self.starts_from_parent = level > 0 and stage == 0 and self.stage.lowres_px is not None

    def __call__(
        self, patch: NDArray[np.uint8], around: NDArray[np.uint8] | None, rng: np.random.Generator
    ) -> dict[str, Tensor]:
        """Turns and mirrors the patch with its context.

        Args:
            patch: At the level's size, (S, S, 3) uint8.
            around: The parent level's field round the same centre, at its size; not needed at the first level.
            rng: Where chance comes from.

        Returns:
            An example, see `cdm_core.training.Examples`.
        """
        turn, mirror = int(rng.integers(4)), bool(rng.integers(2))

        def tensor(pixels: NDArray[np.uint8]) -> Tensor:
            turned = np.rot90(pixels[:, ::-1] if mirror else pixels, turn)
            return torch.from_numpy(np.ascontiguousarray(turned)).permute(2, 0, 1).float() / 255

        side = self.stage.image_px
        example = {"image": tensor(read_region(patch, (0, 0, *patch.shape[1::-1]), side, self.config.fill))}
        if self.parent is not None and around is not None:
            context = read_context(
                lambda box, size: read_region(around, box, size, self.config.fill),
                (self.parent.image_px / 2, self.parent.image_px / 2),
                self.config,
                self.parent,
                self.level,
                side,
                self.stage.lowres_px if self.starts_from_parent else None,
            )
            images = tensor(context.images)
            if self.config.context == "centre":
                spread = rng.uniform(0, self.config.max_context_noise)
                images[3:] += torch.from_numpy(rng.normal(0, spread, (3, side, side)).astype(np.float32))
            example["cond_images"] = images
            if context.centre is not None:
                example["lowres"] = tensor(context.centre)
        return example
