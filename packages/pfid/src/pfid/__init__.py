"""FID, patch-FID, KID and their kin: figures that can be trusted and repeated."""

from pfid.errors import PfidError

__all__ = ["PfidError"]
