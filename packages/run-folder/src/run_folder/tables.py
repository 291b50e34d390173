"""CSV tables of any program: scripts, spreadsheets, other systems."""

import csv
import io
import os
import re
import sys
import unicodedata
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

_SEPARATORS = (",", ";", "\t")
_UTF16_MARKS = (b"\xff\xfe", b"\xfe\xff")
_SEPARATOR_LINE = re.compile(r'"?sep=(.)"?[ \t]*(?:\r\n|\r|\n|$)', re.IGNORECASE)
_SAVE = "save the table as CSV in UTF-8"


class _Reader(Protocol):
    """The reader of `csv`."""

    @property
    def line_num(self) -> int: ...

    def __iter__(self) -> Iterator[list[str]]: ...


class TableError(ValueError):
    """A table that cannot be read or is inconsistent; the message is one line that names the file."""


@dataclass(frozen=True)
class CsvRow:
    """A row of a table.

    Attributes:
        line: Its first line in the file, as an editor counts, from 1.
        values: The value of each named column, without surrounding blanks, in Unicode form NFC.
    """

    line: int
    values: Mapping[str, str]

    def __getitem__(self, column: str) -> str:
        return self.values[column]


@dataclass(frozen=True)
class CsvTable:
    """The rows of a CSV file.

    Attributes:
        path: The file.
        columns: Its named columns, in the file's order.
        rows: Its rows, without blank ones.
    """

    path: Path
    columns: tuple[str, ...]
    rows: tuple[CsvRow, ...]

    def __iter__(self) -> Iterator[CsvRow]:
        return iter(self.rows)

    def __len__(self) -> int:
        return len(self.rows)

    def by_key(self, column: str) -> dict[str, CsvRow]:
        """Returns the row of each key.

        Args:
            column: The column that holds the keys.

        Raises:
            TableError: A value is empty, or two rows have one key.
        """
        rows: dict[str, CsvRow] = {}
        for row in self.rows:
            if not (name := row[column]):
                raise TableError(f"{self.path}: line {row.line} has no {column}; fill it in")
            if (first := rows.setdefault(name, row)) is not row:
                raise TableError(
                    f"{self.path}: {column} {_shown(name)} is given twice, in lines {first.line} and {row.line}; "
                    "keep one of them"
                )
        return rows


def read_table(path: str | os.PathLike[str], columns: Sequence[str]) -> CsvTable:
    """Reads a CSV file with a header line.

    The text is UTF-8, with or without a byte-order mark, or UTF-16 with one. Any other encoding is refused, because a
    wrong guess would change names silently. Values are separated by commas, semicolons or tabs: by the one that yields
    the wanted columns in the header line, or the one in a line 'sep=;' before it, which spreadsheets write. Lines end
    with LF, CRLF or CR; a quoted value may hold line breaks. Blank rows are skipped. Names and values are stripped of
    blanks and brought to Unicode form NFC (see `plain_name`).

    Args:
        path: The file.
        columns: Columns that it must have, in any order; it may have others.

    Raises:
        TableError: The file cannot be read, is not such text, lacks a column, has a column twice, or has rows with too
            many or too few values.
    """
    path = Path(path)
    text = _text(path)
    separators: tuple[str, ...] = _SEPARATORS
    start = 1
    if stated := _SEPARATOR_LINE.match(text):
        if stated[1] not in _SEPARATORS:
            raise TableError(f"{path}: its separator is '{stated[1]}'; use commas, semicolons or tabs")
        separators, text, start = (stated[1],), text[stated.end() :], 2
    separator = _separator(text, separators, columns)
    records = _records(text, separator, path, start)
    _, header = next(records, (start, []))
    names = [plain_name(name) for name in header]
    _check_columns(names, columns, path)
    return CsvTable(path, tuple(filter(None, names)), tuple(_rows(records, names, path)))


def plain_name(text: str) -> str:
    """Brings a name to the form that tables have, for comparisons: no surrounding blanks, Unicode form NFC.

    macOS spells 'é' in file names as two characters (NFD), most other systems as one (NFC).
    """
    return unicodedata.normalize("NFC", text.strip())


