import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

RunApp = Callable[..., Any]


@pytest.fixture
def measured(run_app: RunApp, pictures: Path, network: Path, tmp_path: Path) -> Callable[..., Path]:
    """Measures a folder against 'real' by a command, under a name; returns the result."""

    def measure(command: str, name: str, fake: str, *more: str, real: str = "real") -> Path:
        out = tmp_path / (f"{name}.json" if command == "fid" else name)
        real_side, fake_side = pictures / real, pictures / fake
        sides = {
            "fid": (real_side, fake_side),
            "pfid": ("--real", real_side, "--fake", fake_side, "--crops", 60, "--workers", 0, "--resamples", 5),
            "memorise": ("--train", real_side, "--fake", fake_side),
            "two-sample": ("--real", real_side, "--fake", fake_side, "--crop", 16, "--steps", 2, "--folds", 2),
        }[command]
        extractor = () if command == "two-sample" else ("--extractor", network)
        done = run_app(command, *sides, *extractor, "--name", name, "--out", out, *more)
        assert done.code == 0, done.err
        return out

    return measure


def made(run_app: RunApp, tmp_path: Path, *results: Path) -> tuple[str, dict[str, Any]]:
    """The page and the figures of a report."""
    done = run_app("report", *results, "--out", tmp_path / "made" / "report.html")
    assert done.code == 0, done.err
    assert sorted(path.name for path in (tmp_path / "made").iterdir()) == ["report.html", "report.json"]
    page = (tmp_path / "made" / "report.html").read_text()
    return page, json.loads((tmp_path / "made" / "report.json").read_text())


def test_the_page_shows_all_results_and_stands_alone(
    run_app: RunApp, measured: Callable[..., Path], tmp_path: Path
) -> None:
    results = (
        measured("pfid", "ours", "other", "--patch", "32"),
        measured("pfid", "<theirs>", "dark", "--patch", "32"),
        measured("fid", "whole", "other"),
        measured("memorise", "copies?", "other"),
        measured("two-sample", "readers", "other"),
    )
    page, document = made(run_app, tmp_path, *results)
    assert [len(table["results"]) for table in document["tables"]] == [1, 2, 1, 1]  # images, crops, copies, classifier
    assert all(table["apart"] is None for table in document["tables"])
    assert "&lt;theirs&gt;" in page
    assert "<theirs>" not in page
    for word in ("ours", "whole", "copies?", "any-resolution", "KID", "share of copies", "accuracy of a classifier"):
        assert word in page
    sources = re.findall(r'(?:src|href)="([^"]*)"', page)
    assert all(source.startswith("data:") for source in sources)
    assert "http" not in re.sub(r'"data:[^"]*"', "", page)
    assert (
        sum(source.startswith("data:image/svg+xml") for source in sources) == 3
    )  # values, magnifications and accuracy
    assert sum(source.startswith("data:image/jpeg") for source in sources) == 4
    for table in document["tables"]:
        for result in table["results"]:
            assert f"{result['figures'][0]['value']:.4g}" in page


@pytest.mark.parametrize(
    ("more", "reason"),
    [
        ({"more": ("--patch", "24")}, "metric values of different plan cannot be compared"),
        ({"real": "dark"}, "metric values against different real images cannot be compared"),
    ],
)
def test_what_cannot_be_compared_is_in_tables_of_their_own(
    run_app: RunApp, measured: Callable[..., Path], tmp_path: Path, more: dict[str, Any], reason: str
) -> None:
    first = measured("pfid", "first", "other", "--patch", "32")
    second = measured("pfid", "second", "other", *more.get("more", ("--patch", "32")), real=more.get("real", "real"))
    page, document = made(run_app, tmp_path, first, second)
    assert [len(table["results"]) for table in document["tables"]] == [1, 1]
    assert reason in document["tables"][1]["apart"]
    assert f"In a table of its own: {reason}" in page


def test_another_extractor_is_in_a_table_of_its_own(
    run_app: RunApp, measured: Callable[..., Path], tmp_path: Path
) -> None:
    first = measured("fid", "first", "other")
    document = json.loads(first.read_text())
    for figure in document["figures"]:
        figure["extractor"] = "Another (sha256 0)"
    second = tmp_path / "second.json"
    second.write_text(json.dumps(document))
    page, _ = made(run_app, tmp_path, first, second)
    assert "metric values of different extractor cannot be compared" in page
    assert page.count("<dt>Extractor</dt>") == 2


def test_results_that_are_missing_or_damaged(run_app: RunApp, measured: Callable[..., Path], tmp_path: Path) -> None:
    out = tmp_path / "report.html"
    good = measured("memorise", "good", "other")
    cut, empty, foreign = tmp_path / "cut.json", tmp_path / "empty", tmp_path / "foreign.json"
    cut.write_text((good / "memorise.json").read_text()[:500])
    foreign.write_text('{"format": "something else"}')
    whole = json.loads((good / "memorise.json").read_text())
    changed = [tmp_path / f"{number}.json" for number in range(3)]
    for path, change in zip(changed, ({"kind": "seg"}, {"figures": []}, {"date": 2026}), strict=True):
        path.write_text(json.dumps(whole | change))
    empty.mkdir()
    (tmp_path / "unpictured").mkdir()
    unpictured = tmp_path / "unpictured" / "memorise.json"
    unpictured.write_text((good / "memorise.json").read_text())
    for place, words in (
        (tmp_path / "none.json", "No such file"),
        (cut, "no result of eval-app, or it is damaged"),
        (foreign, "another version"),
        *((path, "no result of eval-app, or it is damaged") for path in changed),
        (empty, "no result in this folder"),
        (unpictured, "pairs.png is missing"),
    ):
        refused = run_app("report", good, place, "--out", out)
        assert (refused.code, len(refused.err.strip().splitlines())) == (1, 1)
        assert words in refused.err
        assert not out.exists()
