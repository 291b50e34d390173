"""The settings of a run: everything, besides the model, that determines the pixels of a slide."""

from dataclasses import dataclass
from numbers import Integral

from cdm_core.stages.inference import Precision
from urcdm.errors import SettingsError
from urcdm.model import Urcdm


@dataclass(frozen=True)
class RunSettings:
    """The slide to sample, besides the model.

    Args:
        size_l0: Width and height of the slide, level-0 px.
        seed: Seed of all noise.
        steps: Denoising steps of every stage; each stage's own if None.
        resample: How often each step is run where pixels are held; more costs time and joins patches better.
        joint: Sample all patches of a stage together, step by step, their predictions averaged where they overlap
            (`urcdm.sampling.joint`), instead of one after the other, each holding its neighbours' pixels. Latent stages
            (`cdm_core.interop.diffusers`) are always sampled one after the other.
        precision: Precision of the executor's networks. Two precisions on one canvas would differ by more than
            rounding where patches meet; compiled networks and the batch size change no more than rounding.

    Raises:
        SettingsError: A number is not whole or too small, or joint sampling is combined with resampling.
    """

    size_l0: tuple[int, int]
    seed: int = 0
    steps: int | None = None
    resample: int = 1
    joint: bool = False
    precision: Precision = "fp32"

    def __post_init__(self) -> None:
        numbers = {"width": self.size_l0[0], "height": self.size_l0[1], "resample": self.resample}
        if self.steps is not None:
            numbers["steps"] = self.steps
        for name, value in numbers.items():
            if not isinstance(value, Integral) or value < 1:
                raise SettingsError(f"wanted a whole number of at least 1 for {name}, got {value}")
        if not isinstance(self.seed, Integral) or self.seed < 0:
            raise SettingsError(f"wanted a whole number of at least 0 for the seed, got {self.seed}")
        if self.joint and self.resample > 1:
            raise SettingsError("joint sampling holds no pixels, so there is nothing to resample: give resample=1")

    def identity(self, model: Urcdm) -> dict[str, str | int | float]:
        """Returns what the canvas stores to identify the run, so that only the same run resumes from it.

        Args:
            model: The model as it was loaded, before its networks are prepared in a precision.
        """
        return {
            "overlap": model.config.overlap,  # of the model, but an option in outpainting, as the scale is;
            "mpp": model.config.mpp,  # both before the fingerprint, so that a message names what differs
            "model": model.fingerprint(),
            "seed": self.seed,
            "width": self.size_l0[0],
            "height": self.size_l0[1],
            "steps": self.steps or "default",
            "resample": self.resample,
            "joint": self.joint,
            "precision": self.precision,
        }
