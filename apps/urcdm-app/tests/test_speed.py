"""Options of how the networks are run: precision, batch sizes, compilation."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import openslide
import pytest
import torch

from run_folder import UsageError
from urcdm.execution import batch_choice
from urcdm_app.sampling.sample import describe_device

RunApp = Callable[..., Any]


def test_precision_is_what_the_device_is_good_at_unless_it_is_named() -> None:
    assert describe_device("cpu", "auto")[1] == "fp32"
    assert describe_device("cpu", "bf16")[1] == "bf16"
    with pytest.raises(UsageError, match="auto, fp32 or bf16"):
        describe_device("cpu", "fp8")


def test_a_slide_can_be_drawn_in_bf16(run_app: RunApp, tmp_path: Path) -> None:
    def pixels(name: str, *options: str) -> np.ndarray:
        out = tmp_path / f"{name}.tiff"
        sampled = run_app("sample", "--out", out, "--size", "64", "--steps", "1", "--device", "cpu", *options)
        assert sampled.code == 0, sampled.err
        return np.asarray(openslide.OpenSlide(out).read_region((0, 0), 0, (64, 64)), int)[..., :3]

    exact, short = pixels("exact"), pixels("short", "--precision", "bf16", "--batch", "3")
    assert 0 < np.abs(exact - short).mean() < 6  # grey levels, after three levels


def test_a_run_does_not_go_on_in_another_precision(
    run_app: RunApp, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    arguments = ("sample", "--model", model, "--out", tmp_path / "s.tiff", "--size", "48", "--device", "cpu")
    with monkeypatch.context() as patch:
        patch.setattr("urcdm.SlideRun.write", lambda *_, **__: (_ for _ in ()).throw(KeyboardInterrupt))
        assert run_app(*arguments).code == 130
    refused = run_app(*arguments, "--resume", "--precision", "bf16")
    assert (refused.code, "precision = fp32, not bf16" in refused.err) == (1, True)
    assert run_app(*arguments, "--resume").code == 0


def test_a_network_that_cannot_be_compiled_is_told_in_one_line(
    run_app: RunApp, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from torch._dynamo.exc import Unsupported

    def fails(_network: torch.nn.Module) -> None:
        monkeypatch.setattr(
            "urcdm.execution.batches.sample_stage", lambda *_, **__: (_ for _ in ()).throw(Unsupported("no gcc\n"))
        )

    monkeypatch.setattr(batch_choice, "compile_in_place", fails)
    arguments = ("sample", "--model", model, "--out", tmp_path / "s.tiff", "--size", "48", "--device", "cpu")
    told = run_app(*arguments, "--compile")
    assert told.code == 1
    assert len(told.err.strip().splitlines()) == 1
    assert "no gcc" in told.err
    assert "--resume --no-compile" in told.err


@pytest.mark.parametrize(
    ("option", "value"), [("--batch", "0"), ("--batch", "many"), ("--batch", "-1"), ("--precision", "fp16")]
)
def test_what_cannot_be_read_is_told(run_app: RunApp, model: Path, tmp_path: Path, option: str, value: str) -> None:
    refused = run_app("sample", "--model", model, "--out", tmp_path / "s.tiff", option, value)
    assert refused.code == 1
    assert f"{option} {value}" in refused.err
    assert not list(tmp_path.iterdir())
