"""The model: one cascade for each level, stored in a folder with one folder for each cascade.

A `model.toml` may state `elsewhere = { low = "../other/low" }`: that cascade is part of another model.
"""

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from torch import nn

from cdm_core import Cascade, CascadeConfig, CheckpointError, ConfigError, StageConfig
from cdm_core.config_file import dump_config, parse_config
from cdm_core.model_folder import MODEL_FILE, open_model_folder, read_model_file, write_model_file
from urcdm.config import UrcdmConfig
from urcdm.layout.geometry import LevelGeometry, plan_geometry


class Urcdm:
    """An ultra-resolution cascade with its networks.

    Args:
        config: Its levels.
        cascades: One a level; the same for levels that share their networks.
        provenance: Where the weights come from: data, steps, date, code version.

    Raises:
        ValueError: The cascades do not fit the levels.
    """

    def __init__(
        self,
        config: UrcdmConfig,
        cascades: Sequence[Cascade],
        provenance: Mapping[str, str | int | float] | None = None,
    ) -> None:
        if len(cascades) != len(config.levels):
            raise ValueError(f"wanted a cascade for each of {len(config.levels)} levels, got {len(cascades)}")
        for i, cascade in enumerate(cascades):
            config.check_cascade(i, cascade.config)
            if config.shares(i) and cascade is not cascades[1]:
                raise ValueError("weights = 'shared' needs one cascade for all levels above the first, got several")
        self.config = config
        self.cascades = tuple(cascades)
        self.provenance = dict(provenance or {})

    def to(self, device: torch.device | str) -> "Urcdm":
        """Moves the networks, and returns the model."""
        for cascade in self.cascades:
            cascade.to(device)
        return self

    def geometry(self, size_l0: tuple[int, int]) -> tuple[LevelGeometry, ...]:
        """Lays out the canvases of a slide of that width and height, see `urcdm.layout.geometry.plan_geometry`."""
        return plan_geometry(self.config, tuple(cascade.config for cascade in self.cascades), size_l0)

    def fingerprint(self) -> str:
        """Returns a short hash of settings and weights, which together determine the pixels that the model samples."""
        digest = hashlib.sha256(repr(self.config).encode())
        for cascade in self.cascades:
            digest.update(repr(cascade.config).encode())
            for unet in cascade.unets:
                for name, value in unet.state_dict().items():
                    digest.update(name.encode())
                    digest.update(value.detach().cpu().flatten().view(torch.uint8).numpy().tobytes())
        return digest.hexdigest()[:16]

    def with_networks(
        self,
        networks: Mapping[tuple[str, int], tuple[StageConfig, nn.Module]],
        provenance: Mapping[str, str | int | float],
    ) -> "Urcdm":
        """Returns the model with other networks in the place of some of its own.

        Args:
            networks: The other networks and their stages, by the name of their cascade and the number of their stage.
            provenance: Provenance of the new model.
        """
        cascades: dict[str, Cascade] = {}
        names = [self.config.cascade_name(level) for level in range(len(self.cascades))]
        for name, cascade in zip(names, self.cascades, strict=True):
            own = zip(cascade.config.stages, cascade.unets, strict=True)
            parts = [networks.get((name, number), part) for number, part in enumerate(own)]
            stages, unets = zip(*parts, strict=True)
            cascades.setdefault(name, Cascade(CascadeConfig(stages), unets))
        return Urcdm(self.config, [cascades[name] for name in names], provenance)

    def save(self, folder: Path, *, dtype: torch.dtype = torch.float32, overwrite: bool = False) -> None:
        """Writes the model: `model.toml`, and a cascade folder named after each level, or one that levels share.

        Args:
            folder: The folder; made if missing.
            dtype: Precision of the stored weights.
            overwrite: Replace an existing model.

        Raises:
            CheckpointError: The folder holds a model and `overwrite` is false, or it cannot be written.
        """
        open_model_folder(folder, overwrite=overwrite)
        for name, cascade in {self.config.cascade_name(i): each for i, each in enumerate(self.cascades)}.items():
            cascade.save(folder / name, dtype=dtype, overwrite=overwrite)
        write_settings(folder, self.config, self.provenance)

    @classmethod
    def load(cls, folder: Path) -> "Urcdm":
        """Reads a model from its folder, in float32 on the CPU.

        Raises:
            CheckpointError: A file is missing, damaged, or does not fit the others.
            ConfigError: A `model.toml` has an unknown key or a wrong value.
        """
        config, folders, provenance = _read_settings(folder)
        cascades = {path: Cascade.load(path) for path in dict.fromkeys(folders)}
        try:
            return cls(config, [cascades[path] for path in folders], provenance)
        except ValueError as error:
            raise CheckpointError(f"{folder}: {error}") from None


def load_cascade(folder: Path, level: int) -> Cascade:
    """Reads the cascade of one level from a model's folder, in float32 on the CPU.

    Raises:
        CheckpointError, ConfigError: As of `Urcdm.load`.
    """
    _, folders, _ = _read_settings(folder)
    return Cascade.load(folders[level])


def _read_settings(folder: Path) -> tuple[UrcdmConfig, list[Path], dict[str, str | int | float]]:
    """The levels of a model, the folder of each one's cascade, and the provenance."""
    values = read_model_file(folder, kind="urcdm")
    provenance, elsewhere = values.pop("provenance", {}), values.pop("elsewhere", {})
    config = parse_config(UrcdmConfig, values, str(folder / MODEL_FILE))
    names = [config.cascade_name(level) for level in range(len(config.levels))]
    if not isinstance(elsewhere, dict) or not elsewhere.keys() <= set(names):
        raise ConfigError(f"{folder / MODEL_FILE}: elsewhere: a table of folders, of {', '.join(names)}")
    return config, [folder / str(elsewhere.get(name, name)) for name in names], provenance


def write_settings(folder: Path, config: UrcdmConfig, provenance: Mapping[str, str | int | float]) -> None:
    """Writes `model.toml`: the levels, and where the weights come from."""
    origin = {"provenance": dict(provenance)} if provenance else {}
    write_model_file(folder, kind="urcdm", values={**origin, **dump_config(config)})
