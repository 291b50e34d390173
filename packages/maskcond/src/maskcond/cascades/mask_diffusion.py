"""A diffusion model of masks, an alternative to masks that are predicted from sampled images."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import ConfigDict
from torch import Tensor

from cdm_core import Cascade, CheckpointError
from cdm_core.config_file import STRICT, dump_config, parse_config
from cdm_core.model_folder import MODEL_FILE, open_model_folder, read_model_file, write_model_file
from maskcond.annotations.labelled_images import LabelledImage
from maskcond.cascades.class_balance import BalancedCrops, ClassBalance
from maskcond.cascades.mask_examples import ANYWHERE
from maskcond.errors import MaskError
from maskcond.masks.arrays import Channels, Instances, Labels
from maskcond.masks.augmentation import Augmentation, augment
from maskcond.masks.classes import KUMAR_BORDER, ClassSet, MaskClass
from maskcond.masks.codec import MaskCodec
from maskcond.masks.instances import connected_components, instances_from_borders
from maskcond.seeds import image_generator

KIND = "mask-diffusion"
CORNERS: NDArray[np.float32] = np.array(
    [(0, 0, 0), (1, 0, 0), (0, 1, 0), (0, 0, 1), (1, 1, 0), (1, 0, 1), (0, 1, 1), (1, 1, 1)], np.float32
)
"""Corners of the cube of three channels: the background's, then those of the classes by their numbers."""


@dataclass(frozen=True)
class MaskPictures:
    """The coding of masks as pictures of three channels, which the networks sample: each class is a corner of a cube.

    Up to three classes have a channel each; up to seven are coded in bits.

    Args:
        classes: Classes in the order of their numbers.

    Raises:
        MaskError: There are more than seven classes.

    Source: Chen et al. 2022, 'Analog bits: generating discrete data using diffusion models with self-conditioning'.
    """

    classes: tuple[MaskClass, ...]
    __pydantic_config__: ClassVar[ConfigDict] = STRICT

    def __post_init__(self) -> None:
        if len(ClassSet(self.classes).classes) >= len(CORNERS):
            raise MaskError(f"wanted masks of up to 7 classes, got {len(self.classes)}")

    @property
    def codec(self) -> MaskCodec:
        """The codec of the masks."""
        return MaskCodec(ClassSet(self.classes))

    def paint(self, labels: Labels) -> Channels:
        """Converts labels to a picture, (3, H, W) of zeros and ones.

        Raises:
            MaskError: A number is not that of a class.
        """
        self.codec.check(labels)
        return np.asarray(CORNERS[labels].transpose(2, 0, 1), np.float32)

    def read(self, picture: NDArray[np.floating]) -> Labels:
        """Converts a picture, (3, H, W), to labels, (H, W): each pixel takes the class of the nearest corner."""
        corners = CORNERS[: len(self.classes) + 1, :, None, None]
        return np.asarray(((picture - corners) ** 2).sum(axis=1).argmin(axis=0), np.uint8)


class MaskPictureExamples:
    """Random crops of masks as pictures, for `cdm_core.train_stage`; the n-th example is always the same.

    Args:
        images: Images with labels.
        pictures: Coding of the labels as pictures.
        image_px: Side of the largest pictures, px.
        augmentation: Augmentation of the crops; its `crop_px` is required.
        seed: Seed of the sampling.
        balance: Sampling of the crops.

    Raises:
        MaskError: There is no image, no `crop_px`, or it is smaller than `image_px`.
    """

    def __init__(
        self,
        images: Sequence[LabelledImage],
        pictures: MaskPictures,
        *,
        image_px: int,
        augmentation: Augmentation,
        seed: int = 0,
        balance: ClassBalance = ANYWHERE,
    ) -> None:
        if not len(images):
            raise MaskError("wanted at least one mask to train on, got none")
        if augmentation.crop_px is None or augmentation.crop_px < image_px:
            raise MaskError(f"wanted crops of at least image_px = {image_px}, got crop_px = {augmentation.crop_px}")
        self.images, self.pictures, self.image_px, self.seed = images, pictures, image_px, seed
        self.augmentation = replace(augmentation, colour=0.0)
        self.crops = BalancedCrops(images, pictures.codec, augmentation.crop_px, balance)

    def __getitem__(self, draw: int) -> dict[str, Tensor]:
        """Returns the example of a number, see `cdm_core.Examples`.

        Raises:
            MaskError: An image has no labels, or is smaller than a crop.
        """
        generator = np.random.default_rng([self.seed, draw])
        index, window = self.crops.draw(generator)
        source = self.images[index]
        if source.labels is None:
            raise MaskError(f"{source.name}: has no labels to learn from")
        try:
            _, mask = augment(source.image[window], source.labels[window], self.augmentation, generator)
        except MaskError as error:
            raise MaskError(f"{source.name}: {error}") from None
        labels = self.pictures.codec.resize_labels(mask, (self.image_px, self.image_px))
        return {"image": torch.from_numpy(self.pictures.paint(labels))}


