import json
from pathlib import Path

import numpy as np
import pytest

from maskcond import AnnotationError, Instances, draw_instances, read_outlines, relabel, trace_outlines, write_outlines

SQUARE = '<Vertex X="1" Y="1"/><Vertex X="7" Y="1"/><Vertex X="7" Y="7"/><Vertex X="1" Y="7"/>'
HOLE = '<Vertex X="3" Y="3"/><Vertex X="5" Y="3"/><Vertex X="5" Y="5"/><Vertex X="3" Y="5"/>'
POLYGON = {"type": "Polygon", "coordinates": [[[1, 1], [7, 1], [7, 7], [1, 7], [1, 1]]]}


def aperio(*regions: str, annotation: str = "") -> str:
    layer = f"<Annotation Id='1' {annotation}><Regions>{''.join(regions)}</Regions></Annotation>"
    return f"<Annotations MicronsPerPixel='0.25'>{layer}</Annotations>"


def region(vertices: str, attributes: str = "") -> str:
    return f"<Region Id='3' {attributes}><Attributes/><Vertices>{vertices}</Vertices></Region>"


@pytest.mark.parametrize("ending", ["xml", "geojson", "json"])
def test_nuclei_survive_a_file(nuclei: Instances, tmp_path: Path, ending: str) -> None:
    instances = relabel(nuclei)
    path = tmp_path / f"nuclei.{ending}"
    write_outlines(path, trace_outlines(instances, "nuclei & co. <é>"))
    outlines = read_outlines(path)
    assert {outline.class_name for outline in outlines} == {"nuclei & co. <é>"}
    drawn = draw_instances(outlines, instances.shape)
    if ending == "xml":  # which knows no objects of several pieces
        np.testing.assert_array_equal(drawn > 0, instances > 0)
        assert all(len(np.unique(instances[drawn == number])) == 1 for number in np.unique(drawn))
    else:
        np.testing.assert_array_equal(drawn, instances)
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("ending", ["xml", "geojson"])
def test_holes_survive_a_file(tmp_path: Path, ending: str) -> None:
    instances = np.zeros((12, 12), np.int32)
    instances[1:11, 1:11] = 1
    instances[3:5, 3:5] = instances[7:9, 3:9] = 0
    path = tmp_path / f"holes.{ending}"
    write_outlines(path, trace_outlines(instances))
    np.testing.assert_array_equal(draw_instances(read_outlines(path), (12, 12)), instances)


def test_regions_of_imagescope_are_read(tmp_path: Path) -> None:
    path = tmp_path / "regions.xml"
    path.write_text(
        aperio(
            region(SQUARE, "Type='0' NegativeROA='0' Text='epithelial'"),
            region(HOLE, "Type='0' NegativeROA='1'"),
            region(SQUARE, "Text=''"),
            region('<Vertex X="2" Y="2"/><Vertex X="3" Y="2"/>'),
            annotation="Name='nucleus'",
        ),
        encoding="utf-8",
    )
    outlines = read_outlines(path)
    assert [outline.class_name for outline in outlines] == ["epithelial", "nucleus", "nucleus"]
    assert np.count_nonzero(draw_instances(outlines[:1], (9, 9))) == 32
    assert np.count_nonzero(draw_instances(outlines[2:], (9, 9))) == 0


def test_a_class_can_come_from_the_attributes(tmp_path: Path) -> None:
    path = tmp_path / "attributes.xml"
    text = aperio(region(SQUARE)).replace(
        "<Regions>", "<Attributes><Attribute Name='Description' Value='artery'/></Attributes><Regions>"
    )
    path.write_text(text, encoding="utf-8")
    assert read_outlines(path)[0].class_name == "artery"


@pytest.mark.parametrize(
    ("content", "count"),
    [
        ({"type": "FeatureCollection", "features": [{"type": "Feature", "geometry": POLYGON}]}, 1),
        ([{"type": "Feature", "geometry": POLYGON, "properties": None}] * 2, 2),
        ({"type": "Feature", "geometry": POLYGON, "properties": {"classification": {"name": "artery"}}}, 1),
        ([], 0),
    ],
)
def test_geojson_of_every_form_is_read(tmp_path: Path, content, count) -> None:
    path = tmp_path / "qupath.geojson"
    path.write_text(json.dumps(content), encoding="utf-8")
    outlines = read_outlines(path)
    assert len(outlines) == count
    for outline in outlines:
        assert np.count_nonzero(draw_instances([outline], (9, 9))) == 36


def square(low: float, high: float) -> dict[str, object]:
    ring = [[low, low], [high, low], [high, high], [low, high], [low, low]]
    return {"type": "Polygon", "coordinates": [ring]}


def qupath(kind: str, geometry: dict[str, object], **more: object) -> dict[str, object]:
    return {"type": "Feature", "geometry": geometry, "properties": {"objectType": kind}, **more}


CELLS = [
    qupath("cell", square(5 + shift, 25 + shift), nucleusGeometry=square(12 + shift, 17 + shift)) for shift in (0, 30)
]
DETECTIONS = [qupath("detection", square(12 + shift, 17 + shift)) for shift in (0, 30)]
EARLIER = {"type": "Feature", "id": "PathCellObject", "geometry": square(5, 25), "nucleusGeometry": square(12, 17)}
IN_PLANES = [qupath("detection", square(2, 7) | {"plane": {"c": -1, "z": z, "t": 0}}) for z in (0, 1)]


