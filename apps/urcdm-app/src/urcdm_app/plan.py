"""Reading a training plan."""

import tomllib
from pathlib import Path

from cdm_core import ConfigError
from cdm_core.config_file import parse_config
from urcdm import TrainingPlan


def read_plan(path: Path) -> TrainingPlan:
    """Reads a plan from a TOML file.

    Raises:
        ConfigError: It is not there, not TOML, or has an unknown key or a wrong value.
    """
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ConfigError(f"{path}: no such plan; 'urcdm-app plan' prints the built-in one to start from") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, OSError) as error:
        raise ConfigError(f"{path}: cannot be read as TOML ({error})") from None
    return parse_config(TrainingPlan, values, str(path))
