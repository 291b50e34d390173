"""`urcdm-app outpaint`: one cascade as a model that is sampled patch after patch."""

from functools import partial
from pathlib import Path

import urcdm
from cdm_core import Cascade
from run_folder import UsageError
from urcdm_app.options.sampling import OutpaintOptions
from urcdm_app.sampling.sample import run_sample


def run_outpaint(options: OutpaintOptions) -> None:
    """Samples a slide by outpainting; see `run_sample`."""
    run_sample(options, partial(load_outpainting, mpp=options.mpp, overlap=options.overlap))


def load_outpainting(folder: Path, *, mpp: float | None, overlap: float) -> urcdm.Urcdm:
    """Reads the folder of a cascade.

    Args:
        folder: The cascade.
        mpp: Micrometres a pixel of its images; None: as its provenance states.
        overlap: Share of a patch that overlaps the next.

    Raises:
        UsageError: The scale is unknown.
    """
    cascade = Cascade.load(folder)
    scale = mpp if mpp is not None else cascade.provenance.get("mpp")
    if not isinstance(scale, int | float):
        raise UsageError(f"{folder}: the cascade does not state the scale of its images; give --mpp")
    return urcdm.outpainting(cascade, mpp=scale, overlap=overlap)
