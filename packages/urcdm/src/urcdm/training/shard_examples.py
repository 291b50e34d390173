"""Training examples from shards: the tiles as they were exported."""

import numpy as np
from torch import Tensor

from urcdm.config import TrainingPlan
from urcdm.errors import TilesError
from urcdm.training.examples import MakeExample
from wsi_tiling import ShardTiles


class ShardExamples:
    """Tiles at one level from shards, for `cdm_core.train_stage`: fast, and without the slides.

    An example is a tile at its position in the table, rotated and mirrored with its context; `LevelExamples`, which
    reads slides, also shifts it. So cut tiles for shards with overlap or half shifts. The n-th example is always the
    same.

    Args:
        plan: The model to train.
        level: Number of the level, from 0.
        stage: Number of the stage in its cascade, from 0.
        tiles: Tiles of the level's field and size; above the first level, with the parent level's field and size as
            their first context.
        seed: Seed of the examples.

    Raises:
        TilesError: The shards hold something else.
    """

    def __init__(self, plan: TrainingPlan, level: int, stage: int, tiles: ShardTiles, seed: int) -> None:
        self.number, self.seed, self.tiles = level, seed, tiles
        self.make = MakeExample(plan, level, stage)
        own, parent = self.make.level, self.make.parent
        fields = set(tiles.frame["field_l0"])
        if fields != {own.field_l0}:
            got = ", ".join(f"{field:g}" for field in sorted(fields))
            raise TilesError(f"wanted shards of {own.field_l0:g} level-0 px for level '{own.name}', got {got}")
        if parent is not None and tiles.contexts_l0[:1] != (parent.field_l0,):
            raise TilesError(
                f"wanted shards with a context of {parent.field_l0:g} level-0 px for level '{own.name}', got "
                f"{', '.join(f'{field:g}' for field in tiles.contexts_l0) or 'none'}"
            )
        first = tiles[0]
        sides = [(own, first["image"]), *([] if parent is None else [(parent, first["context-1"])])]
        for wanted, picture in sides:
            if picture.shape[:2] != (wanted.image_px, wanted.image_px):
                raise TilesError(f"wanted pictures of {wanted.image_px} px of '{wanted.name}', got {picture.shape[0]}")

    def __getitem__(self, draw: int) -> dict[str, Tensor]:
        """Returns the example of a draw, see `cdm_core.Examples`."""
        rng = np.random.default_rng([self.seed, self.number, draw])
        tile = self.tiles[int(rng.integers(len(self.tiles)))]
        return self.make(tile["image"], tile.get("context-1"), rng)
