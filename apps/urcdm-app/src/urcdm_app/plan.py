"""Training plans: read from a file, or by name."""

import tomllib
from pathlib import Path

import tomli_w

from cdm_core import ConfigError
from cdm_core.config_file import dump_config, parse_config
from urcdm import TrainingPlan
from urcdm.presets import PLANS
from urcdm_app import builtin
from urcdm_app.errors import UsageError


def read_plan(path: Path) -> TrainingPlan:
    """Reads a plan from a TOML file, or takes one of the study's by its name, which a file of that name comes before.

    Raises:
        ConfigError: It is not there, not TOML, or has an unknown key or a wrong value.
    """
    if str(path) in PLANS and not path.is_file():
        return PLANS[str(path)]
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ConfigError(f"{path}: no such plan; 'urcdm-app plan' prints the built-in one to start from") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, OSError) as error:
        raise ConfigError(f"{path}: cannot be read as TOML ({error})") from None
    return parse_config(TrainingPlan, values, str(path))


def plan_text(name: str) -> str:
    """Returns the text of a plan by name.

    Raises:
        UsageError: There is none.
    """
    if name == "small":
        return builtin.PLAN.read_text(encoding="utf-8")
    if name not in PLANS:
        raise UsageError(f"no plan '{name}'; there are small, {', '.join(PLANS)}")
    return tomli_w.dumps(dump_config(PLANS[name]))
