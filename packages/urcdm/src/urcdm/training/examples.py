"""Training examples from real slides: a patch with the context that it would have in sampling."""

import math
from collections.abc import Mapping, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cdm_core import Examples
from urcdm.config import Level, TrainingPlan
from urcdm.errors import TilesError
from urcdm.layout.context import read_context
from urcdm.layout.geometry import Box
from urcdm.training.augment import augmented_parent
from wsi_tiling import Slide, TileTable, TissueRule, read_region, resolve_rule, shows_tissue

SlidePosition = tuple[str, float, float]
"""A slide's name and a position on it (x, y), level-0 px."""
_TRIES = 100
READ_PX = 256
"""Smallest side of pictures that are read at a reduced size, px."""


def read_px(level_px: int, stage_px: int) -> int:
    """Returns the side at which a level's picture is read for a stage: the stage's side, at least `READ_PX`.

    A network of 64 or 256 px does not need pictures of 1,024 px. `Slide.read` uses a level of the slide that is at
    least twice as fine, so the result differs from the reduced large picture only as the slide's levels differ: on a
    JPEG slide by under 0.5 of 255 grey values on average at 64 px, and by under 2 at 256 px. Rows and columns that lie
    partly outside the slide have the fill colour, and are wider.

    Args:
        level_px: Side of the level's images, px.
        stage_px: Side of the stage's images, px.
    """
    side = max(stage_px, READ_PX)
    return level_px if side >= level_px or level_px % side else side


class LevelExamples:
    """Random patches at one level, for `cdm_core.train_stage`, at positions where sampling would place them.

    An example is a tile of the table, moved at random by up to half a field (an eighth for the first level, which shows
    whole slides), and turned and mirrored with its context. Above the first level the neighbours of the table's tiles
    are included, and a position that sampling would skip, because the parent shows too little tissue, is replaced by
    another. So positions at the edge of the tissue are as likely as any other, although the table drops tiles with
    little of it. Outside a slide all pixels have the configuration's fill colour. Images are read at the size that the
    stage needs, see `read_px`. The n-th example is always the same.

    Args:
        plan: The model to train.
        level: Number of the level, from 0.
        stage: Number of the stage in its cascade, from 0.
        tiles: Tiles with the level's field; other rows are ignored.
        slides: Slides by the name in the table's column `slide`.
        seed: Seed of the examples.

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
        self.tiles: list[SlidePosition] = list(zip(frame["slide"], frame["x_l0"], frame["y_l0"], strict=True))
        self.rules: dict[str, TissueRule] = {}
        if level and not self.config.tissue.accepts_everything:
            self.tiles = self._with_neighbours()

    def __getitem__(self, draw: int) -> dict[str, Tensor]:
        """Returns the example of a draw, see `cdm_core.Examples`."""
        rng = np.random.default_rng([self.seed, self.number, draw])
        around = None
        for _ in range(_TRIES):
            name, x, y = self._position(rng)
            if self.parent is None:
                break
            whole = self.make.context_px == self.parent.image_px
            around = self._read(name, (x, y), self.parent.field_l0, self.parent.image_px) if whole else None
            if self._has_tissue(name, (x, y), around, self.parent):
                break
        if self.parent is not None and around is None:
            around = self._read(name, (x, y), self.parent.field_l0, self.make.context_px)
        return self.make(self._read(name, (x, y), self.level.field_l0, self.make.patch_px), around, rng)

    def _position(self, rng: np.random.Generator) -> SlidePosition:
        """Samples a slide and the centre of a patch on it, level-0 px."""
        name, x, y = self.tiles[rng.integers(len(self.tiles))]
        field = self.level.field_l0
        reach = field / 2 if self.number else field / 8
        centre = np.array([x, y]) + field / 2 + rng.uniform(-reach, reach, 2)
        bounds = np.array(self.slides[name].bounds_l0)
        first, size = bounds[:2], bounds[2:]
        if (size >= field).all():  # patches stay inside the slide, so that networks do not learn its edge
            centre = np.clip(centre, first + field / 2, first + size - field / 2)
        # whole level-0 pixels need no interpolation, whose blur networks would learn
        centre = np.floor(centre - field / 2) + field / 2
        return name, float(centre[0]), float(centre[1])

    def _read(self, name: str, centre: tuple[float, float], field_l0: float, side: int) -> NDArray[np.uint8]:
        """Reads a field around a centre, (side, side, 3), with the fill colour outside the slide, as in sampling."""
        slide, left, top = self.slides[name], centre[0] - field_l0 / 2, centre[1] - field_l0 / 2
        picture = slide.read((left, top), field_l0, side)
        edges = np.arange(side + 1) * (field_l0 / side)
        x_first, y_first, width, height = slide.bounds_l0
        columns = (left + edges[:-1] < x_first) | (left + edges[1:] > x_first + width)
        rows = (top + edges[:-1] < y_first) | (top + edges[1:] > y_first + height)
        if columns.any() or rows.any():
            picture = picture.copy()
            picture[:, columns] = picture[rows] = self.config.fill
        return picture

    def _has_tissue(
        self, name: str, centre: tuple[float, float], around: NDArray[np.uint8] | None, parent: Level
    ) -> bool:
        """Whether sampling would generate the patch, by the parent's picture around it, read here if not given."""
        rule = self.config.tissue
        if rule.accepts_everything:
            return True
        if rule.kind == "otsu" and name not in self.rules:
            self.rules[name] = resolve_rule(rule, self.slides[name])
        rule, glass = self.rules.get(name, rule), self.slides[name].glass
        side, half, reach = parent.image_px, self.level.field_l0 / parent.scale / 2, rule.reach_px(parent.scale)
        first, last = math.floor(side / 2 - half), math.ceil(side / 2 + half)
        if around is not None:
            patch = slice(first, last)
            return shows_tissue(around, rule, (patch, patch), parent.scale, glass)
        # Tissue in the middle of a patch decides, and shows in a fraction of the picture: most patches have it there.
        middle = (last - first - 1) // 2
        for inset in (middle, 0) if reach < middle else (0,):
            margin, inner = min(reach, first + inset), last - first - 2 * inset
            count = inner + 2 * margin
            seen = self._read(name, centre, count * parent.scale, count)
            patch = slice(margin, margin + inner)
            if shows_tissue(seen, rule, (patch, patch), parent.scale, glass):
                return True
        return False

    def _with_neighbours(self) -> list[SlidePosition]:
        """The tiles of the table, and the eight neighbours of each that lie on the slide."""
        field, tiles = self.level.field_l0, dict.fromkeys(self.tiles)
        for name, x, y in self.tiles:
            left, top, width, height = self.slides[name].bounds_l0
            last = (left + width - field, top + height - field)
            neighbours = ((name, x + i * field, y + j * field) for i in (-1, 0, 1) for j in (-1, 0, 1))
            tiles |= dict.fromkeys(
                tile for tile in neighbours if left <= tile[1] <= last[0] and top <= tile[2] <= last[1]
            )
        return list(tiles)


