"""The families of imagen-pytorch: one configuration makes other networks in each, and weights of one fit no other.

Versions before 1.22 have group norms; those from 1.22 also normalise queries and keys; those from 2.0 have RMS norms.
The study used 1.18.5; models of this project are of 2.1 by default.
"""

import importlib.metadata
import re
from collections.abc import Iterable

from cdm_core.errors import CheckpointError

INSTALL = {
    "1": "imagen-pytorch==1.18.5",
    "1.22": "imagen-pytorch>=1.22,<2",
    "2": "imagen-pytorch>=2.1,<3",
}
"""Requirement for pip of each family, which is named by its first version."""


def installed_version() -> str:
    """Returns the version of imagen-pytorch that is installed; it is not imported.

    Raises:
        ImportError: It is not installed.
    """
    try:
        return importlib.metadata.version("imagen-pytorch")
    except importlib.metadata.PackageNotFoundError:
        raise ImportError(f"imagen-pytorch is not installed; run: pip install '{INSTALL['2']}'") from None


def family_of_version(version: str) -> str | None:
    """Returns the family of a version of imagen-pytorch; None if it is none that is known."""
    match = re.match(r"(\d+)\.(\d+)", version)
    if not match:
        return None
    numbers = int(match[1]), int(match[2])
    return "1" if numbers < (1, 22) else "1.22" if numbers < (2, 0) else "2" if numbers < (3, 0) else None


def family_of_tensors(names: Iterable[str]) -> str | None:
    """Returns the family of a network by the names of its tensors; None if it is none of imagen-pytorch."""
    names = list(names)
    if any(name.endswith("block1.norm.gamma") for name in names):
        return "2"
    if not any(name.endswith("block1.groupnorm.weight") for name in names):
        return None
    return "1.22" if any(name.endswith(".q_scale") for name in names) else "1"


def network_name(family: str) -> str:
    """Returns what `network` is in `model.toml` for networks of a family."""
    return f"imagen-pytorch {family}"


def require_network(name: object, source: str) -> None:
    """Checks that networks of that name can be made with what is installed.

    Args:
        name: As of `network_name`.
        source: The file it was read from, for error messages.

    Raises:
        CheckpointError: They cannot; one line with the version to install.
    """
    known = {network_name(family): family for family in INSTALL}
    if not isinstance(name, str) or name not in known:
        raise CheckpointError(f"{source}: networks of {name!r}; known are {', '.join(known)}; update cdm-core")
    require_family(known[name], source)


def require_family(family: str, source: str) -> None:
    """Checks that a family is the one installed.

    Args:
        family: Its name.
        source: The file of that family, for error messages.

    Raises:
        CheckpointError: It is another; one line with the version to install.
    """
    installed = installed_version()
    if family != family_of_version(installed):
        raise CheckpointError(
            f"{source}: networks of {network_name(family)}, which are not those of {installed}, which is installed; "
            f"run: pip install '{INSTALL[family]}'"
        )
