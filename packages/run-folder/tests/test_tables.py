import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from run_folder import CsvTable, TableError, plain_name, read_table

PLAIN = "image,split\na,seen\nb,unseen\n"
ROWS = [(2, "a", "seen"), (3, "b", "unseen")]
NFC, NFD = "Zürich é", "Zu\u0308rich e\u0301"


def table_of(folder: Path, content: bytes | str, *columns: str) -> CsvTable:
    path = folder / "table.csv"
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return read_table(path, columns or ("image", "split"))


@pytest.mark.parametrize(
    ("content", "rows"),
    [
        # Encodings
        pytest.param(PLAIN, ROWS, id="plain"),
        pytest.param(PLAIN.encode("utf-8-sig"), ROWS, id="UTF-8 with a byte-order mark"),
        pytest.param(PLAIN.encode("utf-8-sig").decode().encode("utf-8-sig"), ROWS, id="two byte-order marks"),
        pytest.param(PLAIN.encode("utf-16"), ROWS, id="UTF-16 in this machine's byte order"),
        pytest.param(b"\xff\xfe" + PLAIN.encode("utf-16-le"), ROWS, id="UTF-16, little-endian"),
        pytest.param(b"\xfe\xff" + PLAIN.encode("utf-16-be"), ROWS, id="UTF-16, big-endian"),
        pytest.param(b"\xff\xfe" + PLAIN.replace(",", "\t").encode("utf-16-le"), ROWS, id="'Unicode text' of Excel"),
        pytest.param(f"image,split\n{NFD},{NFC}\n", [(2, NFC, NFC)], id="NFD"),
        pytest.param("image,split\n図,日本\n", [(2, "図", "日本")], id="no Latin letters"),
        # Separators
        pytest.param(PLAIN.replace(",", ";"), ROWS, id="semicolons"),
        pytest.param(PLAIN.replace(",", "\t"), ROWS, id="tabs"),
        pytest.param("image;split\na,b;0,5\n", [(2, "a,b", "0,5")], id="semicolons, commas in values"),
        pytest.param("image,split\na;b,x;y\n", [(2, "a;b", "x;y")], id="commas, semicolons in values"),
        pytest.param("sep=;\nimage;split\na;seen\n", [(3, "a", "seen")], id="sep=;"),
        pytest.param("\ufeffsep=,\r\nimage,split\r\na,seen\r\n", [(3, "a", "seen")], id="sep=, after a mark"),
        pytest.param('"sep=\t"\nimage\tsplit\na\tseen\n', [(3, "a", "seen")], id="sep= in quotes"),
        pytest.param("SEP=;\nimage;split\na;seen\n", [(3, "a", "seen")], id="SEP="),
        # Lines
        pytest.param(PLAIN.replace("\n", "\r\n"), ROWS, id="CRLF"),
        pytest.param(PLAIN.replace("\n", "\r"), ROWS, id="CR"),
        pytest.param(PLAIN.rstrip(), ROWS, id="no last line end"),
        pytest.param(PLAIN + "\n\r\n", ROWS, id="blank lines at the end"),
        pytest.param(PLAIN + ",\n , \n,,,,\n", ROWS, id="rows of nothing but separators"),
        pytest.param("\n\nimage,split\n\na,seen\n \nb,seen\n", [(5, "a", "seen"), (7, "b", "seen")], id="blank lines"),
        pytest.param('image,split\n"a\nb",seen\nc,x\n', [(2, "a\nb", "seen"), (4, "c", "x")], id="quoted line break"),
        pytest.param('image,"sp\nlit",split\na,1,seen\n', [(3, "a", "seen")], id="line break in the header"),
        pytest.param('image,split\r\n"a\r\nb",s\r\nc,x\r\n', [(2, "a\r\nb", "s"), (4, "c", "x")], id="quoted CRLF"),
        pytest.param(
            'image,split\n"a\u2028b",x\u0085y\nc,z\n', [(2, "a\u2028b", "x\u0085y"), (3, "c", "z")], id="U+2028"
        ),
        # Names and values
        pytest.param(" image , split\t\n a , seen \n", [(2, "a", "seen")], id="blanks"),
        pytest.param("image,split\n\xa0a,seen\u3000\n", [(2, "a", "seen")], id="blanks of other kinds"),
        pytest.param('image, split\n"a, b", "c, d"\n', [(2, "a, b", "c, d")], id="quotes after blanks"),
        pytest.param('"image","split"\n"a","say ""x"""\n', [(2, "a", 'say "x"')], id="quotes"),
        pytest.param('image,split\n5" core,seen\n', [(2, '5" core', "seen")], id="quote within a value"),
        pytest.param("split,age,image\nseen,60,a\n", [(2, "a", "seen")], id="other order, another column"),
        pytest.param("image,split,,\na,seen,,\n", [(2, "a", "seen")], id="columns without names or values"),
        pytest.param("image,split\na,\n", [(2, "a", "")], id="empty value"),
        pytest.param("image,split\n", [], id="no rows"),
    ],
)
def test_tables_from_anywhere_are_read(tmp_path: Path, content: bytes | str, rows: list[tuple[int, str, str]]) -> None:
    assert [(row.line, row["image"], row["split"]) for row in table_of(tmp_path, content)] == rows


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"image,split\na,seen\nM\xfcller,seen\n", "line 3 is not UTF-8; save the table as CSV in UTF-8"),
        (b"image,split\r\na,seen\r\n\r\n\xfc,seen\r\n", "line 4 is not UTF-8"),
        (b"\xff\xfei\x00m", "line 1 is not UTF-16"),
        (PLAIN.encode("utf-16-le"), "line 1 has a NUL byte"),
        (b"image,split\na,seen\nb\0,seen\n", "line 3 has a NUL byte"),
        (b"PK\x03\x04\x14\x00\x06\x00", "has a NUL byte, which no text has; save the table as CSV"),
        (b"", "is empty; begin it with a line of the columns image and split"),
        ("\n \n\t\n", "is empty"),
        ("name\na\n", "no column image and split; begin it with a line of the columns image and split (it has name)"),
        (
            "image;group;x\na;1;2\n",
            "no column split; begin it with a line of the columns image and split (it has image, ",
        ),
        ("Image,Split\na,seen\n", "(it has Image and Split)"),
        ("image|split\na|seen\n", "(it has image|split)"),
        ("sep=|\nimage|split\na|seen\n", "its separator is '|'; use commas, semicolons or tabs"),
        ("sep=,\nimage;split\na;seen\n", "no column image and split"),
        ("image,split,split\na,seen,seen\n", "column split occurs twice"),
        ("image,split,split \na,seen,seen\n", "column split occurs twice"),
        (f"image,split,{NFC},{NFD}\na,b,c,d\n", f"column {NFC} occurs twice"),
        ("image,split\na,seen,x\n", "1 of 1 rows has too many or too few values; line 2 has 3, wanted 2"),
        ("image,split\na,seen,\n", "line 2 has 3, wanted 2"),
        ("image,split\na,seen\n\nb\nc\n", "2 of 3 rows have too many or too few values; line 4 has 1, wanted 2"),
        ("image,split,\na,seen,x\n", "line 2 has 'x' in a column without a name; name it"),
        ('image,split\na,seen\n"b,seen\n', "line 3 is not CSV (unexpected end of data)"),
        ('image,split\n"a"b,seen\n', "line 2 is not CSV"),
        ('image,"spl"it\na,seen\n', "line 1 is not CSV"),
    ],
)
def test_tables_that_are_refused(tmp_path: Path, content: bytes | str, message: str) -> None:
    with pytest.raises(TableError, match=re.escape(message)) as caught:
        table_of(tmp_path, content)
    assert str(caught.value).startswith(str(tmp_path / "table.csv"))
    assert "\n" not in str(caught.value)


