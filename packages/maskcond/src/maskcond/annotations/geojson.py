"""Outlines in GeoJSON, as QuPath exports and imports them."""

import json
from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np

from maskcond.annotations.outlines import Outline, Polygon, Ring, as_ring
from maskcond.errors import AnnotationError

_NO_OBJECTS = ("tile", "tma_core", "root")
_EARLIER_TYPES = {
    "PathAnnotationObject": "annotation",
    "PathCellObject": "cell",
    "PathDetectionObject": "detection",
    "PathTileObject": "tile",
    "TMACoreObject": "tma_core",
    "PathRootObject": "root",
}


def parse_geojson(text: bytes) -> list[Outline]:
    """Reads outlines, one for each feature, from a collection, a plain list of features or a single feature.

    The class is `properties.classification.name`, as in QuPath, or else `properties.name`. QuPath's cells have two
    outlines, of which that of the nucleus is read (`nucleusGeometry`).

    Raises:
        AnnotationError: The text is not GeoJSON; a feature is neither a Polygon nor a MultiPolygon; a cell has no
            nucleus; or objects cannot be distinguished from regions around them: annotations beside detections or
            cells, a rectangle without a class around all others, tiles, tissue microarray cores, or objects of several
            planes.
    """
    try:
        content = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise AnnotationError(f"JSON that cannot be read: {error}") from None
    if isinstance(content, dict):
        content = content.get("features") if content.get("type") == "FeatureCollection" else [content]
    if not isinstance(content, list):
        raise AnnotationError("wanted GeoJSON: a FeatureCollection, a list of features, or a feature")
    kinds = [_object_type(feature) for feature in content]
    _check_kinds(kinds)
    _check_planes(content)
    outlines = [
        _outline(feature, number, kind) for number, (feature, kind) in enumerate(zip(content, kinds, strict=True), 1)
    ]
    _check_frames(outlines)
    return outlines


def geojson_text(outlines: Sequence[Outline]) -> bytes:
    """Writes outlines as a FeatureCollection that QuPath imports as annotations."""
    features = []
    for outline in outlines:
        properties: dict[str, Any] = {"objectType": "annotation"}
        if outline.class_name:
            properties["classification"] = {"name": outline.class_name}
        polygons = [[_closed(ring) for ring in (polygon.outer, *polygon.holes)] for polygon in outline.polygons]
        geometry = (
            {"type": "Polygon", "coordinates": polygons[0]}
            if len(polygons) == 1
            else {"type": "MultiPolygon", "coordinates": polygons}
        )
        features.append({"type": "Feature", "geometry": geometry, "properties": properties})
    return json.dumps({"type": "FeatureCollection", "features": features}, ensure_ascii=False).encode()


def _object_type(feature: Any) -> str:
    """QuPath's object type of a feature, such as 'cell'; empty if there is none."""
    properties = feature.get("properties") if isinstance(feature, dict) else None
    named = properties.get("objectType", properties.get("object_type")) if isinstance(properties, dict) else None
    # versions before 0.3 store the Java class of the object as the feature's id
    return str(named or _EARLIER_TYPES.get(str(feature.get("id") if isinstance(feature, dict) else ""), "")).lower()


def _check_kinds(kinds: Sequence[str]) -> None:
    """Raises an AnnotationError if objects are mixed with regions around them."""
    counts = Counter(kinds)
    for kind in _NO_OBJECTS:
        if kind in counts:
            raise AnnotationError(
                f"feature {kinds.index(kind) + 1} is a {kind.replace('_', ' ')}, one of {counts[kind]:,}: export "
                "annotations, detections or cells"
            )
    objects = counts["cell"] + counts["detection"]
    if objects and counts["annotation"]:
        raise AnnotationError(
            f"{counts['annotation']:,} annotations beside {objects:,} cells or detections, which they may enclose: in "
            "QuPath, select the cells or detections and export the selected objects only"
        )
    if counts["cell"] and counts["detection"]:
        raise AnnotationError(
            f"{counts['cell']:,} cells beside {counts['detection']:,} detections, which may lie in them: export one of "
            "the two kinds"
        )