class MaskDiffusion:
    """An unconditional cascade that samples masks.

    Args:
        classes: Classes of the masks, up to seven.
        cascade: Networks, without conditions.
        provenance: Provenance of the weights; None: the cascade's.

    Raises:
        ValueError: There are more than seven classes, or a stage of the cascade is conditioned.
    """

    def __init__(
        self, classes: ClassSet, cascade: Cascade, provenance: Mapping[str, str | int | float] | None = None
    ) -> None:
        for stage in cascade.config.stages:
            if stage.unet.cond_images_channels or stage.unet.text_embed_dim is not None:
                raise ValueError(f"the stage of {stage.image_px} px is conditioned; use an unconditional cascade")
        self.pictures, self.cascade = MaskPictures(classes.classes), cascade
        self.provenance = dict(cascade.provenance if provenance is None else provenance)

    def to(self, device: torch.device | str) -> "MaskDiffusion":
        """Moves the networks to a device and returns the model."""
        self.cascade.to(device)
        return self

    def sample(
        self, generators: Sequence[torch.Generator], *, steps: int | Sequence[int] | None = None
    ) -> list[Labels]:
        """Samples a mask, (S, S), for each generator."""
        pictures = self.cascade.sample(generators, steps=steps)[-1]
        return [self.pictures.read(picture) for picture in pictures.cpu().numpy()]

    def save(self, folder: Path, *, dtype: torch.dtype = torch.float32, overwrite: bool = False) -> None:
        """Writes the model: `model.toml`, and the cascade's folder `cascade`.

        Args:
            folder: Folder of the model; made if missing.
            dtype: Precision of the stored weights.
            overwrite: Whether to replace an existing model.

        Raises:
            CheckpointError: The folder holds a model and `overwrite` is false, or the model cannot be written.
        """
        open_model_folder(folder, overwrite=overwrite)
        self.cascade.save(folder / "cascade", dtype=dtype, overwrite=overwrite)
        origin = {"provenance": self.provenance} if self.provenance else {}
        write_model_file(folder, kind=KIND, values={**origin, **dump_config(self.pictures)})

    @classmethod
    def load(cls, folder: Path) -> "MaskDiffusion":
        """Reads a model from its folder, in float32 on the CPU.

        Raises:
            CheckpointError: A file is missing or damaged, or the cascade is conditioned.
            ConfigError: A `model.toml` has an unknown key or a wrong value.
        """
        values = read_model_file(folder, kind=KIND)
        provenance = values.pop("provenance", {})
        inputs = parse_config(MaskPictures, values, str(folder / MODEL_FILE))
        cascade = Cascade.load(folder / "cascade")
        try:
            return cls(inputs.codec.classes, cascade, provenance)
        except ValueError as error:
            raise CheckpointError(f"{folder}: {error}") from None


def sample_masks(
    model: MaskDiffusion,
    count: int,
    *,
    seed: int = 0,
    steps: int | Sequence[int] | None = None,
    batch_size: int = 16,
) -> Iterator[Labels]:
    """Samples masks, (S, S) labels; each depends on the seed and its number alone, not on the batch size.

    Raises:
        MaskError: A number is not positive, or the seed is negative.
    """
    if min(count, batch_size) < 1 or seed < 0:
        raise MaskError(f"count and batch_size are at least 1 and seed 0, got {count}, {batch_size} and {seed}")
    for start in range(0, count, batch_size):
        numbers = range(start, min(start + batch_size, count))
        yield from model.sample([image_generator(seed, number) for number in numbers], steps=steps)


def instances_of_labels(labels: Labels, classes: ClassSet) -> Instances:
    """Converts labels to an instance map, the inverse of `maskcond.labels_of_instances`.

    Raises:
        MaskError: The classes are neither a single one nor `KUMAR_BORDER`.
    """
    if classes == KUMAR_BORDER:
        return instances_from_borders(labels)
    if len(classes.classes) > 1:
        raise MaskError(f"wanted labels of one class, got {', '.join(classes.names)}; convert one class at a time")
    return connected_components(labels)
