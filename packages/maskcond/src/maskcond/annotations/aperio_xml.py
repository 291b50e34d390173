"""Outlines in the XML of Aperio ImageScope, the format of KUMAR and MoNuSeg, which ImageJ scripts read too."""

import xml.etree.ElementTree as ElementTree
from collections.abc import Sequence

from defusedxml.ElementTree import fromstring
from skimage.measure import points_in_poly

from maskcond.annotations.outlines import Outline, Polygon, Ring, as_ring
from maskcond.errors import AnnotationError

_KINDS_WITHOUT_OUTLINE = {"2": "an ellipse", "3": "an arrow", "4": "a ruler"}


def parse_aperio(text: bytes) -> list[Outline]:
    """Reads outlines, one for each region.

    A region's class is its text, or else the name of its annotation, or else the first value among the annotation's
    attributes. A negative region is a hole in the last region before it that it overlaps.

    Raises:
        AnnotationError: The text is not such XML; it has a document type definition, which could be an attack; a region
            is an ellipse, an arrow or a ruler, or neither an object nor a hole; or a hole lies in no region.
    """
    try:
        root = fromstring(text, forbid_dtd=True)
    # Invalid XML raises a ParseError, hostile XML a ValueError, an unknown encoding a LookupError.
    except (ElementTree.ParseError, ValueError, LookupError) as error:
        raise AnnotationError(f"XML that cannot be read: {error or type(error).__name__}") from None
    if root.tag != "Annotations":
        raise AnnotationError(f"wanted XML of Aperio ImageScope, <Annotations>, got <{root.tag}>")
    outlines: list[Outline] = []
    for annotation in root.iter("Annotation"):
        ordered: list[Outline] = []
        for number, region in enumerate(annotation.iter("Region"), 1):
            where = f"region {region.get('Id', number)}"
            if (kind := region.get("Type", "0")) in _KINDS_WITHOUT_OUTLINE:
                raise AnnotationError(f"{where} is {_KINDS_WITHOUT_OUTLINE[kind]}; only outlines can be filled")
            ring = _ring(region, where)
            if (negative := region.get("NegativeROA", "0")) not in ("0", "1"):
                raise AnnotationError(f"{where} has NegativeROA='{negative}'; write 1 for a hole, 0 for an object")
            if negative == "1":
                _cut_out(ordered, ring, where)
            else:
                ordered.append(Outline((Polygon(ring),), _class_name(region, annotation)))
        outlines += ordered
    return outlines


def aperio_text(outlines: Sequence[Outline]) -> bytes:
    """Writes outlines as XML, one annotation for each class; every piece of an object becomes a region."""
    root = ElementTree.Element("Annotations")
    for layer, name in enumerate(dict.fromkeys(outline.class_name for outline in outlines), 1):
        annotation = ElementTree.SubElement(root, "Annotation", Id=str(layer), Name=name, Type="4", Visible="1")
        regions = ElementTree.SubElement(annotation, "Regions")
        polygons = [polygon for outline in outlines if outline.class_name == name for polygon in outline.polygons]
        for polygon in polygons:
            for ring, negative in ((polygon.outer, "0"), *((hole, "1") for hole in polygon.holes)):
                region = ElementTree.SubElement(
                    regions, "Region", Id=str(len(regions) + 1), Type="0", NegativeROA=negative
                )
                vertices = ElementTree.SubElement(region, "Vertices")
                for x, y in ring.tolist():
                    ElementTree.SubElement(vertices, "Vertex", X=repr(x), Y=repr(y), Z="0")
    text: bytes = ElementTree.tostring(root, encoding="utf-8", xml_declaration=True)
    return text


def _ring(region: ElementTree.Element, where: str) -> Ring:
    try:
        return as_ring([(float(vertex.attrib["X"]), float(vertex.attrib["Y"])) for vertex in region.iter("Vertex")])
    except KeyError as error:
        raise AnnotationError(f"{where} has a vertex without {error.args[0]}") from None
    except AnnotationError as error:
        raise AnnotationError(f"{where}: {error}") from None
    except ValueError as error:
        raise AnnotationError(f"{where} has a vertex that is no number: {error}") from None


def _class_name(region: ElementTree.Element, annotation: ElementTree.Element) -> str:
    values = (attribute.get("Value", "") for attribute in annotation.iterfind("Attributes/Attribute"))
    return next((name for name in (region.get("Text"), annotation.get("Name"), *values) if name), "")


def _cut_out(ordered: list[Outline], hole: Ring, where: str) -> None:
    for index in range(len(ordered) - 1, -1, -1):
        (polygon,) = ordered[index].polygons
        if len(hole) and len(polygon.outer) >= 3 and points_in_poly(hole, polygon.outer).any():
            ordered[index] = Outline((Polygon(polygon.outer, (*polygon.holes, hole)),), ordered[index].class_name)
            return
    raise AnnotationError(f"{where} is negative, a hole, but lies in no region before it")