@pytest.mark.parametrize(
    ("features", "areas"),
    [
        (CELLS, [25, 25]),
        (DETECTIONS, [25, 25]),
        ([EARLIER], [25]),
        ([qupath("annotation", square(0, 40)), qupath("annotation", square(30, 50))], [1500, 400]),
        (IN_PLANES[1:], [25]),
        # what encloses all others is an object if it is named as one
        ([{**qupath("annotation", square(0, 60)), "properties": {"name": "gland"}}, *DETECTIONS], [3550, 25, 25]),
    ],
)
def test_objects_of_qupath_are_read_as_nuclei(tmp_path: Path, features: object, areas: list[int]) -> None:
    path = tmp_path / "qupath.geojson"
    path.write_text(json.dumps(features), encoding="utf-8")
    assert np.bincount(draw_instances(read_outlines(path), (60, 60)).ravel())[1:].tolist() == areas


@pytest.mark.parametrize(
    ("features", "message"),
    [
        ([qupath("cell", square(5, 25))], "feature 1 is a cell without an outline of its nucleus"),
        ([qupath("cell", square(5, 25), nucleusGeometry=None)], "feature 1 is a cell without an outline of its nuc"),
        ([qupath("annotation", square(0, 60)), *CELLS], "1 annotations beside 2 cells or detections"),
        ([*DETECTIONS, qupath("annotation", square(0, 60))], "1 annotations beside 2 cells or detections"),
        ([*CELLS, *DETECTIONS], "2 cells beside 2 detections, which may lie in them"),
        ([qupath("tile", square(0, 8)), *DETECTIONS], "feature 1 is a tile, one of 1: export annotations"),
        ([*DETECTIONS, qupath("tma_core", square(0, 8))], "feature 3 is a tma core, one of 1"),
        (
            [qupath("annotation", square(0, 60)), *({"geometry": each["geometry"]} for each in DETECTIONS)],
            "feature 1 is",
        ),
        ([{"geometry": square(0, 60)}, *({"geometry": each["geometry"]} for each in DETECTIONS)], "a rectangle around"),
        (IN_PLANES, "objects in 2 planes or times; export those of one"),
    ],
)
def test_regions_around_objects_of_qupath_are_refused(tmp_path: Path, features: object, message: str) -> None:
    path = tmp_path / "qupath.geojson"
    path.write_text(json.dumps({"type": "FeatureCollection", "features": features}), encoding="utf-8")
    with pytest.raises(AnnotationError, match=message) as caught:
        read_outlines(path)
    assert "\n" not in str(caught.value)


BOMB = (
    '<!DOCTYPE a [<!ENTITY b "bbbbbbbbbb"><!ENTITY c "&b;&b;&b;&b;&b;&b;&b;&b;">]>'
    "<Annotations><Annotation Name='&c;'/></Annotations>"
)
OUTSIDE = '<!DOCTYPE a [<!ENTITY f SYSTEM "file:///etc/passwd">]><Annotations><Annotation Name="&f;"/></Annotations>'


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("a.xml", BOMB, "XML that cannot be read: DTDForbidden"),
        ("a.xml", OUTSIDE, "XML that cannot be read: DTDForbidden"),
        ("a.xml", "<Annotations><Annotation>", "XML that cannot be read: no element found"),
        ("a.xml", "", "XML that cannot be read"),
        ("a.xml", "<?xml version='1.0' encoding='no-such'?><a/>", "XML that cannot be read"),
        ("a.xml", "<html/>", "wanted XML of Aperio ImageScope, <Annotations>, got <html>"),
        ("a.xml", aperio(region(SQUARE, "Type='2'")), "region 3 is an ellipse"),
        ("a.xml", aperio(region(SQUARE, "NegativeROA='1'")), "region 3 is negative, a hole, but lies in no region"),
        ("a.xml", aperio(region(SQUARE, "NegativeROA='True'")), "region 3 has NegativeROA='True'"),
        ("a.xml", aperio(region("<Vertex X='1'/>")), "region 3 has a vertex without Y"),
        ("a.xml", aperio(region("<Vertex X='1' Y='one'/>")), "region 3 has a vertex that is no number"),
        ("a.xml", aperio(region("<Vertex X='1' Y='nan'/>")), "region 3: wanted coordinates within 1e.07 px"),
        ("a.json", "{", "JSON that cannot be read"),
        ("a.json", "[" * 100_000, "JSON that cannot be read"),
        ("a.json", "3", "wanted GeoJSON"),
        ("a.json", '{"type": "FeatureCollection"}', "wanted GeoJSON"),
        ("a.json", '[{"geometry": null}]', "feature 1 has no geometry"),
        ("a.json", '[{"geometry": {"type": "Point", "coordinates": [1, 2]}}]', "feature 1 is a Point; only Polygon"),
        ("a.json", '[{"geometry": {"type": "Polygon"}}]', "feature 1: wanted coordinates of a Polygon"),
        ("a.json", '[{"geometry": {"type": "MultiPolygon", "coordinates": [3]}}]', "coordinates of a MultiPolygon"),
        ("a.json", '[{"geometry": {"type": "Polygon", "coordinates": [[[1], [2]]]}}]', r"feature 1: wanted points"),
        ("a.json", '[{"geometry": {"type": "Polygon", "coordinates": [[[1, 1e99]]]}}]', "feature 1: wanted coord"),
        ("a.csv", "", "wanted a file of outlines, .xml, .geojson or .json"),
    ],
)
def test_bad_files_get_one_line_that_names_them(tmp_path: Path, name: str, text: str, message: str) -> None:
    path = tmp_path / name
    path.write_text(text, encoding="utf-8")
    with pytest.raises(AnnotationError, match=message) as caught:
        read_outlines(path)
    assert str(caught.value).startswith(str(path))
    assert "\n" not in str(caught.value)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(AnnotationError, match=r"none.xml: No such file"):
        read_outlines(tmp_path / "none.xml")
    with pytest.raises(AnnotationError, match=r"none.txt: wanted a file of outlines"):
        write_outlines(tmp_path / "none.txt", [])
