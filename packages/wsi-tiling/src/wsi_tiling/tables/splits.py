"""Splits by patient or slide, and checks that nothing leaks between them."""

import hashlib
from collections.abc import Mapping
from itertools import combinations
from typing import Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from wsi_tiling.errors import SlideError
from wsi_tiling.tables.table import TileTable

Group = Literal["patient", "slide"]
_GOOD_ENOUGH = 0.02


def split_by_group(table: TileTable, fractions: Mapping[str, float], seed: int, by: Group = "patient") -> TileTable:
    """Writes the column `split` so that all tiles of a patient, or of a slide, are in one split.

    Groups that share a slide, by its file or its identity, stay together and count as one, under the first of their
    names. Each group gets a random split by a hash of its name and the seed, so that neither the order of rows nor the
    other groups matter. Then, one by one, groups move to where they help most, until no split is empty and at most 2 %
    of the tiles are too many somewhere, or no single move helps. With many groups few have to move, so most stay where
    they are when slides are added.

    Args:
        table: Tiles.
        fractions: Share of the tiles that each split is to have, {'train': 0.8, 'validation': 0.1, 'test': 0.1}; the
            sum is 1.
        seed: Of the random splits.
        by: What must not be divided.

    Returns:
        The table with new splits, rows in their order.

    Raises:
        SlideError: The fractions do not add up, or there are fewer groups than splits.
    """
    shares = np.array(list(fractions.values()), np.float64)
    if not len(shares) or not (shares > 0).all() or abs(shares.sum() - 1) > 1e-6:
        raise SlideError(f"wanted fractions above 0 that add up to 1, got {dict(fractions)}")
    _check_group(table.frame, by)
    groups = _joined(table.frame, by)
    sizes = groups.groupby(groups).size()
    names = sorted(map(str, sizes.index))
    if len(names) < len(shares):
        raise SlideError(f"wanted a {by} for each of {len(shares)} splits, got {len(names)} in {len(table)} tiles")
    draws = np.array([_draw(name, seed) for name in names])
    order = np.argsort(draws, kind="stable")
    tiles = np.array([int(sizes[names[index]]) for index in order], np.float64)
    chosen = np.minimum(np.searchsorted(np.cumsum(shares), draws[order], side="right"), len(shares) - 1)
    _balance(chosen, tiles / tiles.sum(), shares)
    splits = list(fractions)
    split_of = {names[index]: splits[choice] for index, choice in zip(order, chosen, strict=True)}
    return TileTable(table.frame.assign(split=groups.map(split_of)))


def check_no_leak(table: TileTable, by: Literal["patient", "slide", "tiles"] = "patient") -> None:
    """Makes sure that no group is in two splits.

    Args:
        table: Tiles with their splits.
        by: 'patient' or 'slide': no such group, no file, and no slide under two names, is in two splits. 'tiles':
            slides may be divided, but tiles of one slide that overlap are in the same split. Slides are known by their
            identity (`slide_id`), or by their files where the table has none.

    Raises:
        SlideError: Something is in two splits; names the first group or tile, its splits, and how many there are.
    """
    if by == "tiles":
        _check_overlaps(table.frame)
        return
    _check_group(table.frame, by)
    for column, kind in ((by, by), ("path", "file"), ("slide_id", "slide")):
        known = table.frame[table.frame[column] != ""] if column == "slide_id" else table.frame
        counts = known.groupby(column)["split"].nunique()
        leaks = counts[counts > 1]
        if len(leaks):
            rows = known[known[column] == leaks.index[0]]
            name = f"{kind} '{leaks.index[0]}'"
            if column == "slide_id":
                name = f"one slide, in the files {_listed(sorted(set(rows['path'])))},"
            splits = _listed(sorted(set(rows["split"])))
            raise SlideError(f"{name} is in the splits {splits}: one of {len(leaks)} that leak; split them again")