def test_files_that_cannot_be_opened(tmp_path: Path) -> None:
    with pytest.raises(TableError, match=r"none\.csv: no such file"):
        read_table(tmp_path / "none.csv", ["image"])
    with pytest.raises(TableError, match="cannot be read: Is a directory"):
        read_table(str(tmp_path), ["image"])


def test_one_column_needs_no_separator(tmp_path: Path) -> None:
    assert [row["image"] for row in table_of(tmp_path, "image\na\nb\n", "image")] == ["a", "b"]
    assert [row["image"] for row in table_of(tmp_path, "image;b\na;1\n", "image")] == ["a"]


def test_columns_are_those_with_names(tmp_path: Path) -> None:
    table = table_of(tmp_path, "split,,image\nseen,,a\n")
    assert (table.columns, len(table), dict(table.rows[0].values)) == (
        ("split", "image"),
        1,
        {"split": "seen", "image": "a"},
    )


def test_a_key_stands_once(tmp_path: Path) -> None:
    assert {name: row.line for name, row in table_of(tmp_path, PLAIN).by_key("image").items()} == {"a": 2, "b": 3}
    with pytest.raises(TableError, match=r"table\.csv: image a is given twice, in lines 2 and 4; keep one of them"):
        table_of(tmp_path, PLAIN + "a ,unseen\n").by_key("image")
    with pytest.raises(TableError, match=f"image {NFC} is given twice, in lines 2 and 3"):
        table_of(tmp_path, f"image,split\n{NFC},x\n{NFD},x\n").by_key("image")
    with pytest.raises(TableError, match=r"table\.csv: line 3 has no image; fill it in"):
        table_of(tmp_path, "image,split\na,x\n ,x\n").by_key("image")


@given(st.text(alphabet=st.characters(exclude_categories=["Cs"])))
def test_names_compare_whatever_their_form(text: str) -> None:
    assert plain_name(plain_name(text)) == plain_name(text)


def test_names_of_macos_files_are_those_of_the_table() -> None:
    assert plain_name(NFD) == plain_name(f" {NFC}\n") == NFC
