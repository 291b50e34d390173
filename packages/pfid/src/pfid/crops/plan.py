"""Crop plans of patch-FID, which are saved, loaded and checked."""

import hashlib
import json
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from pfid.errors import DAMAGED_ARRAYS, PlanError, is_finite
from pfid.images.sources import Image, Images, listed
from run_folder import whole_file

Protocol: TypeAlias = Literal["any-resolution", "paired"]
Side: TypeAlias = Literal["real", "fake"]
Ints: TypeAlias = NDArray[np.int32]

SIDES: tuple[Side, Side] = ("real", "fake")
_FORMAT = "pfid crop plan 1"


@dataclass(frozen=True)
class PlannedCrop:
    """One crop: a square region of an image, resized to a patch.

    Attributes:
        image: Name of the image.
        xy: Upper left corner of the region (x, y), pixels of the image.
        field: Side of the region, pixels of the image.
        size_px: Side of the patch.
        scale_px: Side to which the crop's square of the image is resized, the s of the protocols.
    """

    image: str
    xy: tuple[float, float]
    field: float
    size_px: int
    scale_px: int


@dataclass(frozen=True)
class WhiteRule:
    """The rule by which a crop counts as white, such as bare glass. Both crops of its pair are then left out.

    Attributes:
        share: Least share of white pixels.
        min_level: Least value of each channel in a white pixel, 0 to 255.
        max_chroma: Largest difference between the channels of a white pixel.
    """

    share: float = 0.95
    min_level: int = 200
    max_chroma: int = 20

    def __post_init__(self) -> None:
        if not is_finite(self.share) or not 0 < self.share <= 1:
            raise PlanError(f"wanted a share of white pixels above 0, 1 at most, got {self.share}")
        if not all(map(is_finite, (self.min_level, self.max_chroma))) or not (
            0 <= self.min_level <= 255 and self.max_chroma >= 0
        ):
            raise PlanError(
                f"wanted a least level of 0 to 255 and a chroma of 0 or more in white pixels, got {self.min_level} and "
                f"{self.max_chroma}"
            )

    def is_white(self, patches: Image) -> NDArray[np.bool_]:
        """Returns whether each patch, (B, P, P, 3), is white, (B,)."""
        low, high = patches.min(axis=-1), patches.max(axis=-1)
        white = (low >= self.min_level) & (high - low <= self.max_chroma)
        return np.asarray(white.mean(axis=(1, 2)) >= self.share)


@dataclass(frozen=True, eq=False)
class PlannedSide:
    """The part of a plan for one side.

    Attributes:
        names: Names of its images.
        sizes: Width and height of each, pixels.
        image: Index of the image of each crop, (N,).
        square_xy: Upper left corner of the square that is resized to `CropPlan.scale_px`, pixels of the image, (N, 2).
        square: Side of that square, pixels of the image, (N,).
    """

    names: tuple[str, ...]
    sizes: tuple[tuple[int, int], ...]
    image: Ints
    square_xy: Ints
    square: Ints

    def check(self, images: Images, side: Side) -> None:
        """Raises a PlanError unless the images have the names and sizes of the plan."""
        missing = sorted(set(self.names) ^ set(images.names))
        if missing:
            raise PlanError(f"the {side} images are not those of the plan: {listed(missing)} on one side only")
        sizes = dict(zip(images.names, images.sizes, strict=True))
        changed = [name for name, size in zip(self.names, self.sizes, strict=True) if sizes[name] != tuple(size)]
        if changed:
            raise PlanError(f"the {side} images are not those of the plan: other sizes of {listed(changed)}")


