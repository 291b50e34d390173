"""The command line, from an empty folder to results; and whatever a user gets wrong, told in one line."""

import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from study_app.settings import SECRET_FILE, Settings, load_settings

PASSWORD = "correct horse battery\n"  # noqa: S105 - of the tests


def refused(outcome: Any, *words: str) -> None:
    assert outcome.code == 1, outcome
    lines = outcome.err.strip().splitlines()
    assert len(lines) == 1, outcome.err
    assert lines[0].startswith("study-app: ")
    for word in words:
        assert word in lines[0]


@pytest.fixture
def import_words(settings: Settings, folders: Path) -> tuple[Any, ...]:
    sides = ("--real", folders / "real", "--synthetic", folders / "synthetic", "--version", "v1")
    return ("import", settings.folder, "--study", "tiles", *sides)


def test_init_makes_an_installation_that_only_its_owner_reads(run_app: Any, tmp_path: Path, template: Path) -> None:
    folder = tmp_path / "new" / "reading"
    (tmp_path / "password").write_text(PASSWORD)
    done = run_app("init", folder, "--admin", "anna", "--password-file", tmp_path / "password")
    assert done.code == 0, done.err
    assert sorted(path.name for path in folder.iterdir()) == ["images", SECRET_FILE, "study.sqlite", "study.toml"]
    assert folder.stat().st_mode & 0o077 == 0
    assert all(path.stat().st_mode & 0o077 == 0 for path in folder.iterdir() if path.is_file())
    assert len(load_settings(folder, {}).secret_key) >= 32
    before = (folder / SECRET_FILE).read_text()
    assert before != (template / SECRET_FILE).read_text()  # each has a secret of its own
    refused(run_app("init", folder, "--admin", "anna", piped=PASSWORD), "exists")
    assert (folder / SECRET_FILE).read_text() == before


@pytest.mark.parametrize(
    ("words", "piped", "told"),
    [
        (("--admin", "anna"), "short\n", "wanted 10 to 1000"),
        (("--admin", " "), PASSWORD, "cannot be a name"),
        (("--admin", "anna", "--database-url", "nosuch://x"), PASSWORD, "driver cannot be loaded"),
        (("--admin", "anna", "--database-url", "sqlite://"), PASSWORD, "such as sqlite:///file"),
        (("--admin", "anna", "--database-url", "sqlite:////no/such/folder/x"), PASSWORD, "cannot be opened"),
        (("--admin", "anna", "--password-file", "/no/such/file"), "", "/no/such/file"),
        (("--admin", "anna", "--password-file", sys.executable), "", "is no text in UTF-8"),
    ],
)
def test_init_leaves_nothing_half_made(
    run_app: Any, tmp_path: Path, words: tuple[str, ...], piped: str, told: str
) -> None:
    refused(run_app("init", tmp_path / "reading", *words, piped=piped), told)
    assert list(tmp_path.iterdir()) == []


def test_from_images_to_an_open_study(run_app: Any, settings: Settings, import_words: tuple[Any, ...]) -> None:
    folder = settings.folder
    refused(run_app(*import_words), "give --size")
    done = run_app(*import_words, "--size", 16, "--min-tissue", 0.5, "--title", "Tiles", "--seed", 3)
    assert done.code == 0, done.err
    assert "real: 5 new, 1 left out for too little tissue" in done.out
    again = run_app(*import_words, "--size", 16, "--min-tissue", 0.5, "--title", "Tiles", "--seed", 3)
    assert "v1: 5 there already, 1 left out" in again.out
    refused(run_app(*import_words, "--size", 20), "with size_px 16")
    assert run_app("add-reader", folder, "berta", "--study", "tiles", piped=PASSWORD).code == 0
    known = run_app("add-reader", folder, "berta", "--study", "tiles")
    assert "with the password of before" in known.out
    assert run_app("set-password", folder, "berta", piped="another password\n").code == 0
    assert "5 pairs" in run_app("open", folder, "tiles").out
    refused(run_app("open", folder, "tiles"), "open already")
    refused(run_app(*import_words), "stay as they are")
    assert "Not possible yet" in run_app("report", folder, "tiles").out
    page = settings.folder / "results" / "tiles.html"
    assert f"{page.with_suffix('.json')} (its figures)" in run_app("report", folder, "tiles", "--out", page).out
    refused(run_app("report", folder, "tiles", "--out", page), "--overwrite")
    assert run_app("report", folder, "tiles", "--out", page, "--overwrite").code == 0
    refused(run_app("report", folder, "tiles", "--out", page.with_suffix(".pdf")), "ends in .html")
    assert run_app("export", folder, "tiles", "--out", folder / "out.csv").code == 0
    assert run_app("close", folder, "tiles").code == 0
    refused(run_app("close", folder, "tiles"), "not open")


def test_names_of_nothing(run_app: Any, settings: Settings, tmp_path: Path) -> None:
    for words in (("open",), ("close",), ("report",), ("export", "--out", tmp_path / "x.csv")):
        refused(run_app(words[0], settings.folder, "none", *words[1:]), "no study 'none': there are none yet")
    refused(run_app("add-reader", settings.folder, "berta", "--study", "none", piped=PASSWORD), "no study 'none'")
    refused(run_app("set-password", settings.folder, "berta", piped=PASSWORD), "no user 'berta'")
    refused(run_app("serve", tmp_path), "no installation")


def test_folders_that_make_no_study(
    run_app: Any, settings: Settings, import_words: tuple[Any, ...], folders: Path
) -> None:
    refused(run_app(*import_words, "--size", 21), "12 images are smaller than the 21 px")
    refused(run_app(*import_words[:-1], "real", "--size", 16), "cannot be a version")
    (folders / "real" / "bad.png").write_text("no picture")
    refused(run_app(*import_words, "--size", 16), "bad.png")
    shutil.rmtree(folders / "real")
    refused(run_app(*import_words, "--size", 16), "no such folder")
    refused(run_app("open", settings.folder, "tiles"), "there are none yet")


def test_help_does_not_wait_for_heavy_imports() -> None:
    code = """
import sys
from study_app.cli import main
sys.argv = ["study-app", "--help"]
try:
    main()
except SystemExit:
    sys.exit(bool({"torch", "numpy", "sqlalchemy", "flask"} & set(sys.modules)))
"""
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, check=False).returncode == 0
