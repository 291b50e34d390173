"""The whole pipeline in a tiny form: killed, resumed, reported."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from cdm_core.devices.arithmetic import gpu_arithmetic
from maskcond.enrichment.steps.record import StepRecord

RunApp = Callable[..., Any]


def killed_once(config: Path, out: Path, when: Callable[[], bool]) -> int:
    """Starts a run in another process and kills it as soon as something is so; gives its exit code."""
    command = [sys.executable, "-m", "enrich_app", "run", str(config), "--out", str(out), "--device", "cpu"]
    with subprocess.Popen(
        command, env={**os.environ, "OMP_NUM_THREADS": "1"}, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as process:
        while process.poll() is None and not when():
            time.sleep(0.02)
        process.send_signal(signal.SIGKILL)
        return process.wait()


def test_a_run_killed_and_resumed_ends_with_a_table_and_a_report(
    run_app: RunApp, config_file: Path, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    assert killed_once(config_file, run, lambda: len(list(run.glob("sampled-variants/images/*.png"))) > 1) == -9

    planned = run_app("run", config_file, "--out", run, "--dry-run", "--device", "cpu")
    assert planned.code == 0, planned.err
    lines = [line for line in planned.out.splitlines() if line]
    done = [line.split()[0] for line in lines if line.endswith(" done")]
    assert {"cascade", "mask-cascade", "sampled-images", "predicted-masks", "filtered-pairs"} <= set(done)
    assert any(line.startswith("segmentation/2/seed-1 ") and " to do " in line for line in lines)
    assert "free:" in planned.out

    resumed = run_app("run", config_file, "--out", run, "--device", "cpu")
    assert resumed.code == 0, resumed.err
    assert f"{len(done)} steps were already done" in resumed.out
    assert "(5)" in resumed.out
    rows = json.loads((run / "table" / "table.json").read_text())["rows"]
    assert {(row["strategy"], row["split"]) for row in rows} == {
        (strategy, split) for strategy in ("1", "1c", "2", "5") for split in ("seen", "unseen", "all")
    }
    assert all(row["seeds"] == 2 for row in rows)

    # every file of a step is in its record, so that --overwrite removes all of them and none of the user's
    for path in run.rglob("step.json"):
        record = StepRecord.load(path.parent)
        assert record is not None
        files = {each.relative_to(path.parent).as_posix() for each in path.parent.rglob("*") if each.is_file()}
        assert files == {"step.json", *record.written}, path
    assert {path.name for path in run.iterdir() if path.is_file()} == {".enrich-app.json", "config.toml", "report.html"}

    page = (run / "report.html").read_text()
    assert "3 real images with masks, 1 without" in page
    assert re.search(r"<dd>train-\d, train-\d, train-\d, chosen by seed 0</dd>", page)
    told = json.loads((run / "synthetic-pairs" / "provenance.json").read_text())
    drawn = any(pair["mask_is"] == "drawn" for pair in told["pairs"])
    dropped = len(list((run / "filtered-pairs").glob("dropped*.png")))
    assert page.count("data:image/jpeg") == 3 + drawn + dropped
    assert "data:image/svg+xml" in page
    assert not re.search(r'(src|href)="(?!data:)', page)

    before = {path: path.stat().st_mtime_ns for path in run.rglob("*.safetensors")}
    again = run_app("run", config_file, "--out", run, "--device", "cpu")
    assert again.code == 0, again.err
    assert {path: path.stat().st_mtime_ns for path in run.rglob("*.safetensors")} == before
    refused = run_app("report", run)
    assert refused.code == 1
    assert "--overwrite" in refused.err
    assert run_app("report", run, "--overwrite").code == 0
    assert "all steps are done" in run_app("run", config_file, "--out", run, "--dry-run").out

    # of a run whose images are compared with their masks, the report counts them
    (run / "agreement").mkdir()
    agreement = {"limit": 0.6, "dice": {"000000-0": 0.7, "000001-0": 0.5, "000002-0": 0.6}}
    (run / "agreement" / "agreement.json").write_text(json.dumps(agreement))
    settings = (run / "config.toml").read_text()
    (run / "config.toml").write_text(settings.replace("[filter]\n", "[filter]\nagreement = 0.6\n"))
    assert run_app("report", run, "--overwrite").code == 0
    assert "Of 3 images of the mask-conditioned cascade" in (run / "report.html").read_text()


def test_float32_on_a_gpu_is_that_of_a_cpu(
    run_app: RunApp, config_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("enrich_app.run.resolve_device", torch.device)  # as where there is a GPU
    with gpu_arithmetic("tf32"):
        for device, allowed in (("cpu", True), ("cuda", False)):
            planned = run_app("run", config_file, "--out", tmp_path / "run", "--dry-run", "--device", device)
            assert planned.code == 0, planned.err
            assert torch.backends.cudnn.allow_tf32 is torch.backends.cuda.matmul.allow_tf32 is allowed
