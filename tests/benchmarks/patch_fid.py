"""Patch-FID between parts of a real slide, and between it and generated slides, with intervals.

    uv run python tests/benchmarks/patch_fid.py OUT_FOLDER GENERATED_SLIDE... [--real SLIDE] [--count N]

Generated slides are those that `tests/benchmarks/outpainting.py` leaves: `in-order.tiff`, of the built-in model, and
`outpainting.tiff`. All slides are cut into squares of 512 px, and those that are white for more than half are left out:
the share of glass says nothing of the tissue. `halves` compares every other square of the real slide (the shared
data's, or SLIDE) with the rest; each generated slide is compared with all of them. So magnifications are the same in
all pairs, and intervals are over squares on both sides.

Paired protocol, patches of 128 px, light extractor. Writes plan, features and figures of each pair below OUT_FOLDER,
and takes the features that are there. Prints one line a pair.
"""

import argparse
import json
from dataclasses import dataclass
from pathlib import Path

from pfid import (
    Extractor,
    Images,
    Light,
    PatchFid,
    WhiteRule,
    measure_crops,
    patch_metrics,
    plan_crops,
)
from pfid.images.sources import Image
from wsi_tiling import Slide, open_slide

REAL = Path(__file__).parents[3] / "shared" / "data" / "slides" / "CMU-1-Small-Region.svs"
SQUARE_PX, PATCH_PX = 512, 128
MOSTLY_WHITE = WhiteRule(0.5)


@dataclass(frozen=True)
class Square:
    """A square of a slide, read as if there were no more of it."""

    slide: Slide
    xy_l0: tuple[int, int]
    size: tuple[int, int] = (SQUARE_PX, SQUARE_PX)

    def read(self, xy: tuple[float, float], field: float, size_px: int, /) -> Image:
        return self.slide.read((self.xy_l0[0] + xy[0], self.xy_l0[1] + xy[1]), field, size_px)


def itself(square: Square) -> Square:
    return square


def squares(path: Path) -> list[Square]:
    """The squares of a slide that hold tissue: those of one row after the other, every other row from the right.

    Neighbours in a row or at its turn then follow each other, so that every other one is spread over the slide.
    """
    slide = open_slide(path)
    columns, rows = (length // SQUARE_PX for length in slide.size)
    corners = [(x, y) for y in range(rows) for x in range(columns)[:: 1 - 2 * (y % 2)]]
    found = [Square(slide, (x * SQUARE_PX, y * SQUARE_PX)) for x, y in corners]
    return [square for square in found if not MOSTLY_WHITE.is_white(square.read((0, 0), SQUARE_PX, 128)[None])[0]]


def images_of(found: list[Square]) -> Images:
    names = tuple(f"{square.slide.path} {square.xy_l0}" for square in found)
    return Images(names, tuple(square.size for square in found), tuple(found), itself, "wsi_tiling.open_slide")


def compare(real: Images, fake: Images, folder: Path, count: int, resamples: int, extractor: Extractor) -> PatchFid:
    """Patch-FID of a pair, from the features in a folder, which are computed if they are missing."""
    plan = plan_crops(real=real, fake=fake, protocol="paired", count=count, patch_px=PATCH_PX)
    measuring = measure_crops(real=real, fake=fake, plan=plan, extractor=extractor, folder=folder, workers=1)
    for event in measuring:
        print(f"{folder.name}: {event.done} of {event.total} {event.work}", flush=True)
    result = patch_metrics(measuring.result(), resamples=resamples).result()
    (folder / "figures.json").write_text(result.to_json() + "\n")
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("generated", type=Path, nargs="+")
    parser.add_argument("--real", type=Path, default=REAL)
    parser.add_argument("--count", type=int, default=1400)
    parser.add_argument("--resamples", type=int, default=100)
    arguments = parser.parse_args()
    real = squares(arguments.real)
    pairs = {"halves": (images_of(real[::2]), images_of(real[1::2]))}
    pairs |= {path.stem: (images_of(real), images_of(squares(path))) for path in arguments.generated}
    extractor = Light()
    figures = {}
    for name, (left, right) in pairs.items():
        found = compare(left, right, arguments.out / name, arguments.count, arguments.resamples, extractor)
        figures[name] = json.loads(found.to_json())
        print(f"{name}: {found.metric}", flush=True)
        for part in found.by_scale:
            print(f"  {part.reduction[0]:.2f} to {part.reduction[1]:.2f} px a pixel: {part.metric.value:.4g}")
    (arguments.out / "figures.json").write_text(json.dumps(figures, indent=1) + "\n")


if __name__ == "__main__":
    main()
