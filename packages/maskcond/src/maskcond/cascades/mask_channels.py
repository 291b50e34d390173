"""The channels in which the networks of a mask-conditioned cascade see a mask."""

from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np
import torch
from torch import Tensor

from maskcond.errors import MaskError
from maskcond.masks.area import resize_by_area
from maskcond.masks.arrays import Channels, Labels
from maskcond.masks.classes import KUMAR_BORDER
from maskcond.masks.codec import MaskCodec
from maskcond.masks.distances import distance_map
from maskcond.masks.instances import instances_from_borders
from maskcond.masks.points import point_map

Shows: TypeAlias = Literal["distances", "points"]
"""Content of the channels besides the classes, or instead of them; see `MaskChannels`."""


@dataclass(frozen=True)
class MaskChannels:
    """Converts masks to the channels that the networks see.

    Args:
        codec: Codec of the masks.
        shows: None: a channel for each class. 'distances': one more channel, the `distance_map` of the nuclei, made at
            the mask's own resolution. 'points': instead of the classes one channel, the `point_map` of the nuclei. For
            points it does not matter how large the nuclei are: one pixel each, at the centroid, is enough.

    Raises:
        MaskError: The mask should show distances or points, but its classes do not separate touching nuclei.
    """

    codec: MaskCodec
    shows: Shows | None = None

    def __post_init__(self) -> None:
        if self.shows is not None and self.codec.classes != KUMAR_BORDER:
            raise MaskError(
                f"wanted masks of nuclei with borders (KUMAR_BORDER) to show {self.shows}, got the classes "
                f"{', '.join(self.codec.classes.names)}, in which touching nuclei are one; choose other classes"
            )

    @property
    def count(self) -> int:
        """The number of channels; the last one is 'a mask is given'."""
        shown = {None: self.codec.channels, "distances": self.codec.channels + 1, "points": 1}
        return shown[self.shows] + 1

    def encode(self, labels: Labels | None, side_px: int) -> Tensor:
        """Returns a mask as channels, (count, side_px, side_px) in [0, 1]; the last one is 1: a mask is given.

        Without labels all channels are zero. So 'no mask' differs from a mask that is all background, and a widened
        network without a mask gives the same output as the unconditional network that it was made from.

        Args:
            labels: (H, H), or None. The channels are reduced to `side_px` by area.
            side_px: Side of the channels, px.

        Raises:
            MaskError: The labels are not square, or contain a number that is no class.
        """
        channels = torch.zeros(self.count, side_px, side_px)
        if labels is not None:
            if labels.shape[0] != labels.shape[1]:
                raise MaskError(f"wanted a square mask, got {labels.shape[1]} x {labels.shape[0]} px")
            self.codec.check(labels)
            channels[:-1] = torch.from_numpy(self._shown(labels, (side_px, side_px)))
            channels[-1] = 1
        return channels

    def _shown(self, labels: Labels, size_px: tuple[int, int]) -> Channels:
        if self.shows == "points":
            return point_map(instances_from_borders(labels), size_px)[None]
        channels = self.codec.encode(labels)
        if self.shows == "distances":
            channels = np.concatenate([channels, distance_map(instances_from_borders(labels))[None]])
        return resize_by_area(channels, size_px)
