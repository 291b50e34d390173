"""What the tissue rules make of real slides, tiles and pictures: shares of tissue, times, and pictures of both.

    uv run python tests/benchmarks/tissue.py DATA_FOLDER OUT_FOLDER

DATA_FOLDER is shared/data. The share of a tile is that of `tissue_mask`; of KUMAR's images, taken as tissue all over,
the least, the mean and the number that lose more than a tenth. What is drawn of KUMAR must not be published with the
project: its licence is CC BY-NC-SA.
"""

import argparse
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
from PIL import Image

from wsi_tiling import RECOMMENDED, STRICT, STUDY, Slide, TissueRule, find_tiles, open_slide, overview, tissue_mask
from wsi_tiling import Image as Pixels

RULES = {
    "study": replace(STUDY, erode_px=0, dilate_px=0),
    "strict": replace(STRICT, erode_px=0, dilate_px=0),
    "otsu": TissueRule(kind="otsu"),
    "recommended": RECOMMENDED,
}
SCALES_L0 = {"level1": 4.0, "level2": 16.0}
"""Level-0 px a pixel of the tiles, by their names; 1 for the others."""


def scale_of(path: Path) -> float:
    return next((scale for part, scale in SCALES_L0.items() if part in path.stem), 1.0)


def pixels(path: Path) -> Pixels:
    with open_slide(path) as slide:
        return slide.read((0, 0), slide.size_l0, slide.size_l0)


def shown(image: Pixels, mask: np.ndarray) -> Pixels:
    """A picture beside itself with all but the tissue darkened."""
    darkened = np.where(mask[..., None], image, (image * 0.25).astype(np.uint8))
    return np.concatenate([image, darkened], axis=1)


def sheet(panels: list[Pixels], columns: int, side_px: int) -> Image.Image:
    gap = 8
    width, height = columns * (2 * side_px + gap) + gap, -(-len(panels) // columns) * (side_px + gap) + gap
    page = Image.new("RGB", (width, height), (255, 255, 255))
    for number, panel in enumerate(panels):
        place = (gap + number % columns * (2 * side_px + gap), gap + number // columns * (side_px + gap))
        page.paste(Image.fromarray(panel).resize((2 * side_px, side_px), Image.Resampling.LANCZOS), place)
    return page


def tissue_filter(data: Path, out: Path) -> None:
    print(f"{'tile':45}", *(f"{name:>12}" for name in RULES), f"{'recommended, 32 px':>20}")
    panels = []
    for path in sorted((data / "tissue-filter").glob("*.png")):
        image, scale = pixels(path), scale_of(path)
        masks = {name: tissue_mask(image, rule, scale) for name, rule in RULES.items()}
        with open_slide(path) as slide:
            small = tissue_mask(slide.read((0, 0), slide.size_l0, 32), RECOMMENDED, 16 * scale)
        print(f"{path.stem:45}", *(f"{mask.mean():12.3f}" for mask in masks.values()), f"{small.mean():20.3f}")
        panels.append(shown(image, masks["recommended"]))
    sheet(panels, 3, 220).save(out / "tissue-filter.jpg", quality=85)


def kumar(data: Path, out: Path) -> None:
    images = [pixels(path) for path in sorted((data / "kumar" / "images").glob("*.png"))]
    for scale in (1, 8, 16):
        reduced = [np.asarray(Image.fromarray(image).reduce(scale)) for image in images]
        for name, rule in RULES.items():
            shares = np.array([tissue_mask(image, rule, scale).mean() for image in reduced])
            print(
                f"kumar at {scale:2} px a pixel, {name:12} least {shares.min():.3f}, mean {shares.mean():.3f}, "
                f"{(shares < 0.9).sum()} of {len(shares)} below 0.9"
            )
    worst = int(np.argmin([tissue_mask(image, RECOMMENDED).mean() for image in images]))
    Image.fromarray(shown(images[worst], tissue_mask(images[worst], RECOMMENDED))).save(out / "not-for-docs-kumar.jpg")


def drawn(slide: Slide, fields: list[float], rule: TissueRule, path: Path) -> None:
    begin = time.perf_counter()
    table = find_tiles([slide], field_l0=fields, rule=rule, min_tissue=0.3)
    found = time.perf_counter() - begin
    Image.fromarray(overview(slide, table, rule, 800)).save(path, quality=85)
    print(
        f"{path.stem}: {len(table)} tiles found in {found:.2f} s, drawn in {time.perf_counter() - begin - found:.2f} s"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("out", type=Path)
    arguments = parser.parse_args()
    data, out = arguments.data, arguments.out
    out.mkdir(parents=True, exist_ok=True)
    tissue_filter(data, out)
    kumar(data, out)
    with open_slide(data / "slides" / "CMU-1-Small-Region.svs") as slide:
        drawn(slide, [128, 512], RECOMMENDED, out / "tissue-slide.jpg")
    with open_slide(data / "aerial" / "yellowstone-2299x2472.jpg") as slide:
        drawn(slide, [256, 1024], TissueRule.everything(), out / "tissue-aerial.jpg")
    first = min((data / "kumar" / "images").glob("*.png"))
    with open_slide(first) as slide:
        drawn(slide, [256], RECOMMENDED, out / "not-for-docs-kumar-tiles.jpg")


if __name__ == "__main__":
    main()
