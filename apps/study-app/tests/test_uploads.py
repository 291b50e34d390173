"""Pictures that administrators send, or choose on the server; and zip files that mean no good."""

import io
import os
import stat
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import PIL.Image
import pytest

from run_folder import UsageError
from study_app.database import Database, Image
from study_app.images.server_folders import server_folder, server_folders
from study_app.images.uploads import unpack_pictures
from study_app.settings import Settings

MANY = 1 << 20


def png(seed: int, size_px: int = 16) -> bytes:
    file = io.BytesIO()
    PIL.Image.effect_noise((size_px, size_px), 40 + seed).convert("RGB").save(file, "PNG")
    return file.getvalue()


def packed(files: dict[str, bytes], change: Callable[[zipfile.ZipInfo], None] = lambda entry: None) -> io.BytesIO:
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as opened:
        for name, contents in files.items():
            entry = zipfile.ZipInfo(name)
            entry.compress_type = zipfile.ZIP_DEFLATED
            change(entry)
            opened.writestr(entry, contents)
    archive.seek(0)
    return archive


def unpack(archive: io.BytesIO, tmp_path: Path, most_bytes: int = MANY) -> list[str]:
    folder = tmp_path / "unpacked"
    unpack_pictures(archive, folder, most_bytes=most_bytes)
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def test_pictures_are_unpacked_and_nothing_else_is(tmp_path: Path) -> None:
    files = ("a.png", "in/b.JPG", "in\\c.tif", "notes.txt", ".hidden.png", "__MACOSX/a.png", "in/.d/e.png", "in/", "./")
    found = unpack(packed(dict.fromkeys(files, b"x")), tmp_path)
    assert found == ["a.png", "in/b.JPG", "in/c.tif"]


