"""Outlines in GeoJSON, as QuPath exports and imports them."""

import json
from collections.abc import Sequence
from typing import Any

from maskcond.errors import AnnotationError
from maskcond.outlines import Outline, Polygon, Ring, as_ring


def parse_geojson(text: bytes) -> list[Outline]:
    """Reads outlines, one a feature, of a collection, a plain list of features or a single one.

    The class is `properties.classification.name`, where QuPath has it, else `properties.name`.

    Raises:
        AnnotationError: It is no GeoJSON, or a feature is neither a Polygon nor a MultiPolygon.
    """
    try:
        content = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise AnnotationError(f"JSON that cannot be read: {error}") from None
    if isinstance(content, dict):
        content = content.get("features") if content.get("type") == "FeatureCollection" else [content]
    if not isinstance(content, list):
        raise AnnotationError("wanted GeoJSON: a FeatureCollection, a list of features, or a feature")
    return [_outline(feature, number) for number, feature in enumerate(content, 1)]


def geojson_text(outlines: Sequence[Outline]) -> bytes:
    """Writes outlines as a FeatureCollection that QuPath imports as annotations."""
    features = []
    for outline in outlines:
        properties: dict[str, Any] = {"objectType": "annotation"}
        if outline.class_name:
            properties["classification"] = {"name": outline.class_name}
        polygons = [[_closed(ring) for ring in (each.outer, *each.holes)] for each in outline.polygons]
        geometry = (
            {"type": "Polygon", "coordinates": polygons[0]}
            if len(polygons) == 1
            else {"type": "MultiPolygon", "coordinates": polygons}
        )
        features.append({"type": "Feature", "geometry": geometry, "properties": properties})
    return json.dumps({"type": "FeatureCollection", "features": features}, ensure_ascii=False).encode()


def _outline(feature: Any, number: int) -> Outline:
    geometry: Any = feature.get("geometry") if isinstance(feature, dict) else None
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
