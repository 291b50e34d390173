from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from wsi_tiling import SlideError, TileTable


def table_of_two() -> TileTable:
    row = {"patient": "p", "slide": "s", "path": "s.tif", "x_l0": 5, "y_l0": -7, "field_l0": 256, "tissue": 0.5}
    return TileTable(pd.DataFrame([row | {"split": "train"}, row | {"x_l0": 9, "split": "test"}]))


def test_a_table_survives_saving(tmp_path: Path) -> None:
    table = table_of_two()
    for one in (table, TileTable.concat([])):
        one.save(tmp_path / "tiles.parquet")
        pd.testing.assert_frame_equal(TileTable.load(tmp_path / "tiles.parquet").frame, one.frame)
    assert [path.name for path in tmp_path.iterdir()] == ["tiles.parquet"]


def test_what_is_no_tile_table_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "tiles.parquet"
    with pytest.raises(SlideError, match="no such file"):
        TileTable.load(path)
    path.write_text("text")
    with pytest.raises(SlideError, match="is not a tile table"):
        TileTable.load(path)
    frame = table_of_two().frame
    frame.drop(columns="tissue").to_parquet(path)
    with pytest.raises(SlideError, match=r"without columns \['tissue'\]"):
        TileTable.load(path)
    frame.assign(x_l0="left").to_parquet(path)
    with pytest.raises(SlideError, match="wrong kind"):
        TileTable.load(path)


def test_tables_without_identities_are_read(tmp_path: Path) -> None:
    path = tmp_path / "tiles.parquet"
    frame = table_of_two().frame
    frame.drop(columns="slide_id").to_parquet(path)  # as version 0.1 wrote them
    assert TileTable.load(path).frame["slide_id"].tolist() == ["", ""]
    joined = pd.concat([frame.assign(slide_id="x"), frame.drop(columns="slide_id")])
    assert TileTable(joined).frame["slide_id"].tolist() == ["x", "x", "", ""]


@pytest.mark.parametrize(
    ("column", "value"),
    [("field_l0", np.nan), ("field_l0", np.inf), ("field_l0", 0), ("tissue", np.nan), ("tissue", 1.1), ("tissue", -1)],
)
def test_numbers_that_no_tile_has_are_refused_with_their_row(column: str, value: float) -> None:
    frame = table_of_two().frame
    frame.loc[1, column] = value
    with pytest.raises(SlideError, match=rf"{column} {value}.* in row 1 of slide 's', one of 1"):
        TileTable(frame)


def test_a_table_is_not_saved_below_a_file(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(SlideError, match="cannot be written"):
        TileTable.concat([]).save(tmp_path / "file" / "tiles.parquet")
