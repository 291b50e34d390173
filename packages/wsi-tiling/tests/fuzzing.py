"""Opens and reads damaged copies of slides: run as a process of its own, with little memory.

    python fuzzing.py FOLDER SCRATCH SEED COUNT

Each copy has bytes changed at random (most of them where headers and directories lie), is cut short, or both. Prints
for each slide of the folder how many copies gave pixels and how many a SlideError; anything else ends the process. The
last line is the peak of memory, MiB.
"""

import resource
import sys
from pathlib import Path

import numpy as np

from wsi_tiling import SlideError, open_slide

ROOM_BYTES = 2 * 2**30


def limit_memory() -> None:
    """Leaves room for ROOM_BYTES beyond what the process maps already."""
    mapped = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (mapped + ROOM_BYTES, mapped + ROOM_BYTES))


def peak_mib() -> int:
    """The most memory that this process has held. `ru_maxrss` would begin with what its parent held."""
    status = Path("/proc/self/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) // 2**10


def damaged(content: bytes, rng: np.random.Generator) -> bytes:
    changed = bytearray(content)
    if rng.random() < 0.3:
        del changed[int(rng.integers(len(changed) + 1)) :]
        if rng.random() < 0.7:
            return bytes(changed)
    if not changed:
        return b""
    length = len(changed)
    begin, end = [(0, length), (0, min(length, 2000)), (max(0, length - 3000), length)][rng.integers(3)]
    for place in rng.integers(begin, end, rng.integers(1, 12)):
        values = (0, 255, int(rng.integers(256)), changed[place] ^ (1 << int(rng.integers(8))))
        changed[place] = values[rng.integers(4)]
    return bytes(changed)


def read_here_and_there(path: Path) -> None:
    with open_slide(path) as slide:
        width, height = slide.size_l0
        slide.read((0, 0), (width, height), 48)
        for x, y in ((0, 0), (-20, -20), (width / 2, height / 2), (width - 30, height - 30)):
            slide.read((x, y), 64, 64)


def main() -> None:
    folder, scratch, seed, count = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4])
    limit_memory()
    for slide in sorted(folder.iterdir()):
        content, copy = slide.read_bytes(), scratch / f"copy{slide.name[slide.name.index('.') :]}"
        told = {"pixels": 0, "errors": 0}
        for number in range(count):
            copy.write_bytes(damaged(content, np.random.default_rng([seed, number])) if number else b"")
            sys.stderr.write(f"{slide.name}, copy {number}\n")
            try:
                read_here_and_there(copy)
                told["pixels"] += 1
            except SlideError as error:
                if "\n" in str(error) or not str(error):
                    raise
                told["errors"] += 1
        sys.stdout.write(f"{slide.name} {told['pixels']} {told['errors']}\n")
    sys.stdout.write(f"{peak_mib()}\n")


if __name__ == "__main__":
    main()
