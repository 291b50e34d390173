import io
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest
from sqlalchemy import func, select

from study_app import demonstration
from study_app.accounts import Passwords, authenticate
from study_app.database import Image, Item, Study, StudyKind, StudyReader
from study_app.images.scaled import ScaledSlide
from study_app.installing import opened
from study_app.settings import load_settings
from study_app.stored_images.tiles import TileGrid, read_tile
from wsi_tiling import open_slide

REAL_SLIDE = Path(__file__).parents[4] / "shared" / "data" / "slides" / "CMU-1-Small-Region.svs"


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    """Small crops, and few of them; passwords that cost next to nothing."""
    monkeypatch.setattr(
        "study_app.installing._FIRST_LINES", "argon2_time = 1\nargon2_memory_kib = 8\nargon2_lanes = 1\n"
    )
    monkeypatch.setattr(demonstration, "CROPS", {StudyKind.PAIRS: 3, StudyKind.SINGLE: 2})
    monkeypatch.setattr(demonstration, "_CROP_PX", 32)


@pytest.mark.usefixtures("few")
def test_one_command_makes_three_studies_that_can_be_read(run_app: Any, draw_slide: Any, tmp_path: Path) -> None:
    slides = draw_slide("real.tiff", (90, 80)), draw_slide("drawn.tiff", (70, 80), 0.6)
    words = ("demo", tmp_path / "trial", "--real", slides[0], "--generated", slides[1])
    done = run_app(*words)
    assert done.code == 0, done.err
    assert not list(tmp_path.glob(".*"))
    told = dict(re.findall(r"^  (\w+): (\S{12})$", done.out, re.MULTILINE))
    settings = load_settings(tmp_path / "trial", {})
    with opened(settings) as database, database.reading() as session:
        users = {name: authenticate(session, Passwords(settings), name, word) for name, word in told.items()}
        assert {name: user and user.is_admin for name, user in users.items()} == {"admin": True, "reader": False}
        studies = session.scalars(select(Study).order_by(Study.name)).all()
        assert [(study.name, str(study.kind), str(study.state)) for study in studies] == [
            ("crops", "pairs", "open"),
            ("single", "single", "open"),
            ("slides", "slides", "open"),
        ]
        items = [session.scalar(select(func.count()).where(Item.study_id == study.id)) for study in studies]
        assert items == [3, 4, 1]
        assert session.scalar(select(func.count()).select_from(StudyReader)) == 3
    before = (tmp_path / "trial" / "secret.key").read_text()
    again = run_app(*words)
    assert (again.code, again.err) == (1, f"study-app: {tmp_path}/trial exists; give the name of a new folder\n")
    assert (tmp_path / "trial" / "secret.key").read_text() == before


@pytest.mark.usefixtures("few")
def test_a_slide_is_drawn_if_none_is_given_and_gone_on_with(
    run_app: Any, draw_slide: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, drawn = draw_slide("real.tiff", (90, 80)), draw_slide("drawn.tiff", (70, 80), 0.6)
    asked: list[list[str]] = []

    def draw(command: list[str], check: bool) -> Any:
        """As urcdm-app does: stopped at first, so that a canvas is left, then to the end."""
        asked.append(command)
        slide = Path(command[command.index("--out") + 1])
        if "--resume" not in command:
            slide.with_suffix(".canvas").mkdir()
            return subprocess.CompletedProcess(command, 130)
        slide.with_suffix(".canvas").rmdir()
        slide.write_bytes(drawn.read_bytes())
        return subprocess.CompletedProcess(command, 0)

    monkeypatch.setattr("study_app.demonstration.subprocess.run", draw)
    words = ("demo", tmp_path / "trial", "--real", real)
    stopped = run_app(*words)
    assert stopped.code == 1
    assert "has not drawn the slide" in stopped.err
    assert not (tmp_path / "trial").exists()
    done = run_app(*words)
    assert done.code == 0, done.err
    assert [command[:4] for command in asked] == [[sys.executable, "-m", "urcdm_app", "sample"]] * 2
    assert (tmp_path / "trial" / "generated" / "slide.tiff").read_bytes() == drawn.read_bytes()
    assert not list(tmp_path.glob(".*"))


@pytest.mark.usefixtures("few")
def test_a_folder_of_the_users_beside_the_demonstration_is_kept(run_app: Any, draw_slide: Any, tmp_path: Path) -> None:
    slides = draw_slide("real.tiff", (90, 80)), draw_slide("drawn.tiff", (70, 80), 0.6)
    words = ("demo", tmp_path / "trial", "--real", slides[0], "--generated", slides[1])
    mine = tmp_path / ".trial.demo" / "installation" / "notes.txt"
    mine.parent.mkdir(parents=True)
    mine.write_text("mine")
    refused = run_app(*words)
    assert (refused.code, "no run of study-app demo recorded that it wrote it" in refused.err) == (1, True)
    assert mine.read_text() == "mine"
    mine.rename(tmp_path / ".trial.demo" / "notes.txt")
    mine.parent.rmdir()
    assert run_app(*words).code == 0
    assert [path.name for path in (tmp_path / ".trial.demo").iterdir()] == ["notes.txt"]


def test_what_makes_no_demonstration(
    run_app: Any, draw_slide: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = draw_slide("real.tiff", (90, 80))

    def told(*words: Any) -> str:
        done = run_app("demo", tmp_path / "trial", *words)
        assert (done.code, done.err.count("\n")) == (1, 1), done.err
        assert not (tmp_path / "trial").exists()
        return str(done.err)

    assert "none.svs: no such file" in told("--real", tmp_path / "none.svs")
    assert "does not say its scale" in told("--real", draw_slide("picture.png"))
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    assert "urcdm-app, which draws the slide, is not installed" in told("--real", real)
    monkeypatch.setenv("STUDY_APP_DATABASE_URL", "sqlite:////elsewhere")
    assert "unset STUDY_APP_DATABASE_URL" in told("--real", real)


@pytest.mark.real_data
def test_a_demonstration_of_the_real_slide(run_app: Any, draw_slide: Any, tmp_path: Path, few: None) -> None:
    """The whole slide that readers see is, but for the encoder, the part of the real one with the most tissue."""
    if not REAL_SLIDE.exists():
        pytest.skip("the real slides are not here")
    done = run_app(
        "demo", tmp_path / "trial", "--real", REAL_SLIDE, "--generated", draw_slide("drawn.tiff", (520, 512))
    )
    assert done.code == 0, done.err
    settings = load_settings(tmp_path / "trial", {})
    with opened(settings) as database, database.reading() as session:
        study = session.scalars(select(Study).where(Study.kind == StudyKind.SLIDES)).one()
        image = session.scalars(select(Image).where(Image.study_id == study.id, Image.is_real)).one()
    assert (image.tissue_share or 0) > 0.6  # 0.3 of all of it
    grid = TileGrid(study.size_px)
    number = grid.number(grid.pyramid.max_level, 1, 1) or 0
    tile = read_tile(settings.images / image.file, number, study.tile_bytes or 0)
    with open_slide(REAL_SLIDE) as slide:
        corner = int(image.x or 0) + 254, int(image.y or 0) + 254
        pixels = ScaledSlide(slide, study.mpp or 0).read(corner, 258.0, 258)
    shown = np.asarray(PIL.Image.open(io.BytesIO(tile)))
    assert np.abs(shown.astype(int) - pixels).mean() < 3
