"""What the README and the guide to studies say is what the commands and functions do."""

import contextlib
import io
import re
import shlex
import tomllib
from pathlib import Path
from typing import Any

import PIL.Image
import pytest

from study_app.settings import SETTINGS_FILE, Settings
from study_app.web import app_of

README = Path(__file__).parents[1] / "README.md"
GUIDE = README.parents[2] / "docs" / "study.md"


def blocks(path: Path, kind: str = "") -> list[str]:
    return re.findall(rf"^```{kind}\n(.*?)^```", path.read_text("utf-8"), re.DOTALL | re.MULTILINE)


def commands(path: Path) -> list[list[str]]:
    lines = [line for block in blocks(path) for line in block.splitlines()]
    return [shlex.split(line)[1:] for line in lines if line.startswith("study-app ")]


def test_the_commands_lead_from_folders_to_results(
    run_app: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, settings: Settings
) -> None:
    monkeypatch.chdir(tmp_path)
    for number, side in enumerate(("real", "drawn")):
        (tmp_path / side).mkdir()
        for seed in range(2):
            noise = PIL.Image.effect_noise((520, 512), 60 + 9 * seed + 5 * number)
            PIL.Image.merge("RGB", (noise, noise.point(lambda value: value // 2), noise)).save(f"{side}/{seed}.png")
    told = commands(README)
    assert {words[0] for words in told} == {
        "init",
        "import",
        "add-reader",
        "open",
        "serve",
        "report",
        "export",
        "backup",
    }
    for words in told:
        if words[0] == "serve" or "/srv/reading" in words:
            assert run_app(words[0], "--help").code == 0
            continue
        done = run_app(*words, piped="correct horse battery\n")
        assert done.code == 0, (words, done.err)
        if words[0] == "init":
            with Path("reading", SETTINGS_FILE).open("a") as file:  # passwords that cost next to nothing
                file.write("argon2_time = 1\nargon2_memory_kib = 8\nargon2_lanes = 1\n")
    made = {"tiles.html", "tiles.json", "named.html", "named.json", "tiles.csv", "reading.tar", "reading"}
    assert made < {path.name for path in tmp_path.iterdir()}
    app = app_of("reading")
    assert app.test_client().get("/sign-in").status_code == 200
    app.extensions["study_app"].database.close()


def test_the_table_of_settings_is_that_of_the_program() -> None:
    rows = re.findall(r"^\| `(\w+)` \| `([^`]*)` \|", README.read_text("utf-8"), re.MULTILINE)
    told = {name: tomllib.loads(f"value = {default}")["value"] for name, default in rows}
    defaults = {name: each.default for name, each in Settings.__dataclass_fields__.items()}
    assert told == {name: default for name, default in defaults.items() if name not in ("folder", "secret_key")}


def test_the_guide_prints_what_it_says() -> None:
    (example,) = blocks(GUIDE, "python")
    (printed,) = re.findall(r"prints:\n\n```\n(.*?)```", GUIDE.read_text("utf-8"), re.DOTALL)
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        exec(compile(example, str(GUIDE), "exec"), {})  # noqa: S102 - what the guide shows
    assert out.getvalue() == printed