class MakeExample:
    """Makes an example from the picture of a patch and that of the parent around it.

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
        self.patch_px = read_px(self.level.image_px, self.stage.image_px)
        self.context_px = self._context_px()

    def __call__(
        self, patch: NDArray[np.uint8], around: NDArray[np.uint8] | None, rng: np.random.Generator
    ) -> dict[str, Tensor]:
        """Rotates and mirrors the patch with its context.

        Args:
            patch: Patch at the level's size or at `patch_px`, (S, S, 3) uint8.
            around: The parent level's field around the same centre, at its size or at `context_px`; not needed at the
                first level.
            rng: Random generator.

        Returns:
            An example, see `cdm_core.Examples`.
        """
        turn, mirror = int(rng.integers(4)), bool(rng.integers(2))

        def tensor(pixels: NDArray[np.uint8]) -> Tensor:
            turned = np.rot90(pixels[:, ::-1] if mirror else pixels, turn)
            return torch.from_numpy(np.ascontiguousarray(turned.transpose(2, 0, 1))).float().div_(255)

        side = self.stage.image_px
        example = {"image": tensor(read_region(patch, (0, 0, *patch.shape[1::-1]), side, self.config.fill))}
        if self.parent is not None and around is not None:
            seen = augmented_parent(around, self.config, self.parent, self.level, rng)
            share = len(seen) / self.parent.image_px
            context = read_context(
                lambda box, size: read_region(seen, _scaled(box, share), size, self.config.fill),
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
                noise = rng.standard_normal((3, side, side)) * spread
                images[3:] += torch.from_numpy(noise.astype(np.float32))
            example["cond_images"] = images
            if context.centre is not None:
                example["lowres"] = tensor(context.centre)
        if self.embedding is not None:
            example["embedding"] = torch.tensor(self.embedding)
        return example

    def _context_px(self) -> int:
        """The side at which the parent's picture is read: its full size for a sharp centre or for blur."""
        if self.parent is None:
            return 0
        config = self.config
        if config.context == "centre" or self.starts_from_parent or config.max_context_blur:
            return self.parent.image_px
        return read_px(self.parent.image_px, self.stage.image_px)


def _scaled(box: Box, factor: float) -> Box:
    x0, y0, x1, y1 = box
    return x0 * factor, y0 * factor, x1 * factor, y1 * factor


class InTurn:
    """Examples of several levels in turn, for networks that the levels share.

    Args:
        parts: Examples of each level.
    """

    def __init__(self, parts: Sequence[Examples]) -> None:
        self.parts = tuple(parts)

    def __getitem__(self, draw: int) -> dict[str, Tensor]:
        """Returns the example of a draw, see `cdm_core.Examples`."""
        turn, number = divmod(draw, len(self.parts))
        return self.parts[number][turn]
