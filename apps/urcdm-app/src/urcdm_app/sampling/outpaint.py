"""`urcdm-app outpaint`: one cascade as a model that is drawn patch after patch."""

from pathlib import Path

import urcdm
from cdm_core import Cascade
from urcdm_app.errors import UsageError


def load_outpainting(folder: Path, *, mpp: float | None, overlap: float) -> urcdm.Urcdm:
    """Reads the folder of a cascade; see `urcdm_app.cli.slides.outpaint` for the arguments.

    Raises:
        UsageError: The scale is not given, and the folder does not tell it.
    """
    cascade = Cascade.load(folder)
    scale = mpp if mpp is not None else cascade.provenance.get("mpp")
    if not isinstance(scale, int | float):
        raise UsageError(f"{folder}: the cascade does not tell the scale of its images; give --mpp")
    return urcdm.outpainting(cascade, mpp=scale, overlap=overlap)
