import base64
import io
import json
import os
import re
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from run_folder import FolderLock
from urcdm import Urcdm

RunApp = Callable[..., Any]
SIZE = "64x48"


@pytest.fixture
def sample(run_app: RunApp, model: Path, tmp_path: Path) -> RunApp:
    """Draws a small slide with the tiny model."""
    arguments = ("sample", "--model", model, "--out", tmp_path / "slide.tiff", "--size", SIZE, "--device", "cpu")
    return lambda *more: run_app(*arguments, *more)


def figures(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / "slide.json").read_text(encoding="utf-8"))
    return found


class Page(HTMLParser):
    """The tags of a page, and whether each that is opened is closed."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attributes)))
        if tag not in ("meta", "link", "img"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_a_run_leaves_a_page_that_stands_alone_and_its_figures(sample: RunApp, model: Path, tmp_path: Path) -> None:
    drawn = sample("--seed", "5", "--steps", "1")
    assert drawn.code == 0, drawn.err
    assert "slide.html (report)" in drawn.out
    assert sorted(path.name for path in tmp_path.iterdir()) == ["slide.html", "slide.json", "slide.png", "slide.tiff"]

    found = figures(tmp_path)
    assert found["model"]["name"] == "tiny"
    assert found["model"]["fingerprint"] == Urcdm.load(model).fingerprint()
    assert found["settings"]["seed"] == 5
    assert found["settings"]["size_l0"] == [64, 48]
    assert {"python", "torch", "urcdm"} <= found["versions"].keys()
    assert [(stage["level"], stage["image_px"]) for stage in found["stages"]] == [
        ("low", 16),
        ("medium", 16),
        ("high", 16),
    ]
    assert all(stage["timed"] == stage["patches"] and stage["seconds"] > 0 for stage in found["stages"])
    assert [level["level"] for level in found["quality"]] == ["low", "medium", "high"]
    assert found["quality"][0]["coherence"] is None
    assert (found["workers"], found["lost_workers"]) == (1, 0)
    assert found["writing_seconds"] > 0

    text = (tmp_path / "slide.html").read_text(encoding="utf-8")
    page = Page(text)
    assert not page.open
    assert not {"script", "iframe"} & {tag for tag, _ in page.found}
    assert not re.search(r"https?://|url\(", text)
    sources = [attributes["src"] for tag, attributes in page.found if tag == "img"]
    assert all(source is not None and source.startswith("data:image/jpeg;base64,") for source in sources)
    places = text.count('<section class="place">')
    assert len(sources) == 1 + 4 * places  # a pair at each of two levels
    with Image.open(io.BytesIO(base64.b64decode(str(sources[0]).partition(",")[2]))) as thumbnail:
        assert thumbnail.size == (64, 48)
    assert "tiny" in text
    assert str(tmp_path) not in text


@pytest.mark.parametrize("name", ["slide.html", "slide.json"])
def test_a_report_that_is_there_is_kept(sample: RunApp, tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("mine")
    refused = sample()
    assert (refused.code, f"{name} exists" in refused.err) == (1, True)
    assert (tmp_path / name).read_text() == "mine"
    refused = sample("--overwrite")  # it names the slide, and no report says that this belongs to one
    assert (refused.code, f"{name} exists, and no report beside it" in refused.err) == (1, True)
    assert (tmp_path / name).read_text() == "mine"


def test_a_slide_is_replaced_with_all_that_its_report_names(sample: RunApp, tmp_path: Path) -> None:
    assert sample().code == 0
    written = {path.name: path.stat().st_mtime_ns for path in tmp_path.iterdir()}
    assert sample().code == 1
    assert sample("--overwrite").code == 0
    assert all(path.stat().st_mtime_ns > written.pop(path.name) for path in tmp_path.iterdir())
    assert not written


def test_a_run_is_refused_while_another_draws_the_same_slide(sample: RunApp, tmp_path: Path) -> None:
    with FolderLock(tmp_path / "slide.canvas", beside=True):
        for way in ((), ("--overwrite",), ("--resume",)):
            refused = sample(*way)
            assert (refused.code, f"a run is at work here (process {os.getpid()} on " in refused.err) == (1, True)
    assert not list(tmp_path.iterdir())


def test_a_folder_that_is_no_canvas_is_never_removed(sample: RunApp, tmp_path: Path) -> None:
    (tmp_path / "slide.canvas").mkdir()
    (tmp_path / "slide.canvas" / "painting.psd").write_text("mine")
    for way in ((), ("--overwrite",), ("--resume",)):
        assert sample(*way).code == 1
    assert (tmp_path / "slide.canvas" / "painting.psd").read_text() == "mine"


def test_a_report_that_fails_does_not_lose_the_slide(
    sample: RunApp, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr("urcdm.SlideRun.quality", lambda *_: (_ for _ in ()).throw(OSError(28, "full")))
        failed = sample()
    assert failed.code == 1
    assert "--resume" in failed.err
    assert (tmp_path / "slide.tiff").exists()
    assert (tmp_path / "slide.canvas").exists()

    resumed = sample("--resume")
    assert resumed.code == 0, resumed.err
    assert sorted(path.name for path in tmp_path.iterdir()) == ["slide.html", "slide.json", "slide.png", "slide.tiff"]
    found = figures(tmp_path)
    assert found["sittings"] == 2
    assert all(stage["timed"] == stage["patches"] for stage in found["stages"])
    assert "in 2 sittings" in (tmp_path / "slide.html").read_text(encoding="utf-8")


def test_a_run_that_was_stopped_does_not_replace_what_was_put_there_since(
    sample: RunApp, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr("urcdm.SlideRun.sample", lambda *_, **__: (_ for _ in ()).throw(KeyboardInterrupt))
        assert sample().code == 130
    (tmp_path / "slide.tiff").write_text("mine")
    refused = sample("--resume")
    assert (refused.code, "slide.tiff exists" in refused.err) == (1, True)
