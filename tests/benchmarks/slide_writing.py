"""Writing a large slide: `PyramidWriter` beside libvips, the same pixels and settings, in one run.

    uv run --with 'pyvips[binary]' python tests/benchmarks/slide_writing.py [--size 40000] [--rounds 2] [--json FILE]

The pixels, a made-up stain of smooth structure and noise, come tile by tile, as from a network: cut from a patch that
both hold in memory, and cutting counts for both. Each writer makes of them a JPEG pyramid with tiles of 256 px, in a
process of its own, with as many threads as there are cores. Ours takes the tiles as they come. libvips takes whole
pictures only, so the tiles go to a raw file first, a band at a time, and libvips maps that file; the time of its save
alone is told as well. The best of the rounds counts. Prints times, ratios and the peak memory of each process (that of
libvips holds pages of the raw file, which the system may drop at any time).
"""

import argparse
import itertools
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import openslide
from scipy import ndimage

from wsi_tiling import Image, PyramidWriter

TILE_PX = 256
PATCH_PX = 1024
QUALITY = 85
MPP = 0.25
GOAL_RATIO = 0.8
GOAL_MIB = 512


def stain(side: int, rng: np.random.Generator) -> Image:
    """A square of pink fibres and purple nuclei under a scanner's noise."""
    fibres, nuclei = (ndimage.gaussian_filter(rng.normal(size=(side, side)), sigma, mode="wrap") for sigma in (6, 3))
    colour = np.array([232, 180, 214]) - 30 * (fibres / fibres.std())[..., None] * np.array([0.3, 1, 0.5])
    colour = np.where((nuclei > 1.3 * nuclei.std())[..., None], np.array([110, 70, 150]) + 0.2 * (colour - 200), colour)
    colour = ndimage.gaussian_filter(colour, (0.8, 0.8, 0), mode="wrap") + rng.normal(0, 3, (side, side, 3))
    return colour.clip(0, 255).astype(np.uint8)


def tiles(side: int) -> Iterator[tuple[tuple[int, int], Image]]:
    """The slide's tiles with their corners, row by row, no two rows alike."""
    rng = np.random.default_rng(0)
    patch = stain(PATCH_PX, rng)
    for top in range(0, side, TILE_PX):
        shift_x, shift_y = rng.integers(PATCH_PX - TILE_PX, size=2)
        for left in range(0, side, TILE_PX):
            x = (left + shift_x) % (PATCH_PX - TILE_PX)
            width, height = min(TILE_PX, side - left), min(TILE_PX, side - top)
            yield (left, top), patch[shift_y : shift_y + height, x : x + width]


def with_ours(source: Iterator[tuple[tuple[int, int], Image]], target: Path, side: int) -> dict[str, float]:
    started = time.perf_counter()
    with PyramidWriter(target, (side, side), mpp=MPP, tile_px=TILE_PX, quality=QUALITY) as writer:
        for corner, tile in source:
            writer.write(corner, tile)
    return {"seconds": time.perf_counter() - started}


def with_libvips(source: Iterator[tuple[tuple[int, int], Image]], target: Path, side: int) -> dict[str, float]:
    import pyvips

    started = time.perf_counter()
    raw = target.with_suffix(".raw")
    band = np.empty((TILE_PX, side, 3), np.uint8)
    with raw.open("wb", buffering=0) as file:
        for (left, top), tile in source:
            band[: tile.shape[0], left : left + tile.shape[1]] = tile
            if left + tile.shape[1] == side:
                file.write(band[: side - top])
    half_way = time.perf_counter()
    image = pyvips.Image.rawload(str(raw), side, side, 3).copy(interpretation="srgb", xres=1e3 / MPP, yres=1e3 / MPP)
    image.tiffsave(
        str(target),
        compression="jpeg",
        Q=QUALITY,
        tile=True,
        tile_width=TILE_PX,
        tile_height=TILE_PX,
        pyramid=True,
        bigtiff=True,
    )
    done = time.perf_counter()
    raw.unlink()
    return {"seconds": done - started, "seconds_of_save": done - half_way}


WRITERS = {"wsi-tiling": with_ours, "libvips": with_libvips}


def in_a_process(name: str, target: Path, side: int) -> dict[str, float]:
    """Seconds, processor seconds and MiB that a writer takes in a process of its own."""
    command = [sys.executable, __file__, "--size", str(side), "--only", name, str(target)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    figures: dict[str, float] = json.loads(done.stdout)
    return figures


def only(name: str, target: Path, side: int) -> None:
    """What `in_a_process` runs. The patch is made and modules are imported before the clock starts."""
    if name == "libvips":
        import pyvips  # noqa: F401
    source = tiles(side)
    first = next(source)
    processor = time.process_time()
    figures = WRITERS[name](itertools.chain([first], source), target, side)
    figures["processor_seconds"] = time.process_time() - processor
    figures["peak_mib"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10
    print(json.dumps(figures))


def check(target: Path, side: int) -> list[tuple[int, int]]:
    """Opens the slide with OpenSlide; gives its levels."""
    with openslide.OpenSlide(target) as slide:
        mpp = float(slide.properties[openslide.PROPERTY_NAME_MPP_X])
        if slide.dimensions != (side, side) or abs(mpp - MPP) > 1e-6:
            sys.exit(f"OpenSlide sees {slide.dimensions} px at {mpp} um/px in {target}")
        return list(slide.level_dimensions)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, default=40_000)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--scratch", type=Path, help="a folder with room for the raw file and twice the slides")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--only", nargs=2, metavar=("WRITER", "TARGET"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    side = arguments.size
    if arguments.only:
        name, target = arguments.only
        only(name, Path(target), side)
        return
    runs: dict[str, list[dict[str, float]]] = {name: [] for name in WRITERS}
    files: dict[str, dict[str, float]] = {}
    with tempfile.TemporaryDirectory(dir=arguments.scratch) as folder:
        for _ in range(arguments.rounds):
            for name in WRITERS:
                target = Path(folder) / f"{name}.tif"
                runs[name].append(in_a_process(name, target, side))
                files[name] = {"file_mib": target.stat().st_size / 2**20, "levels": len(check(target, side))}
                target.unlink()
    figures: dict[str, object] = {"size_px": side, "cores": len(os.sched_getaffinity(0)), "rounds": arguments.rounds}
    best = {
        name: {key: (max if key == "peak_mib" else min)(run[key] for run in taken) for key in taken[0]} | files[name]
        for name, taken in runs.items()
    }
    figures |= {name: {key: round(value, 2) for key, value in told.items()} for name, told in best.items()}
    ours, peer = best["wsi-tiling"], best["libvips"]
    figures["ratio"] = round(ours["seconds"] / peer["seconds"], 3)
    figures["ratio_to_save_alone"] = round(ours["seconds"] / peer["seconds_of_save"], 3)
    figures["goal"] = {"ratio": GOAL_RATIO, "peak_mib": GOAL_MIB}
    text = json.dumps(figures, indent=1)
    print(text)
    if arguments.json:
        arguments.json.write_text(text + "\n")


if __name__ == "__main__":
    main()
