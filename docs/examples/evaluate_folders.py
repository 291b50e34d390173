"""Measures generated images against real ones, both in folders: `evaluate_folders.py REAL FAKE`."""

import argparse
from pathlib import Path

from pfid import Light, default_metrics, evaluate


def main() -> None:
    """Prints FID, KID, precision, recall, density and coverage, each with what it was computed from."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("real", type=Path, help="folder of real images")
    parser.add_argument("fake", type=Path, help="folder of generated images")
    parser.add_argument("--allow-few", action="store_true", help="allow as many images as there are features, or fewer")
    options = parser.parse_args()

    metrics = default_metrics(allow_few=options.allow_few)
    for value in evaluate(real=options.real, fake=options.fake, extractor=Light(), metrics=metrics):
        print(value)


if __name__ == "__main__":
    main()