@dataclass(frozen=True, eq=False)
class CropPlan:
    """All crops of a patch-FID, from which it can be computed again.

    Crop i of the real side and crop i of the fake one have the same scale and, in their squares, the same position.

    Attributes:
        protocol: The protocol of the crops.
        patch_px: Side of the patches, p.
        size_min, size_max: Limits of the scale s; a size_max of 0 means none.
        seed: Seed of the plan.
        white: The rule by which white crops are left out; None keeps all.
        scale_px: Side to which each crop's square is resized, s rounded, (N,).
        window_xy: Position of the patch in the resized square (x, y), (N, 2).
        real, fake: The part of each side.
    """

    protocol: Protocol
    patch_px: int
    size_min: int
    size_max: int
    seed: int
    white: WhiteRule | None
    scale_px: Ints
    window_xy: Ints
    real: PlannedSide
    fake: PlannedSide

    def __len__(self) -> int:
        return len(self.scale_px)

    def check(self, *, real: Images, fake: Images) -> None:
        """Raises a PlanError unless the images of both sides have the names and sizes of the plan."""
        self.real.check(real, "real")
        self.fake.check(fake, "fake")

    def side(self, side: Side) -> PlannedSide:
        """Returns the part of one side."""
        return self.real if side == "real" else self.fake

    def regions(self, side: Side) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Returns upper left corners (x, y), (N, 2), and sides, (N,), of all regions, pixels of their images."""
        return self._regions(self.side(side), slice(None))

    def crop(self, side: Side, number: int) -> PlannedCrop:
        """Returns one crop."""
        planned = self.side(side)
        corners, fields = self._regions(planned, slice(number, number + 1))
        corner = float(corners[0, 0]), float(corners[0, 1])
        name = planned.names[planned.image[number]]
        return PlannedCrop(name, corner, float(fields[0]), self.patch_px, int(self.scale_px[number]))

    def _regions(self, planned: PlannedSide, numbers: slice) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        square, scale = planned.square[numbers].astype(np.int64), self.scale_px[numbers]
        # Whole numbers are multiplied before they are divided, so that what is not resized lies on whole pixels.
        shift = self.window_xy[numbers] * square[:, None] / scale[:, None]
        return planned.square_xy[numbers] + shift, self.patch_px * square / scale

    @cached_property
    def reduction(self) -> NDArray[np.float64]:
        """Pixels of the real image that a pixel of each patch is wide, (N,)."""
        return self.real.square / self.scale_px

    @property
    def description(self) -> str:
        """Protocol and settings in words; metric values are compared only if they have the same."""
        largest = f" to {self.size_max}" if self.size_max else " up"
        text = f"{self.protocol}, {self.patch_px} px, scales from {self.size_min} px{largest}"
        if self.white:
            rule = self.white
            text += (
                f", without white crops ({rule.share:.0%} of pixels >= {rule.min_level}, chroma <= {rule.max_chroma})"
            )
        return text

    @cached_property
    def sha256(self) -> str:
        """Checksum of the whole plan, 64 hexadecimal digits."""
        digest = hashlib.sha256(self._settings().encode())
        for _, column in sorted(self._columns().items()):
            digest.update(np.ascontiguousarray(column, "<i4").tobytes())
        return digest.hexdigest()

    def save(self, path: str | Path) -> None:
        """Writes it as one `.npz` file; an existing file is replaced when the new one is complete."""
        columns: dict[str, Any] = self._columns()
        with whole_file(path) as partial, partial.open("wb") as file:
            np.savez_compressed(file, settings=self._settings(), sha256=self.sha256, **columns)

    @classmethod
    def load(cls, path: str | Path) -> "CropPlan":
        """Reads a file that `save` wrote.

        Raises:
            PlanError: It is not a plan, is damaged or was changed.
        """
        try:
            with Path(path).open("rb") as stream, np.load(stream, allow_pickle=False) as file:
                arrays = {key: file[key] for key in file.files}
            settings = json.loads(arrays["settings"].item())
            if settings.pop("format") != _FORMAT:
                raise PlanError(f"{path} is a crop plan of another version of pfid")
            real, fake = (
                PlannedSide(
                    tuple(settings.pop(f"{side}_names")),
                    tuple((width, height) for width, height in settings.pop(f"{side}_sizes")),
                    *(arrays[f"{side}_{column}"] for column in ("image", "square_xy", "square")),
                )
                for side in SIDES
            )
            white = settings.pop("white")
            columns = {column: arrays[column] for column in ("scale_px", "window_xy")}
            plan = cls(**settings, white=WhiteRule(**white) if white else None, **columns, real=real, fake=fake)
            intact = plan.sha256 == arrays["sha256"].item()
        except PlanError:
            raise
        except OSError as error:
            raise PlanError(f"{path} cannot be read: {error.strerror or error}") from None
        except DAMAGED_ARRAYS:
            raise PlanError(f"{path} is no crop plan, or it is damaged") from None
        if not intact:
            raise PlanError(f"{path} is damaged or was changed: its checksum is not that of its crops")
        return plan

    def _columns(self) -> dict[str, Ints]:
        columns = {"scale_px": self.scale_px, "window_xy": self.window_xy}
        for side in SIDES:
            planned = self.side(side)
            columns |= {f"{side}_{name}": getattr(planned, name) for name in ("image", "square_xy", "square")}
        return columns

    def _settings(self) -> str:
        settings: dict[str, Any] = {
            "format": _FORMAT,
            **{name: getattr(self, name) for name in ("protocol", "patch_px", "size_min", "size_max", "seed")},
            "white": asdict(self.white) if self.white else None,
        }
        for side in SIDES:
            settings |= {f"{side}_names": self.side(side).names, f"{side}_sizes": self.side(side).sizes}
        return json.dumps(settings, sort_keys=True)
