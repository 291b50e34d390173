import io
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import select

from run_folder import UsageError
from study_app.database import Database, Image, StudyKind
from study_app.images.importing import ImportRequest, import_images, side_notes
from study_app.images.pictures import prepare
from study_app.images.storing import Outcome, store
from study_app.settings import Settings
from study_app.stored_images.encoding import BLOCK, encode, pad_alike, to_square
from study_app.studies import study_named


def gradient(width: int, height: int) -> Any:
    across, down = np.meshgrid(np.arange(width), np.arange(height))
    return np.stack([across, down, across + down], 2).astype(np.uint8)


@given(st.integers(16, 60), st.integers(16, 60), st.integers(1, 16))
def test_a_picture_becomes_its_middle_square(width: int, height: int, size_px: int) -> None:
    square = to_square(gradient(width, height), size_px)
    assert square.shape == (size_px, size_px, 3)
    side = min(width, height)
    middle = gradient(width, height)[(height - side) // 2 :, (width - side) // 2 :][:side, :side]
    # Lanczos keeps the mean of a gradient, but for rounding and for the edges.
    assert abs(square.mean() - middle.mean()) < 1.5
    if side == size_px:
        np.testing.assert_array_equal(square, middle)


def test_pictures_are_never_enlarged() -> None:
    with pytest.raises(UsageError, match="smaller than the 32 px"):
        to_square(gradient(31, 40), 32)


def test_files_hold_pixels_and_nothing_else() -> None:
    pixels = np.random.default_rng(1).integers(0, 256, (32, 32, 3), dtype=np.uint8)
    picture = PIL.Image.open(io.BytesIO(encode(pixels)))
    assert (picture.size, picture.mode) == ((32, 32), "RGB")
    assert set(picture.info) <= {"jfif", "jfif_version", "jfif_unit", "jfif_density"}
    assert picture.getexif() == {}
    assert np.abs(np.asarray(picture).astype(int) - pixels).mean() < 6
    assert encode(pixels) == encode(pixels.copy())


def test_padded_files_have_one_length_and_the_same_pixels(tmp_path: Path) -> None:
    rng = np.random.default_rng(2)
    images = [np.full((32, 32, 3), 200, np.uint8), rng.integers(0, 256, (32, 32, 3), dtype=np.uint8)]
    paths = [tmp_path / f"{number}.jpg" for number in range(2)]
    for path, pixels in zip(paths, images, strict=True):
        path.write_bytes(encode(pixels))
    decoded = [np.asarray(PIL.Image.open(path)) for path in paths]
    length = pad_alike(paths)
    assert pad_alike(paths) == length
    assert {path.stat().st_size for path in paths} == {length}
    assert length % BLOCK == 0
    for path, pixels in zip(paths, decoded, strict=True):
        np.testing.assert_array_equal(np.asarray(PIL.Image.open(path)), pixels)
    assert pad_alike([]) == 0


Import = Callable[..., Counter[tuple[str, Outcome]]]


@pytest.fixture
def bring_in(make_study: Any, settings: Settings, database: Database, folders: Path) -> Import:
    """Imports the folders into a draft, and counts what became of the images."""
    make_study(pairs=0, opened=False)

    def run(real: str = "real", synthetic: str = "synthetic", version: str = "v1", min_tissue: float = 0.5) -> Any:
        request = ImportRequest("tiles", folders / real, folders / synthetic, version, min_tissue)
        return Counter((each.side, each.outcome) for each in import_images(database, settings.images, request))

    return run


def stored(database: Database) -> list[Image]:
    with database.reading() as session:
        return list(session.scalars(select(Image).order_by(Image.id)))


def test_folders_become_images_without_bare_glass(bring_in: Import, database: Database, settings: Settings) -> None:
    assert bring_in() == {
        ("real", Outcome.NEW): 5,
        ("real", Outcome.WHITE): 1,
        ("v1", Outcome.NEW): 5,
        ("v1", Outcome.WHITE): 1,
    }
    images = stored(database)
    assert [image.name for image in images] == [f"{n}.png" for n in range(5)] * 2
    assert [image.version for image in images] == [None] * 5 + ["v1"] * 5
    assert {(image.width, image.height) for image in images} == {(24, 20)}
    assert all(image.tissue_share > 0.9 for image in images if image.tissue_share is not None)
    assert len(list(settings.images.rglob("*.*"))) == 11  # the lock's, and no file that is not an image's
    assert all((settings.images / image.file).is_file() for image in images)


def test_importing_again_adds_nothing_and_goes_on_where_it_was(
    bring_in: Import, database: Database, settings: Settings, folders: Path
) -> None:
    hidden = folders / "synthetic" / "4.png"
    hidden.rename(folders / "4.png")
    bring_in()
    before = [image.sha256 for image in stored(database)]
    (folders / "4.png").rename(hidden)
    assert bring_in()[("v1", Outcome.NEW)] == 1
    assert bring_in()[("v1", Outcome.KNOWN)] == 5
    assert [image.sha256 for image in stored(database)][: len(before)] == before


def test_an_import_that_is_killed_loses_nothing_but_time(
    bring_in: Import, database: Database, settings: Settings, folders: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from study_app.images import importing

    monkeypatch.setattr(importing, "AT_A_TIME", 2)
    events = import_images(
        database, settings.images, ImportRequest("tiles", folders / "real", folders / "synthetic", "v")
    )
    for _ in range(4):
        next(events)
    events.close()
    assert len(stored(database)) == 4
    bring_in(version="v", min_tissue=0)
    assert len(stored(database)) == 12


def test_one_import_into_a_study_at_a_time(
    make_study: Any, settings: Settings, database: Database, folders: Path
) -> None:
    for name in ("tiles", "others"):
        make_study(name, pairs=0, opened=False)

    def bring_in(study: str) -> Any:
        request = ImportRequest(study, folders / "real", folders / "synthetic", "v1")
        return import_images(database, settings.images, request)

    first = bring_in("tiles")
    next(first)
    with pytest.raises(UsageError, match="being imported into the study 'tiles' already"):
        next(bring_in("tiles"))
    assert len(list(bring_in("others"))) == 12
    first.close()
    assert len(list(bring_in("tiles"))) == 12


def test_versions_come_one_after_the_other_with_the_same_real_images(
    bring_in: Import, folders: Path, database: Database
) -> None:
    bring_in()
    with pytest.raises(UsageError, match=r"synthetic, of version 'v2', the other synthetic, of version 'v1'"):
        bring_in(version="v2")
    for path in (folders / "synthetic").iterdir():
        pixels = np.asarray(PIL.Image.open(path))
        PIL.Image.fromarray(pixels[::-1]).save(path)
    counts = bring_in(version="v2")
    assert (counts[("real", Outcome.KNOWN)], counts[("v2", Outcome.NEW)]) == (5, 5)


def test_an_image_on_both_sides_is_refused(bring_in: Import, folders: Path, database: Database) -> None:
    (folders / "synthetic" / "0.png").write_bytes((folders / "real" / "3.png").read_bytes())
    with pytest.raises(UsageError, match=r"0.png has the pixels of 3.png: one is synthetic.*the other real"):
        bring_in()
    assert {image.version for image in stored(database)} == {None}  # those before it stay; the batch came whole or not


def test_copies_in_one_folder_are_taken_once(bring_in: Import, folders: Path) -> None:
    (folders / "real" / "copy.png").write_bytes((folders / "real" / "3.png").read_bytes())
    assert bring_in()[("real", Outcome.AGAIN)] == 1


def test_other_pixels_under_a_known_name_are_refused(bring_in: Import, folders: Path) -> None:
    bring_in()
    pixels = np.asarray(PIL.Image.open(folders / "real" / "0.png"))
    PIL.Image.fromarray(pixels[::-1]).save(folders / "real" / "0.png")
    with pytest.raises(UsageError, match=r"0.png, real, is in the study 'tiles' with other pixels"):
        bring_in()


def test_an_open_study_keeps_its_images(make_study: Any, settings: Settings, database: Database, folders: Path) -> None:
    make_study()
    before = sorted(settings.images.rglob("*"))
    with pytest.raises(UsageError, match="stay as they are"):
        next(import_images(database, settings.images, ImportRequest("tiles", folders / "real", folders / "real", "v2")))
    assert sorted(settings.images.rglob("*")) == before
    with database.reading() as session:
        study = study_named(session, "tiles")
    picture = prepare(gradient(16, 16), 16, name="late.png", version=None)
    with pytest.raises(UsageError, match="stay as they are"):
        store(database, settings.images, study, [picture], min_tissue=0)


def test_whole_slides_do_not_come_from_folders_of_images(
    make_study: Any, settings: Settings, database: Database, folders: Path
) -> None:
    make_study(kind=StudyKind.SLIDES, pairs=0, opened=False)
    request = ImportRequest("tiles", folders / "real", folders / "synthetic", "v1")
    with pytest.raises(UsageError, match="whole slides"):
        list(import_images(database, settings.images, request))


def test_what_might_give_a_side_away_is_told(folders: Path) -> None:
    assert side_notes(ImportRequest("tiles", folders / "real", folders / "synthetic", "v1")) == []
    for path in list((folders / "synthetic").iterdir()):
        PIL.Image.open(path).resize((30, 40)).save(path.with_suffix(".jpg"))
        path.unlink()
    notes = side_notes(ImportRequest("tiles", folders / "real", folders / "synthetic", "v1"))
    assert any("JPEG files: 0% of real, 100% of v1" in note for note in notes)
    assert any("20 to 20 px of real, 30 to 30 px of v1" in note for note in notes)
