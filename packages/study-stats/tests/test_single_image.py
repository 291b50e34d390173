import re
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest

from study_stats import (
    Classifications,
    SingleClassification,
    SingleClassifications,
    StudyError,
    drift,
    mixed_model,
    read_classifications,
    read_single_classifications,
    realism,
    response_times,
    write_classifications,
)

SHOWN = datetime(2026, 5, 4, 9, 30, tzinfo=UTC)
REAL = SingleClassification("A", "1.png", True, False, SHOWN, SHOWN + timedelta(seconds=7.25), "session 1", "")
SYNTHETIC = replace(REAL, image="2.png", is_real=False, model_version="2026-05")
HEADER = "reader,image,is_real,called_real,time_shown,time_answered,session,model_version"
LINE = "A,1.png,true,0,2026-05-04T11:30:00+02:00,2026-05-04T09:30:07.25Z,session 1,"


def test_what_is_written_is_what_is_read(tmp_path: Path) -> None:
    rows = [REAL, SYNTHETIC, replace(SYNTHETIC, reader='B, "MD"', image="é\n3.png", called_real=True)]
    written = SingleClassifications.from_rows(rows)
    write_classifications(written, tmp_path / "single.csv")
    read = read_single_classifications(tmp_path / "single.csv")
    assert read.frame.equals(written.frame)
    assert [SingleClassification(*row) for row in read.frame.itertuples(index=False)] == rows
    assert str(read) == "3 classifications: 2 readers, 1 real and 2 synthetic images, versions 2026-05"


def test_a_file_by_hand(tmp_path: Path) -> None:
    path = tmp_path / "single.csv"
    path.write_text(f"{HEADER}\n{LINE}\n{LINE.replace('1.png,true', '2.png,False')}2026-05\n")
    frame = read_single_classifications(path).frame
    assert [SingleClassification(*row) for row in frame.itertuples(index=False)] == [REAL, SYNTHETIC]


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (LINE.replace("true", "real"), "is_real is 'real', wanted true or false"),
        (LINE.replace(",0,", ",,"), "called_real is '', wanted true or false"),
        (LINE.replace("1.png", " "), "image is empty or no text: ''"),
        (LINE + "2026-05", "model_version is '2026-05' of a real image: wanted none"),
        (LINE.replace("true", "false"), "model_version of a synthetic image is empty"),
        (LINE.replace("09:30:07.25", "09:29:07.25"), "before it was shown"),
        (LINE, "the same reader, image and time as a line before it"),
    ],
)
def test_bad_rows_are_told(tmp_path: Path, line: str, reason: str) -> None:
    path = tmp_path / "single.csv"
    path.write_text(f"{HEADER}\n{LINE}\n{line}\n")
    with pytest.raises(StudyError, match=re.escape(reason)) as caught:
        read_single_classifications(path)
    assert str(caught.value).startswith(f"{path}: 1 of 2 rows is bad: line 3: ")


def test_an_image_is_real_or_synthetic(tmp_path: Path) -> None:
    rows = [REAL, replace(SYNTHETIC, reader="B", image="1.png")]
    with pytest.raises(
        StudyError, match=r"1 images are real in one row and synthetic in another: the first is '1\.png'"
    ):
        SingleClassifications.from_rows(rows)
    path = tmp_path / "single.csv"
    path.write_text(f"{HEADER}\n{LINE}\n{LINE.replace('A,1.png,true', 'B,1.png,false')}2026-05\n")
    with pytest.raises(StudyError, match=re.escape(f"{path}: 1 images are real")):
        read_single_classifications(path)


def test_files_of_pairs_and_of_single_images_are_not_taken_for_each_other(tmp_path: Path) -> None:
    path = tmp_path / "single.csv"
    write_classifications(SingleClassifications.from_rows([REAL]), path)
    with pytest.raises(StudyError, match="no column real_image, synthetic_image, side and correct"):
        read_classifications(path)


def test_a_version_comes_with_the_real_images() -> None:
    study = SingleClassifications.from_rows(
        [REAL, SYNTHETIC, replace(SYNTHETIC, image="3.png", model_version="2026-06")]
    )
    assert study.versions == ["2026-05", "2026-06"]
    assert study.of_version("2026-06").frame["image"].tolist() == ["1.png", "3.png"]
    with pytest.raises(StudyError, match="no classifications of version ''"):
        study.of_version("")


def test_times_and_drift_are_those_of_pairs_with_the_same_answers(
    single: Callable[..., SingleClassifications], from_answers: Callable[..., Classifications]
) -> None:
    rng = np.random.default_rng(0)
    real, synthetic = rng.random((2, 20)) < 0.7, rng.random((2, 20)) < 0.4
    # Real and synthetic ones come by turns; a synthetic one called real is an incorrect answer.
    correct = np.stack([real, ~synthetic], axis=2).reshape(2, 40)
    study = single(dict(zip("AB", real, strict=True)), dict(zip("AB", synthetic, strict=True)))
    pairs = from_answers(dict(zip("AB", correct, strict=True)))
    assert drift(study) == drift(pairs)
    assert response_times(study).frame.equals(response_times(pairs).frame)


def test_what_is_of_pairs_only_says_so(single: Callable[..., SingleClassifications]) -> None:
    study = single({"A": [True]}, {"A": [True]})
    with pytest.raises(StudyError, match="classifications of single images, wanted pairs: see discrimination"):
        realism(study)  # type: ignore[arg-type]
    with pytest.raises(StudyError, match="the mixed model is of pairs"):
        mixed_model(study)  # type: ignore[arg-type]
