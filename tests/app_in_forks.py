"""Runs `urcdm-app` commands, each in a process of its own that is forked from this one and so need not import anything.

It first makes a tiny model in the folder that is its argument. A line of JSON on standard input is a command's
arguments. Lines on standard output tell of it: `pid`, then `done` whenever patches are, `written` when the slide's file
is whole but has no name yet, and at last `code`, the exit code or the negative number of a signal, with `err`, what the
command wrote to standard error. With the argument 'halt' the command waits for its end as soon as the file is whole.
"""

import json
import os
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

import urcdm
import wsi_tiling.writing.pyramid
from cdm_core import Cascade, CascadeConfig, SamplingConfig
from cdm_core.testing.tiny import tiny_stage
from urcdm import Level, Urcdm, UrcdmConfig
from urcdm_app.cli import main
from wsi_tiling import TissueRule

REPORTS = os.dup(1)


def make_model(folder: Path) -> None:
    """Makes a model with random weights: fields of 128 and 32 px, images of 16 px."""
    config = UrcdmConfig((Level("low", 128, 16), Level("high", 32, 16)), mpp=0.5, tissue=TissueRule.everything())
    torch.manual_seed(0)
    sampling = SamplingConfig(steps=3, method="dpmpp_2m", lowres_noise=0.1)
    low = CascadeConfig((tiny_stage(8, sampling=sampling), tiny_stage(16, 8, sampling)))
    high = CascadeConfig((tiny_stage(16, 4, sampling, cond_images_channels=6),))
    Urcdm(config, [Cascade(low), Cascade(high)]).save(folder)


def report(**what: Any) -> None:
    os.write(REPORTS, json.dumps(what).encode() + b"\n")


def run(arguments: list[str]) -> int:
    """Runs a command; gives its exit code."""
    halt, sys.argv = "halt" in arguments, ["urcdm-app", *(word for word in arguments if word != "halt")]
    sample, write_tiff = urcdm.SlideRun.sample, wsi_tiling.writing.pyramid.write_tiff

    def telling(*given: Any, **settings: Any) -> Iterator[urcdm.SampleEvent]:
        done: dict[tuple[str, int], int] = {}
        for event in sample(*given, **settings):
            done[event.level, event.image_px] = event.done
            report(done=sum(done.values()))
            yield event

    def halting(*given: Any, **settings: Any) -> None:
        write_tiff(*given, **settings)
        report(written=True)
        time.sleep(300 if halt else 0)

    urcdm.SlideRun.sample, wsi_tiling.writing.pyramid.write_tiff = telling, halting
    try:
        main()
    except SystemExit as end:
        return int(end.code or 0)
    return 0


def serve(model: Path) -> None:
    torch.set_num_threads(1)  # a fork has none of its parent's threads
    make_model(model)
    for line in sys.stdin:
        with tempfile.TemporaryFile() as errors, open(os.devnull, "wb") as nowhere:  # noqa: PTH123
            pid = os.fork()
            if pid == 0:
                os.dup2(nowhere.fileno(), 1)
                os.dup2(errors.fileno(), 2)
                code = 70
                try:
                    code = run(json.loads(line))
                finally:
                    sys.stderr.flush()
                    os._exit(code)
            report(pid=pid)
            status = os.waitpid(pid, 0)[1]
            errors.seek(0)
            report(code=os.waitstatus_to_exitcode(status), err=errors.read().decode())


if __name__ == "__main__":
    serve(Path(sys.argv[1]))
