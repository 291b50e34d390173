"""What ships inside the package: a small model, and the plan that it is trained by."""

from pathlib import Path

HERE = Path(__file__).parent
MODEL = HERE / "models" / "small"
PLAN = HERE / "configs" / "small.toml"