def _check_planes(features: Sequence[Any]) -> None:
    """Raises an AnnotationError if objects lie in several planes or at several times, since a mask has one."""
    planes = set()
    for feature in features:
        geometry = feature.get("geometry") if isinstance(feature, dict) else None
        plane = geometry.get("plane") if isinstance(geometry, dict) else None
        planes.add((plane.get("z", 0), plane.get("t", 0)) if isinstance(plane, dict) else (0, 0))
    if len(planes) > 1:
        raise AnnotationError(f"objects in {len(planes)} planes or times; export those of one")


def _check_frames(outlines: Sequence[Outline]) -> None:
    """Raises an AnnotationError if a rectangle without a class encloses all other objects: it is not an object."""
    if len(outlines) < 2:
        return
    boxes = np.array([_box(outline) for outline in outlines])
    whole = (*boxes[:, :2].min(axis=0), *boxes[:, 2:].max(axis=0))
    index = int((boxes == whole).sum(axis=1).argmax())
    others = np.delete(boxes, index, axis=0)
    inside = (others[:, :2] > boxes[index, :2]).all() and (others[:, 2:] < boxes[index, 2:]).all()
    if inside and not outlines[index].class_name and _is_rectangle(outlines[index]):
        raise AnnotationError(
            f"feature {index + 1} is a rectangle around all others; delete it, or give it a class if it is an object"
        )


def _box(outline: Outline) -> tuple[float, float, float, float]:
    """Left, top, right and bottom, px; for an outline without points, an empty box, which is inside every box."""
    points = [polygon.outer for polygon in outline.polygons if len(polygon.outer)]
    if not points:
        return np.inf, np.inf, -np.inf, -np.inf
    (left, top), (right, bottom) = (end(np.concatenate(points), axis=0) for end in (np.min, np.max))
    return float(left), float(top), float(right), float(bottom)


def _is_rectangle(outline: Outline) -> bool:
    """Whether an outline is a single rectangle with sides along the axes and without a hole."""
    if len(outline.polygons) != 1 or outline.polygons[0].holes:
        return False
    ring = outline.polygons[0].outer
    return (
        len(ring) == 4
        and all(len(np.unique(ring[:, axis])) == 2 for axis in (0, 1))
        and len(np.unique(ring, axis=0)) == 4
    )


def _outline(feature: Any, number: int, object_type: str) -> Outline:
    geometry: Any = feature.get("geometry") if isinstance(feature, dict) else None
    if isinstance(feature, dict) and (object_type == "cell" or "nucleusGeometry" in feature):
        geometry = feature.get("nucleusGeometry")
        if geometry is None:
            raise AnnotationError(
                f"feature {number} is a cell without an outline of its nucleus; export cells that have one, or "
                "detections"
            )
    if not isinstance(geometry, dict):
        raise AnnotationError(f"feature {number} has no geometry")
    kind, coordinates = geometry.get("type"), geometry.get("coordinates", ())
    if kind not in ("Polygon", "MultiPolygon"):
        raise AnnotationError(f"feature {number} is a {kind}; only Polygon and MultiPolygon can be filled")
    try:
        polygons = tuple(
            Polygon(outer, tuple(holes))
            for outer, *holes in (
                [as_ring(ring) for ring in rings] for rings in ([coordinates] if kind == "Polygon" else coordinates)
            )
        )
    except AnnotationError as error:
        raise AnnotationError(f"feature {number}: {error}") from None
    except (TypeError, ValueError):
        raise AnnotationError(f"feature {number}: wanted coordinates of a {kind}, got something else") from None
    return Outline(polygons, _class_name(feature.get("properties")))


def _class_name(properties: Any) -> str:
    if not isinstance(properties, dict):
        return ""
    classification = properties.get("classification")
    name = classification.get("name") if isinstance(classification, dict) else None
    return str(name or properties.get("name") or "")


def _closed(ring: Ring) -> list[list[float]]:
    points: list[list[float]] = ring.tolist()
    return [*points, points[0]] if points else points
