"""HTML pages that stand alone: rendered from a template of a package, with plots and images in them."""

import base64
import io
from collections.abc import Callable, Mapping
from typing import Any

import jinja2

JPEG_QUALITY = 90


def render_page(
    package: str,
    template: str,
    values: Mapping[str, Any],
    *,
    folder: str = "templates",
    filters: Mapping[str, Callable[..., Any]] | None = None,
) -> str:
    """Renders a template; a name without a value is an error.

    Args:
        package: The package with the template.
        template: Its file name.
        values: Values of the names in the template.
        folder: The folder in the package.
        filters: Filters besides those of jinja2.
    """
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader(package, folder),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(filters or {})
    return environment.get_template(template).render(values)


def data_uri(content: bytes, media_type: str) -> str:
    """Returns a file as an address that embeds it in a page."""
    return f"data:{media_type};base64,{base64.b64encode(content).decode('ascii')}"


def jpeg_uri(image: Any) -> str:
    """Returns an image of Pillow as a data URI: a JPEG without subsampled colours."""
    buffer = io.BytesIO()
    image.convert("RGB").save(buffer, "jpeg", quality=JPEG_QUALITY, subsampling=0)
    return data_uri(buffer.getvalue(), "image/jpeg")


def svg_uri(figure: Any) -> str:
    """Returns a figure of matplotlib as a data URI: an SVG that is the same each time."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None})
    return data_uri(buffer.getvalue(), "image/svg+xml")
