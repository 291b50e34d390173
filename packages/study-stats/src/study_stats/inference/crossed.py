"""Answers counted by reader and image."""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray


@dataclass(frozen=True, eq=False)
class Crossed:
    """How often each reader answered on each image; readers and images are in the order of their names.

    Attributes:
        seen: Number of answers, (readers, images).
        hits: How many of them are the one that is counted, (readers, images).
        second: Which images are of the second of two groups, (images,).
    """

    seen: NDArray[np.int64]
    hits: NDArray[np.int64]
    second: NDArray[np.bool_]


def crossed(readers: pd.Series, images: pd.Series, second: pd.Series, hits: pd.Series) -> Crossed:
    """Counts answers.

    Args:
        readers: Who gave each answer, (N,).
        images: On which image, (N,); an image is in one of the groups.
        second: Whether that image is of the second group, (N,).
        hits: Whether the answer is the one that is counted, (N,).
    """
    reader, image = (pd.factorize(names, sort=True)[0] for names in (readers, images))
    seen, hit = np.zeros((2, reader.max(initial=-1) + 1, image.max(initial=-1) + 1), np.int64)
    np.add.at(seen, (reader, image), 1)
    np.add.at(hit, (reader, image), np.asarray(hits, np.int64))
    in_second = np.zeros(seen.shape[1], np.bool_)
    in_second[image] = second
    return Crossed(seen, hit, in_second)
