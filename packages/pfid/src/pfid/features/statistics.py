"""Mean and covariance of features: added up in one pass, merged, saved and loaded."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pfid.errors import DAMAGED_ARRAYS, FeatureError, is_finite
from pfid.features.checks import LARGEST, check_dimensions, checked_features
from run_folder import whole_file


@dataclass(frozen=True, eq=False)
class FeatureStatistics:
    """Mean and covariance of the features of a set of images: all that a Frechet distance needs.

    Attributes:
        mean: Mean feature, (D,) float64.
        covariance: Unbiased covariance (divided by the number of images less one), (D, D) float64.
        count: Number of images; None where a file of another program does not say it.
        extractor: Name of the extractor; None where it is not known.
        resize: How the extractor resized the images; None where it is not known.
    """

    mean: NDArray[np.float64]
    covariance: NDArray[np.float64]
    count: int | None = None
    extractor: str | None = None
    resize: str | None = None

    def __post_init__(self) -> None:
        for array in map(np.asarray, (self.mean, self.covariance)):
            if array.dtype.kind not in "fiu":
                raise FeatureError(f"statistics: wanted real numbers, got {array.dtype}")
        mean = np.asarray(self.mean, np.float64)
        covariance = np.asarray(self.covariance, np.float64)
        if mean.ndim != 1 or covariance.shape != (len(mean), len(mean)):
            raise FeatureError(
                f"statistics: wanted a mean (D,) and a covariance (D, D), not {mean.shape} and {covariance.shape}"
            )
        damaged = mean.size - int((np.abs(mean) <= LARGEST).sum())
        damaged += covariance.size - int((np.abs(covariance) <= LARGEST**2).sum())
        if damaged:
            raise FeatureError(f"statistics: {damaged:,} values that are not finite")
        if self.count is not None and (not is_finite(self.count) or self.count != int(self.count) or self.count < 2):
            raise FeatureError(f"statistics of {self.count} images: a covariance takes 2 or more")
        object.__setattr__(self, "mean", mean)
        object.__setattr__(self, "covariance", covariance)

    @property
    def dimensions(self) -> int:
        """Number of features of an image."""
        return len(self.mean)

    @classmethod
    def of(
        cls, features: NDArray[Any], *, extractor: str | None = None, resize: str | None = None
    ) -> "FeatureStatistics":
        """Returns the statistics of features.

        Args:
            features: One row an image, (N, D).
            extractor: Name of their extractor.
            resize: How the images were resized for it.

        Raises:
            FeatureError: Fewer than 2 images, or features that are not finite.
        """
        checked = checked_features(features, least=2)
        total = StatisticsAccumulator(checked.shape[1])
        total.add(checked)
        return total.statistics(extractor=extractor, resize=resize)

    def save(self, path: str | Path) -> None:
        """Writes a file that pytorch-fid and clean-fid read too: `.npz` with `mu` and `sigma`.

        Count, extractor and resize are in it under their names. A file of that name is replaced at once, when the new
        one is complete.
        """
        path = Path(path)
        own = {"count": self.count, "extractor": self.extractor, "resize": self.resize}
        arrays: dict[str, Any] = {key: value for key, value in own.items() if value is not None}
        with whole_file(path) as partial, partial.open("wb") as file:
            np.savez(file, mu=self.mean, sigma=self.covariance, **arrays)

    @classmethod
    def load(cls, path: str | Path) -> "FeatureStatistics":
        """Reads statistics that `save`, pytorch-fid or clean-fid wrote.

        Raises:
            FeatureError: The file is of another kind, or damaged.
        """
        try:
            with Path(path).open("rb") as file:
                archive = np.load(file, allow_pickle=False)
                if not isinstance(archive, np.lib.npyio.NpzFile) or not {"mu", "sigma"} <= set(archive.files):
                    raise FeatureError("wanted an .npz file with 'mu' and 'sigma'")
                own = {key: archive[key].item() for key in ("count", "extractor", "resize") if key in archive.files}
                loaded = cls(archive["mu"], archive["sigma"], **own)
            largest = np.abs(loaded.covariance).max(initial=0)
            if not np.allclose(loaded.covariance, loaded.covariance.T, rtol=0, atol=1e-5 * largest):
                raise FeatureError("'sigma' is not symmetric")
            return loaded
        except FeatureError as error:
            raise FeatureError(f"{path}: cannot be read as statistics: {error}") from None
        except OSError as error:
            raise FeatureError(f"{path}: cannot be read as statistics: {error.strerror or error}") from None
        except DAMAGED_ARRAYS:
            raise FeatureError(f"{path}: cannot be read as statistics: it is no .npz file, or it is damaged") from None


class StatisticsAccumulator:
    """Adds features up to their mean and covariance in one pass, in float64.

    Batches of any size give the same statistics up to rounding, and so do accumulators of parts, merged in any order.
    Only sums of products of differences from the mean are kept, so the result is accurate even if the mean is much
    larger than the spread.

    Source: Chan, Golub & LeVeque 1983, 'Algorithms for computing the sample variance', equations 2.1.

    Args:
        dimensions: Number of features of an image, D.
    """

    def __init__(self, dimensions: int) -> None:
        self.count = 0
        self._mean = np.zeros(dimensions)
        self._scatter = np.zeros((dimensions, dimensions))

    @property
    def dimensions(self) -> int:
        """Number of features of an image."""
        return len(self._mean)

    def add(self, features: NDArray[Any]) -> None:
        """Adds images.

        Args:
            features: One row an image, (B, D).

        Raises:
            FeatureError: They have another number of dimensions, or are not finite; nothing has been added then.
        """
        batch = checked_features(features, least=0)
        if batch.shape[1] != self.dimensions:
            raise FeatureError(f"features of {batch.shape[1]} dimensions, where {self.dimensions} are added up")
        if not len(batch):
            return
        mean = batch.mean(0)
        batch = batch - mean
        self._add(len(batch), mean, batch.T @ batch)

    def merge(self, other: "StatisticsAccumulator | FeatureStatistics") -> None:
        """Adds the images that another accumulator has seen, or that known statistics are of.

        Raises:
            FeatureError: They have another number of dimensions, or do not say of how many images they are.
        """
        check_dimensions(self.dimensions, other.dimensions)
        if isinstance(other, StatisticsAccumulator):
            self._add(other.count, other._mean, other._scatter)
        elif other.count is None:
            raise FeatureError("statistics that do not say of how many images they are cannot be merged")
        else:
            self._add(other.count, other.mean, other.covariance * (other.count - 1))

    def statistics(self, *, extractor: str | None = None, resize: str | None = None) -> FeatureStatistics:
        """Returns the statistics of all that was added.

        Args:
            extractor: Name of the features' extractor.
            resize: How the images were resized for it.

        Raises:
            FeatureError: Fewer than 2 images.
        """
        if self.count < 2:
            raise FeatureError(f"statistics of {self.count} images: a covariance takes 2 or more")
        return FeatureStatistics(self._mean.copy(), self._scatter / (self.count - 1), self.count, extractor, resize)

    def _add(self, count: int, mean: NDArray[np.float64], scatter: NDArray[np.float64]) -> None:
        total = self.count + count
        if not count:
            return
        step = mean - self._mean
        self._scatter += scatter
        self._scatter += np.outer(step, step) * (self.count * count / total)
        self._mean = self._mean + step * (count / total)
        self.count = total