def _text(path: Path) -> str:
    """The decoded file."""
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        raise TableError(f"{path}: no such file") from None
    except OSError as error:
        raise TableError(f"{path} cannot be read: {error.strerror or error}") from None
    encoding = "utf-16" if content.startswith(_UTF16_MARKS) else "utf-8"
    try:
        text = content.decode(encoding)
    except UnicodeDecodeError as error:
        line = _line_of(content[: error.start].decode(encoding, "replace"))
        raise TableError(f"{path}: line {line} is not {encoding.upper()}; {_SAVE}") from None
    if "\0" in text:
        line = _line_of(text[: text.index("\0")])
        raise TableError(f"{path}: line {line} has a NUL byte, which no text has; {_SAVE}")
    return text.lstrip("\ufeff")


def _line_of(text_before: str) -> int:
    return 1 + len(re.findall(r"\r\n|\r|\n", text_before))


def _separator(text: str, separators: Sequence[str], columns: Sequence[str]) -> str:
    """The separator that yields most of the wanted columns in the header; of several, the one with most columns."""

    def fit(separator: str) -> tuple[int, int]:
        try:
            names = [plain_name(name) for name in next(_filled(_reader(text, separator)), (1, []))[1]]
        except csv.Error:
            return 0, sys.maxsize  # its own error is more precise than missing columns
        return len({*columns} & {*names}), len(names)

    return max(separators, key=fit)


def _reader(text: str, separator: str) -> _Reader:
    return csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=True, skipinitialspace=True)


def _filled(reader: _Reader, start: int = 1) -> Iterator[tuple[int, list[str]]]:
    """The records that hold anything, each with its first line."""
    line = start
    for values in reader:
        if any(value.strip() for value in values):
            yield line, values
        line = start + reader.line_num


def _records(text: str, separator: str, path: Path, start: int) -> Iterator[tuple[int, list[str]]]:
    reader = _reader(text, separator)
    try:
        yield from _filled(reader, start)
    except csv.Error as error:
        line = start + max(reader.line_num, 1) - 1
        raise TableError(f"{path}: line {line} is not CSV ({error}); put a quote around whole values only") from None


def _check_columns(names: Sequence[str], columns: Sequence[str], path: Path) -> None:
    wanted = _listed(columns)
    if not any(names):
        raise TableError(f"{path} is empty; begin it with a line of the columns {wanted}")
    if twice := [name for name, times in Counter(filter(None, names)).items() if times > 1]:
        raise TableError(f"{path}: column {_shown(twice[0])} occurs twice; keep one of them")
    if missing := [name for name in columns if name not in names]:
        raise TableError(
            f"{path}: no column {_listed(missing)}; begin it with a line of the columns {wanted} (it has "
            f"{_listed([_shown(name) for name in names if name][:12])})"
        )


def _rows(records: Iterator[tuple[int, list[str]]], names: Sequence[str], path: Path) -> Iterator[CsvRow]:
    """The rows; each must have a value for every column, and none in a column without a name."""
    total = 0
    ragged: list[tuple[int, int]] = []
    for line, values in records:
        total += 1
        if len(values) != len(names):
            ragged.append((line, len(values)))
            continue
        texts = [plain_name(value) for value in values]
        if surplus := [text for name, text in zip(names, texts, strict=True) if text and not name]:
            raise TableError(f"{path}: line {line} has '{_shown(surplus[0])}' in a column without a name; name it")
        yield CsvRow(line, {name: text for name, text in zip(names, texts, strict=True) if name})
    if ragged:
        line, count = ragged[0]
        many = f"{len(ragged):,} of {total:,} rows have" if len(ragged) > 1 else f"1 of {total:,} rows has"
        raise TableError(
            f"{path}: {many} too many or too few values; line {line} has {count:,}, wanted {len(names):,}: quote "
            "values that hold the separator"
        )


def _listed(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def _shown(text: str) -> str:
    """A value shortened for a message of one line."""
    text = " ".join(text.split())
    return text if len(text) <= 60 else f"{text[:60]}..."
