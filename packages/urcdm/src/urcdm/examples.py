"""Training examples from real slides: a patch, and the context that sampling would give it."""

import math
from collections.abc import Mapping, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cdm_core.examples import Examples
from urcdm.augment import augmented_parent
from urcdm.config import Level, TrainingPlan
from urcdm.context import read_context
from urcdm.errors import TilesError
from wsi_tiling import Slide, TileTable, TissueRule, read_region, resolve_rule, tissue_mask

Place = tuple[str, float, float]
"""A slide's name and a place on it (x, y), level-0 px."""
_TRIES = 100


class LevelExamples:
    """Random patches at one level, for `cdm_core.train_stage`, where sampling would draw them.

    A draw takes a tile of the table, moves it by up to half a field (an eighth for the first level, which shows whole
    slides), and turns and mirrors it with its context. Above the first level the tiles beside those of the table count
    too, and a place where sampling would not draw a patch, for want of tissue on the parent's picture, is drawn anew.
    So places at the rim of the tissue are as likely as any other, although the table leaves out tiles with little of
    it. Outside a slide all has the configuration's fill colour. The n-th draw is always the same.

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
        self.config, self.level = plan.urcdm, plan.urcdm.levels[level]
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
        self.slides = slides
        self.tiles: list[Place] = list(zip(frame["slide"], frame["x_l0"], frame["y_l0"], strict=True))
        self.rules: dict[str, TissueRule] = {}
        if level and not self.config.tissue.accepts_everything:
            self.tiles = self._with_neighbours()

    def __getitem__(self, draw: int) -> dict[str, Tensor]:
        """Returns the example of a draw, see `cdm_core.training.Examples`."""
        rng = np.random.default_rng([self.seed, self.number, draw])
        around = None
        for _ in range(_TRIES):
            name, x, y = self._place(rng)
            if self.parent is None:
                break
            around = self._read(name, x, y, self.parent)
            if self._has_tissue(name, around, self.parent):
                break
        return self.make(self._read(name, x, y, self.level), around, rng)

    def _place(self, rng: np.random.Generator) -> Place:
        """Draws a slide and the centre of a patch on it, level-0 px."""
        name, x, y = self.tiles[rng.integers(len(self.tiles))]
        field = self.level.field_l0
        reach = field / 2 if self.number else field / 8
        centre = np.array([x, y]) + field / 2 + rng.uniform(-reach, reach, 2)
        bounds = np.array(self.slides[name].bounds_l0)
        first, size = bounds[:2], bounds[2:]
        if (size >= field).all():  # a patch ends where its slide does: networks are not to learn that edge
            centre = np.clip(centre, first + field / 2, first + size - field / 2)
        # Whole level-0 pixels come back as they are; between them networks would learn the blur of interpolation.
        centre = np.floor(centre - field / 2) + field / 2
        return name, float(centre[0]), float(centre[1])

    def _read(self, name: str, x: float, y: float, level: Level) -> NDArray[np.uint8]:
        """Reads a level's field round a centre, (S, S, 3); the fill colour outside the slide, as in sampling."""
        slide, left, top = self.slides[name], x - level.field_l0 / 2, y - level.field_l0 / 2
        picture = slide.read((left, top), level.field_l0, level.image_px)
        edges = np.arange(level.image_px + 1) * level.scale
        x_first, y_first, width, height = slide.bounds_l0
        columns = (left + edges[:-1] < x_first) | (left + edges[1:] > x_first + width)
        rows = (top + edges[:-1] < y_first) | (top + edges[1:] > y_first + height)
        if columns.any() or rows.any():
            picture = picture.copy()
            picture[:, columns] = picture[rows] = self.config.fill
        return picture

    def _has_tissue(self, name: str, around: NDArray[np.uint8], parent: Level) -> bool:
        """Tells whether sampling would draw the patch in the centre of the parent's picture."""
        rule = self.config.tissue
        if rule.accepts_everything:
            return True
        if rule.kind == "otsu" and name not in self.rules:
            self.rules[name] = resolve_rule(rule, self.slides[name])
        side, half = parent.image_px, self.level.field_l0 / parent.scale / 2
        first, last = math.floor(side / 2 - half), math.ceil(side / 2 + half)
        # By colour alone, what lies beyond the reach of erosion and dilation has no say.
        margin = min((rule.erode_px + rule.dilate_px) // 2, first) if rule.goes_by_colour_alone else first
        near = around[first - margin : last + margin, first - margin : last + margin]
        mask = tissue_mask(near, self.rules.get(name, rule), parent.scale, self.slides[name].glass)
        return bool(mask[margin : margin + last - first, margin : margin + last - first].any())

    def _with_neighbours(self) -> list[Place]:
        """The tiles of the table and, as far as they lie on the slide, the eight round each."""
        field, found = self.level.field_l0, dict.fromkeys(self.tiles)
        for name, x, y in self.tiles:
            left, top, width, height = self.slides[name].bounds_l0
            last = (left + width - field, top + height - field)
            places = ((name, x + i * field, y + j * field) for i in (-1, 0, 1) for j in (-1, 0, 1))
            found |= dict.fromkeys(
                place for place in places if left <= place[1] <= last[0] and top <= place[2] <= last[1]
            )
        return list(found)


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
        self.embedding = plan.urcdm.embedding(level)
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
            seen = augmented_parent(around, self.config, self.parent, self.level, rng)
            context = read_context(
                lambda box, size: read_region(seen, box, size, self.config.fill),
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
        if self.embedding is not None:
            example["embedding"] = torch.tensor(self.embedding)
        return example


class InTurn:
    """Examples of several levels in turn, for networks that the levels share.

    Args:
        parts: The examples of each.
    """

    def __init__(self, parts: Sequence[Examples]) -> None:
        self.parts = tuple(parts)

    def __getitem__(self, draw: int) -> dict[str, Tensor]:
        """Returns the example of a draw, see `cdm_core.training.Examples`."""
        turn, number = divmod(draw, len(self.parts))
        return self.parts[number][turn]
