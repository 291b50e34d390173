"""The parts of command lines."""

from collections.abc import Callable
from pathlib import Path

import pytest

from run_folder import UsageError

pytest.importorskip("rich", reason="needs the extra `cli`")
jinja2 = pytest.importorskip("jinja2", reason="needs the extra `cli`")

from run_folder.cli.console import progress_bars, say_columns  # noqa: E402
from run_folder.cli.pages import data_uri, render_page  # noqa: E402
from run_folder.cli.running import run_cli  # noqa: E402


def fails_with(error: BaseException) -> Callable[[], None]:
    def app() -> None:
        raise error

    return app


def test_an_error_for_the_user_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        run_cli(fails_with(UsageError("no model;\ngive [one]")), "tool", ())
    assert end.value.code == 1
    assert capsys.readouterr().err == "tool: no model; give [one]\n"


def test_a_fault_of_the_program_keeps_its_trace() -> None:
    with pytest.raises(ZeroDivisionError):
        run_cli(fails_with(ZeroDivisionError()), "tool", ("tool",))


def test_an_application_has_its_own_words_for_an_error(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        run_cli(fails_with(KeyError("x")), "tool", (), message=lambda error: f"no key {error}")
    assert capsys.readouterr().err == "tool: no key 'x'\n"


@pytest.mark.parametrize(("rank", "printed"), [("0", "stopped; go on with --resume\n"), ("1", "")])
def test_an_interrupted_run_says_how_to_go_on(
    rank: str, printed: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RANK", rank)
    with pytest.raises(SystemExit) as end:
        run_cli(fails_with(SystemExit(130)), "tool", (), kept=lambda: "; go on with --resume")
    assert end.value.code == 130
    assert capsys.readouterr().err == printed


def test_columns_are_aligned(capsys: pytest.CaptureFixture[str]) -> None:
    say_columns([["name", "n"], ["a", "10"], ["longer", "2"]])
    assert capsys.readouterr().out == "name    n\n------  --\na       10\nlonger  2\n"


def test_bars_end_in_a_note_if_they_have_one(capsys: pytest.CaptureFixture[str]) -> None:
    with progress_bars(notes=True) as bars:
        bars.add_task("tiles", total=2, note="slide 3")
    assert "slide 3" in capsys.readouterr().out
    with progress_bars(shown=False) as bars:
        bars.add_task("tiles", total=2)
    assert capsys.readouterr().out == ""


def test_a_page_escapes_values_and_refuses_names_without_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "page_package"
    (package / "pages").mkdir(parents=True)
    (package / "__init__.py").touch()
    (package / "pages" / "page.html").write_text("<p>{{ name | twice }}</p>")
    monkeypatch.syspath_prepend(tmp_path)
    filters = {"twice": lambda text: text * 2}
    page = render_page("page_package", "page.html", {"name": "a<b"}, folder="pages", filters=filters)
    assert page == "<p>a&lt;ba&lt;b</p>"
    with pytest.raises(jinja2.UndefinedError):
        render_page("page_package", "page.html", {}, folder="pages", filters=filters)


def test_a_file_becomes_a_part_of_a_page() -> None:
    assert data_uri(b"GIF", "image/gif") == "data:image/gif;base64,R0lG"
