from pathlib import Path

import pytest

from run_folder import UsageError
from urcdm_app.tiling.splitting import read_patients

NFC, NFD = "caf\u00e9", "cafe\u0301"


@pytest.mark.parametrize(
    "content",
    [
        f"slide,patient\n{NFC}.svs,anna\nb,bert\n".encode("utf-8-sig"),
        f"slide;patient;age\r\n{NFD};anna;60\r\nb.tif;bert;50\r\n".encode(),
        b"\xff\xfe" + f"patient\tslide\nanna\t{NFC}\nbert\tb\n".encode("utf-16-le"),
        f"sep=;\nslide;patient\nb;bert\nb.svs;bert\nother;\n{NFC};anna\n".encode(),
    ],
)
@pytest.mark.parametrize("name", [NFC, NFD])
def test_patients_come_from_tables_of_any_program(tmp_path: Path, content: bytes, name: str) -> None:
    (tmp_path / "patients.csv").write_bytes(content)
    patients = read_patients(tmp_path / "patients.csv", [Path("slides") / f"{name}.svs", Path("b.tif")])
    assert (patients[name], patients["b"]) == ("anna", "bert")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"slide,patient\na,anna\nb,bert\na.svs,otto\n", "'a' has two patients, anna and otto, in lines 2 and 4"),
        (b"slide,patient\na,anna\nb\n", "line 3 has 1, wanted 2"),
        (b"slide,patient\na,NaN\nb,bert\n", "line 2: the patient is 'NaN', which stands for a missing value"),
        (b"slide,patient\na,\nb,bert\n", "no patient for slide 'a', one of 1 without"),
        (b"slide,patient\na,M\xfcller\nb,bert\n", "line 2 is not UTF-8; save the table as CSV in UTF-8"),
        (b"slide,group\na,1\n", "no column patient; begin it with a line of the columns slide and patient"),
    ],
)
def test_patients_that_cannot_be_read_are_refused(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "patients.csv").write_bytes(content)
    with pytest.raises(UsageError, match=message) as caught:
        read_patients(tmp_path / "patients.csv", [Path("a.svs"), Path("b.tif")])
    assert str(caught.value).startswith("--patients ")
