"""Files inside the package: a small model, its teacher, and the training plan of the teacher."""

from pathlib import Path

HERE = Path(__file__).parent
MODEL = HERE / "models" / "small-finished"
TEACHER = HERE / "models" / "small"
"""The same in many steps; what `distill` and more training start from."""
PLAN = HERE / "configs" / "small.toml"