def _joined(frame: pd.DataFrame, by: Group) -> "pd.Series[str]":
    """The group of each row, those that share a slide under the first of their names."""
    leader: dict[str, str] = {}

    def find(name: str) -> str:
        while leader.setdefault(name, name) != name:
            leader[name] = name = leader[leader[name]]
        return name

    for column in ("path", "slide_id"):
        known = frame.loc[frame[column] != "", [column, by]].drop_duplicates()
        first: dict[str, str] = {}
        for key, name in known.itertuples(index=False):
            one, other = find(first.setdefault(key, name)), find(name)
            leader[max(one, other)] = min(one, other)
    return frame[by].map(find)


def _draw(name: str, seed: int) -> float:
    """A random number in [0, 1) that depends on the name and the seed alone."""
    digest = hashlib.sha256(f"{seed}:{name}".encode()).digest()
    return int.from_bytes(digest[:6], "big") / 2**48


def _balance(chosen: NDArray[np.intp], tiles: NDArray[np.float64], shares: NDArray[np.float64]) -> None:
    """Moves groups in place. `tiles` is each group's share of all tiles; equal gains go to the earliest draw."""
    while True:
        held = np.bincount(chosen, weights=tiles, minlength=len(shares))
        members = np.bincount(chosen, minlength=len(shares))
        too_many = np.abs(held - shares).sum() / 2
        empty = members == 0
        if not empty.any() and too_many <= _GOOD_ENOUGH:
            return
        away = np.abs(held[chosen] - tiles - shares[chosen]) - np.abs(held - shares)[chosen]
        there = np.abs(held + tiles[:, None] - shares) - np.abs(held - shares)
        change = away[:, None] + there
        change[np.arange(len(chosen)), chosen] = np.inf
        change[members[chosen] == 1] = np.inf
        if empty.any():
            change[:, ~empty] = np.inf
        group, split = np.unravel_index(int(np.argmin(change)), change.shape)
        if not empty.any() and change[group, split] >= -1e-12:
            return
        chosen[group] = split


def _check_overlaps(frame: pd.DataFrame) -> None:
    for _, rows in frame.groupby(frame["slide_id"].where(frame["slide_id"] != "", frame["path"])):
        parts = [part for _, part in rows.groupby(["split", "field_l0"])]
        for one, other in combinations(parts, 2):
            if one["split"].iloc[0] == other["split"].iloc[0]:
                continue
            # Squares overlap where their centres are nearer than half the sum of their sides, in x and in y.
            apart, nearest = cKDTree(_centres(other)).query(_centres(one), p=np.inf)
            hits = np.flatnonzero(apart < (one["field_l0"].iloc[0] + other["field_l0"].iloc[0]) / 2)
            if len(hits):
                first, second = _described(one.iloc[hits[0]]), _described(other.iloc[nearest[hits[0]]])
                path = one["path"].iloc[hits[0]]
                raise SlideError(
                    f"{path}: {first} overlaps {second}: one of {len(hits)} that do; split the tiles again"
                )


def _centres(tiles: pd.DataFrame) -> NDArray[np.float64]:
    return tiles[["x_l0", "y_l0"]].to_numpy(np.float64) + tiles[["field_l0"]].to_numpy() / 2


def _described(tile: "pd.Series[Any]") -> str:
    return f"the tile of {tile['field_l0']:g} px at ({tile['x_l0']}, {tile['y_l0']}) in split '{tile['split']}'"


def _check_group(frame: pd.DataFrame, by: str) -> None:
    if by not in ("patient", "slide"):
        raise SlideError(f"wanted groups by 'patient' or 'slide', got '{by}'")
    unknown = int(frame[by].isna().sum())
    if unknown:
        raise SlideError(f"wanted a {by} for every tile, got {unknown} tiles of {len(frame)} without")


def _listed(names: list[str]) -> str:
    if len(names) == 1:
        return f"'{names[0]}'"
    return ", ".join(f"'{name}'" for name in names[:-1]) + f" and '{names[-1]}'"