@pytest.mark.parametrize(
    ("files", "told"),
    [
        (("../a.png",), "outside"),
        (("in/../../a.png",), "outside"),
        (("..\\a.png",), "outside"),
        (("/etc/a.png",), "outside"),
        (("C:\\a.png",), "outside"),
        (("a.png", "A.PNG"), "two of its files"),
        (("a.txt",), "no pictures"),
        ((), "no pictures"),
        (("a.png", "a.png/b.png"), "a file and a folder of it have one name"),
    ],
)
def test_archives_that_reach_outside_or_make_no_sense(tmp_path: Path, files: tuple[str, ...], told: str) -> None:
    with pytest.raises(UsageError, match=told):
        unpack(packed(dict.fromkeys(files, b"x")), tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_links_in_an_archive_are_refused(tmp_path: Path) -> None:
    def link(entry: zipfile.ZipInfo) -> None:
        entry.external_attr = (stat.S_IFLNK | 0o777) << 16

    with pytest.raises(UsageError, match="no plain file"):
        unpack(packed({"a.png": b"/etc/passwd"}, link), tmp_path)


def test_bombs_are_stopped_by_what_comes_out_of_them(tmp_path: Path) -> None:
    bomb = packed({"a.png": bytes(2 * MANY), "b.png": b"x"})
    assert len(bomb.getvalue()) < MANY // 100
    with pytest.raises(UsageError, match="more than 1 MiB"):
        unpack(bomb, tmp_path)
    lying = bytearray(bomb.getvalue())
    for header in (b"PK\x03\x04", b"PK\x01\x02"):  # says that it is small
        place = lying.index(header) + (22 if header[2] == 3 else 24)
        lying[place : place + 4] = (10).to_bytes(4, "little")
    with pytest.raises(UsageError):
        unpack(io.BytesIO(bytes(lying)), tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("contents", [b"", b"no zip file", b"PK\x03\x04" + bytes(100)])
def test_what_is_no_zip_file(tmp_path: Path, contents: bytes) -> None:
    with pytest.raises(UsageError, match="no zip file"):
        unpack(io.BytesIO(contents), tmp_path)


def test_a_damaged_and_an_encrypted_zip_file(tmp_path: Path) -> None:
    for method in (zipfile.ZIP_DEFLATED, zipfile.ZIP_LZMA):

        def by(entry: zipfile.ZipInfo, method: int = method) -> None:
            entry.compress_type = method

        damaged = bytearray(packed({"a.png": bytes(100_000) + os.urandom(1000)}, by).getvalue())
        damaged[45:55] = b"x" * 10
        with pytest.raises(UsageError, match="no zip file that can be read"):
            unpack(io.BytesIO(bytes(damaged)), tmp_path)
    encrypted = bytearray(packed({"a.png": b"x"}).getvalue())
    encrypted[6] |= 1
    encrypted[encrypted.index(b"PK\x01\x02") + 8] |= 1
    with pytest.raises(UsageError, match="encrypted"):
        unpack(io.BytesIO(bytes(encrypted)), tmp_path)


def unless(name: str, read: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """Reads folders, but not those of a name: as if their owner let nobody in."""

    def run(folder: Any) -> Any:
        if Path(folder).name == name:
            raise PermissionError(13, "Permission denied", str(folder))
        return read(folder)

    return run


def test_folders_on_the_server_are_those_below_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = tmp_path / "import"
    assert server_folders(root) == []
    for name in ("a", "a/b/c", "a/b/c/d", ".hidden", "empty"):
        (root / name).mkdir(parents=True)
        if name != "empty":
            (root / name / "x.png").touch()
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "x.png").touch()
    (root / "link").symlink_to(outside)
    (root / "lost+found").mkdir()
    monkeypatch.setattr("os.scandir", unless("lost+found", os.scandir))
    monkeypatch.setattr("os.listdir", unless("lost+found", os.listdir))
    assert server_folders(root) == ["a", "a/b/c"]
    assert server_folder(root, "a/b/c") == root / "a" / "b" / "c"
    for name in ("", ".", "..", "../outside", "link", "empty", str(outside)):
        with pytest.raises(UsageError, match="none of the folders"):
            server_folder(root, name)


@pytest.fixture
def send(browser: Any) -> Callable[..., Any]:
    """Sends two zip files as an administrator, unless somebody else is named, and returns the page that answers."""

    def run(
        real: io.BytesIO, synthetic: io.BytesIO, *, name: str = "anna", version: str = "v1", min_tissue: str = "0"
    ) -> Any:
        sender = browser(name)
        fields = {"csrf_token": sender.csrf, "version": version, "min_tissue": min_tissue}
        sides = (("real", real), ("synthetic", synthetic))
        files = {side: (io.BytesIO(archive.getvalue()), f"{side}.zip") for side, archive in sides}
        response = sender.client.post("/admin/studies/tiles/images/upload", data={**fields, **files}, buffered=True)
        if response.status_code == 303:
            assert response.location == "/admin/studies/tiles/images"
            return sender.get(response.location)
        return response

    return run


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where uploads are unpacked."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(folder))
    return folder


def names(database: Database) -> list[str]:
    with database.reading() as session:
        return sorted(f"{image.version}/{image.name}" for image in session.query(Image))


def test_two_zip_files_become_images_of_a_draft(
    make_study: Any, send: Any, browser: Any, database: Database, temporary: Path
) -> None:
    make_study(pairs=0, opened=False)
    sides = [packed({f"in/{n}.png": png(10 * side + n, 20 + side) for n in range(4)}) for side in (0, 1)]
    page = send(*sides)
    assert page.status_code == 200
    assert page.headers["X-Accel-Buffering"] == "no"
    for words in ("8 of 8", "real: 4 new.", "v1: 4 new.", "Note: shorter sides: 20 to 20 px of real", "Done."):
        assert words in page.text, words
    assert names(database) == [*(f"None/in/{n}.png" for n in range(4)), *(f"v1/in/{n}.png" for n in range(4))]
    assert list(temporary.iterdir()) == []
    assert "4 there already" in send(*sides).text
    browser("anna").submit("/admin/studies/tiles/open")
    assert "stay as they are" in send(*sides).text


def test_uploads_that_are_refused_leave_nothing(
    make_study: Any, send: Any, database: Database, temporary: Path
) -> None:
    make_study(pairs=0, opened=False)
    good = {"a.png": png(1)}
    for files, told, how in (
        (({"../a.png": b"x"}, good), "real images: it reaches outside", {}),
        ((good, {"a.txt": b"x"}), "synthetic images: it has no pictures", {}),
        ((good, {"a.png": b"x"}), "synthetic/a.png is not an image", {}),
        ((good, {"a.png": png(2, 8)}), "1 images are smaller than the 16 px", {}),
        ((good, good), "cannot be a version", {"version": "real"}),
        ((good, good), "lies between 0 and 1", {"min_tissue": "2"}),
        ((good, good), "is no number", {"min_tissue": "x"}),
    ):
        page = send(*map(packed, files), **how)
        assert told in page.text, page.text
        assert str(temporary) not in page.text
    stopped = send(packed(good), packed(good)).text  # found on the way
    assert "Stopped: a.png has the pixels of a.png" in stopped
    assert "Not done." in stopped
    assert names(database) == ["None/a.png"]
    assert list(temporary.iterdir()) == []


def test_large_requests_are_for_administrators_who_upload(make_study: Any, send: Any, browser: Any) -> None:
    make_study(pairs=0, opened=False)
    large = {f"{n}.png": os.urandom(60_000) for n in range(3)}
    assert send(packed(large), packed(large), name="berta").status_code == 413
    assert "is not an image" in send(packed(large), packed(large)).text
    assert browser("anna").submit("/admin/new-study", title="x" * 100_000).status_code == 413


def test_uploads_have_a_limit(make_study: Any, send: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    make_study(pairs=0, opened=False)
    monkeypatch.setattr(Settings, "upload_bytes", 300_000)
    assert send(packed({"a.png": os.urandom(310_000)}), packed({"a.png": b"x"})).status_code == 413
    assert "more than 1 MiB unpacked" in send(packed({"a.png": bytes(2 * MANY)}), packed({"a.png": b"x"})).text


def test_folders_on_the_server_become_images_of_a_draft(
    make_study: Any, browser: Any, settings: Settings, database: Database, folders: Path
) -> None:
    make_study(pairs=0, opened=False)
    admin = browser("anna")
    page = admin.get("/admin/studies/tiles/images")
    assert f"{settings.folder}/import" in page.text
    folders.rename(settings.folder / "import")
    assert "<option>synthetic</option>" in admin.get("/admin/studies/tiles/images").text
    action, fields = "/admin/studies/tiles/images/folders", {"version": "v1", "min_tissue": "0.5"}
    done = admin.submit(action, real="real", synthetic="synthetic", **fields)
    assert "real: 5 new, 1 left out for too little tissue." in done.text
    assert len(names(database)) == 10
    admin.submit(action, real="real", synthetic="../images", **fields)
    assert "none of the folders" in admin.get("/admin/studies/tiles/images").text


@pytest.fixture
def slides(settings: Settings, draw_slide: Any) -> None:
    """Folders with two slides each, on the server."""
    for n, side in enumerate(("real", "drawn")):
        (settings.import_root / side).mkdir(parents=True)
        for glass, name in enumerate(("a.tiff", "b.tiff")):
            draw_slide(name, (200 + 8 * n, 190), 0.15, glass=9 * glass + 20 * n).rename(
                settings.import_root / side / name
            )


def test_crops_of_slides_on_the_server_become_pairs(
    make_study: Any, browser: Any, slides: None, database: Database
) -> None:
    make_study(pairs=0, opened=False)
    admin, crops = browser("anna"), "/admin/studies/tiles/images/crops"
    wanted = {"real": "real", "synthetic": "drawn", "version": "v1", "count": "6", "min_tissue": "0"}
    for change, told in (
        ({"count": "x"}, "no whole number"),
        ({"count": "0"}, "wanted 1 or more"),
        ({"synthetic": "none"}, "none of the folders"),
    ):
        admin.submit(crops, **{**wanted, **change})
        assert told in admin.get("/admin/studies/tiles/images").text
    page = admin.client.post(crops, data={"csrf_token": admin.csrf, **wanted}, buffered=True).text
    assert "6 of 6" in page
    assert "v1: 6 new." in page
    assert len(names(database)) == 12
    admin.submit("/admin/studies/tiles/open")
    assert browser("berta").state()["total"] == 6


def test_a_study_of_slides_is_made_of_slides_on_the_server(
    browser: Any, slides: None, database: Database, settings: Settings
) -> None:
    admin, form = browser("anna"), "/admin/new-slide-study"
    assert "<option>drawn</option>" in admin.get(form).text
    wanted = {"name": "whole", "real": "real", "synthetic": "drawn", "version": "v1", "margin": "0.2", "title": "Kept"}
    for change, told in (
        ({"name": "No Name"}, "cannot be a study"),
        ({"version": "real"}, "cannot be a version"),
        ({"field_um": "-1"}, "wanted more than 0"),
        ({"field_um": "inf"}, "wanted more than 0"),
        ({"margin": "1"}, "lies between"),
        ({"real": "../real"}, "none of the folders"),
    ):
        response = admin.submit(form, **{**wanted, **change})
        assert response.status_code == 400
        assert told in response.text
        assert 'value="Kept"' in response.text
    (settings.import_root / "real" / "c.tiff").write_text("no slide")
    assert str(settings.import_root) not in admin.submit(form, **wanted).text.partition("<form")[0]
    (settings.import_root / "real" / "c.tiff").unlink()
    page = admin.client.post(form, data={"csrf_token": admin.csrf, **wanted}, buffered=True).text
    assert "real: 2 new." in page
    assert "v1: 2 new." in page
    again = {name: wanted[name] for name in ("real", "synthetic", "version")}
    more = admin.client.post(
        "/admin/studies/whole/images/slides", data={"csrf_token": admin.csrf, **again}, buffered=True
    ).text
    assert "v1: 2 there already." in more
    with database.reading() as session:
        file = session.query(Image).filter_by(version="v1").first().file
    response = admin.get(f"/admin/studies/{file.replace('/', '/images/', 1)}")
    assert PIL.Image.open(io.BytesIO(response.data)).size == (190, 190)
    admin.submit("/admin/studies/whole/open")
    assert "pairs of whole slides" in admin.get("/admin/studies/whole").text


def test_small_pictures_of_images(make_study: Any, browser: Any, database: Database) -> None:
    make_study()
    make_study("others")
    with database.reading() as session:
        files = [image.file.split("/") for image in session.query(Image)]
    admin = browser("anna")
    for study, file in (files[0], files[-1]):
        response = admin.get(f"/admin/studies/{study}/images/{file}")
        assert (response.status_code, response.mimetype) == (200, "image/jpeg")
        assert PIL.Image.open(io.BytesIO(response.data)).size == (16, 16)
    for path in ("tiles/images/x.jpg", "tiles/images/..%2Fothers%2Fx.jpg", "none/images/x.jpg"):
        assert admin.get(f"/admin/studies/{path}").status_code == 404
