"""The house stands as docs/architecture.md draws it."""

import subprocess
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
MEMBERS = sorted([*ROOT.glob("packages/*"), *ROOT.glob("apps/*")])


def test_imports_keep_to_the_layers() -> None:
    result = subprocess.run(["lint-imports"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout


@pytest.mark.parametrize("member", MEMBERS, ids=lambda path: path.name)
def test_every_member_is_a_package_that_can_be_published(member: Path) -> None:
    project = tomllib.loads((member / "pyproject.toml").read_text())["project"]
    module = member / "src" / member.name.replace("-", "_")
    assert project["name"] == member.name
    assert project["license"] == "Apache-2.0"
    assert (module / "py.typed").exists()
    assert (member / "tests").is_dir()
    assert f"# {member.name}" in (member / "README.md").read_text()


def test_no_room_grows_past_four_hundred_lines() -> None:
    long = [p for p in ROOT.glob("*/*/src/**/*.py") if len(p.read_text().splitlines()) > 400]
    assert not long


def test_the_readme_names_the_commands_that_do_all() -> None:
    readme = (ROOT / "README.md").read_text()
    assert "uv run urcdm-app sample\n" in readme
    assert "uv run pytest\n" in readme
