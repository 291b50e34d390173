"""`study-app demo`: a demonstration with three studies of a real slide and a generated one."""

import contextlib
import importlib.util
import os
import secrets
import shutil
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

from run_folder import RunFolder, UsageError
from run_folder.cli.console import say
from study_app.accounts import Passwords, add_user
from study_app.database import StudyKind
from study_app.images.crops import CropRequest
from study_app.images.scaled import SlideSide, SlideSources
from study_app.images.slides import SlideRequest
from study_app.importing import StudyOptions, run_crops, run_slides
from study_app.installing import install, opened
from study_app.settings import Settings
from study_app.studies import add_reader, open_study, study_named

ADMIN, READER = "admin", "reader"
GENERATED = "generated"
"""Folder of the generated slide, with its preview and its report."""
SLIDE_FILE = "slide.tiff"
INSTALLATION = "installation"
ABOUT_FILE = "about.txt"
_ABOUT = "Made by study-app demo, which was stopped: the same command goes on. The folder may be deleted.\n"
BUILT_IN = "built-in"
CROPS = {StudyKind.PAIRS: 40, StudyKind.SINGLE: 15}
"""Number of imported pairs of crops for each kind of study."""
_CROP_PX = 512
_MIN_TISSUE = 0.25
_SEED = 1


def run_demo(folder: Path, real: Path, generated: Path | None) -> None:
    """Makes a demonstration, and prints the passwords and the next command.

    The installation is made beside the folder and renamed once it is complete. After an interruption the same command
    continues with the slide generated so far.

    Args:
        folder: Folder of the new installation.
        real: A real slide.
        generated: A generated slide; None: urcdm-app generates one with its built-in model.

    Raises:
        UsageError: The folder exists already, or urcdm-app is missing or failed.
        LockedError: Another demonstration is being made under this name.
        RunFolderError: The hidden folder beside it does not belong to this command.
        SlideError: A slide cannot be read, or its scale is unknown.
    """
    if folder.exists():
        raise UsageError(f"{folder} exists; give the name of a new folder")
    if os.environ.get("STUDY_APP_DATABASE_URL"):
        raise UsageError("a demonstration has a database of its own: unset STUDY_APP_DATABASE_URL")
    SlideSide((real,))  # checks it before a slide is generated
    beside = folder.with_name(f".{folder.name}.demo")
    if generated is None:
        _check_drawing(beside / GENERATED)
    passwords = {name: secrets.token_urlsafe(9) for name in (ADMIN, READER)}
    with RunFolder(beside, "study-app demo", {}, resume=True) as run:
        run.claim(ABOUT_FILE, patterns=[f"{INSTALLATION}/**/*", f"{GENERATED}/**/*"])
        (beside / ABOUT_FILE).write_text(_ABOUT, "utf-8")
        drawn = _draw(beside / GENERATED) if generated is None else generated
        sources = SlideSources((real,), (drawn,), BUILT_IN if generated is None else GENERATED)
        installation = beside / INSTALLATION
        if installation.exists():
            shutil.rmtree(installation)  # by the record, all of it belongs to the run
        settings = install(installation, admin=ADMIN, password=passwords[ADMIN])
        studies = _fill(settings, sources)
        _open(settings, studies, passwords[READER])
        if generated is None:
            (beside / GENERATED).rename(installation / GENERATED)
        installation.rename(folder)
    for path in (beside / ABOUT_FILE, run.record_path):
        path.unlink(missing_ok=True)
    with contextlib.suppress(OSError):  # a slide that was generated before, but is not used now, stays
        beside.rmdir()
    say(f"\n{folder} is ready, with the studies {', '.join(studies)}. Passwords, shown only once:")
    for name, password in passwords.items():
        say(f"  {name}: {password}")
    say(f"Next: study-app serve {folder}, and sign in as {READER}")


def _check_drawing(folder: Path) -> None:
    """Raises UsageError if a slide has to be generated and urcdm-app is not installed."""
    if not (folder / SLIDE_FILE).exists() and importlib.util.find_spec("urcdm_app") is None:
        raise UsageError("urcdm-app, which draws the slide, is not installed: install it, or give --generated SLIDE")


def _draw(folder: Path) -> Path:
    """Generates a slide with urcdm-app, or continues an unfinished one."""
    slide = folder / SLIDE_FILE
    if slide.exists():
        return slide
    folder.mkdir(parents=True, exist_ok=True)
    say("urcdm-app draws a slide with its built-in model; on two CPU cores it takes some minutes")
    begun = ["--resume"] if slide.with_suffix(".canvas").exists() else []
    command = [sys.executable, "-m", "urcdm_app", "sample", "--out", str(slide), *begun]
    if subprocess.run(command, check=False).returncode:  # noqa: S603 - its own words, and a path
        raise UsageError("urcdm-app has not drawn the slide, see above; the same command goes on, or give --generated")
    return slide


def _fill(settings: Settings, sources: SlideSources) -> list[str]:
    """Imports crops and whole slides into three studies, and returns their names."""
    size_px = min(_CROP_PX, int(min(sources.sides_um()) / sources.mpp))
    titles = {StudyKind.PAIRS: ("crops", "Pairs of crops"), StudyKind.SINGLE: ("single", "Single crops")}
    for kind, (name, title) in titles.items():
        say(f"\n{title}")
        # another seed, otherwise both studies would show the same crops
        options = StudyOptions(size_px, kind, title, seed=_SEED + len(name))
        run_crops(settings, CropRequest(name, sources, CROPS[kind], _MIN_TISSUE), options)
    say("\nWhole slides")
    run_slides(
        settings, SlideRequest("slides", sources), StudyOptions(None, StudyKind.SLIDES, "Whole slides", seed=_SEED)
    )
    return [name for name, _ in titles.values()] + ["slides"]


def _open(settings: Settings, studies: list[str], password: str) -> None:
    """Opens the studies to a reader."""
    now = datetime.now(UTC)
    with opened(settings) as database, database.writing() as session:
        reader = add_user(session, Passwords(settings), READER, password, now=now)
        for name in studies:
            study = study_named(session, name, lock=True)
            add_reader(session, study, reader)
            open_study(session, study, settings.images, now=now)
