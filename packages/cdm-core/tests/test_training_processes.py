"""Two processes that share a run do what one does."""

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
import torch

from cdm_core import ConfigError, SamplingConfig, StageConfig
from cdm_core.config_file import dump_config
from cdm_core.distillation.finishing import FinishingConfig
from cdm_core.training.loop import TrainingLoop
from cdm_core.training.setup import check_training

pytestmark = pytest.mark.once

SCRIPT = """
import json
import os
import signal
from dataclasses import replace
from itertools import islice
from pathlib import Path
import torch
from torch.distributed.launcher.api import LaunchConfig, elastic_launch
from cdm_core import CheckpointError, StageConfig, TrainingConfig, TrainingError
from cdm_core.config_file import parse_config
from cdm_core.distillation.finishing import FinishingConfig
from cdm_core.networks.imagen_offline import imagen_module
from cdm_core.training.loop import train_stage

BROKEN = 7


class Pictures:
    def __getitem__(self, draw):
        picture = torch.rand(4, 16, 16, generator=torch.Generator().manual_seed(draw))
        image = picture[:3] * float("nan") if draw == BROKEN else picture[:3]
        return {"image": image, "cond_images": picture[3:]}


def read_bytes():
    io = Path("/proc/self/io")  # Linux; files that are mapped into memory do not count
    return int(io.read_text().split()[1]) if io.exists() else 0


def main():
    torch.set_num_threads(1)
    plan = json.loads(Path("plan.json").read_text())
    stage = parse_config(StageConfig, plan["stage"], "stage")
    settings = parse_config(TrainingConfig, plan["training"], "training")
    for folder, stop, resume in (("whole", None, False), ("begun by two", 3, False), ("begun by one", None, True)):
        training = replace(settings, chunk_size=None) if resume else settings
        options, before = {"validation": Pictures(), "device": "cpu", "resume": resume}, read_bytes()
        run = train_stage(stage, training, Pictures(), Path(folder), **options)
        events = list(islice(run, stop))
        run.close()
        torch.distributed.barrier()
        rank, skipped = torch.distributed.get_rank(), [event.skipped for event in events]
        Path(f"{folder} {rank}.json").write_text(json.dumps(skipped))
        Path(f"{folder} {rank}.read").write_text(str(read_bytes() - before))
    try:
        for event in train_stage(stage, settings, Pictures(), Path("interrupted"), device="cpu"):
            if event.step == 2 and rank == 1:
                os.kill(os.getpid(), signal.SIGINT)
    except KeyboardInterrupt:
        Path(f"interrupted {rank}.txt").write_text(str(event.step))
    stage = parse_config(StageConfig, plan["student"], "student")
    finishing = parse_config(FinishingConfig, plan["finishing"], "finishing")
    for _ in train_stage(stage, settings, Pictures(), Path("finished"), device="cpu", finishing=finishing):
        pass
    try:
        next(train_stage(stage, settings, Pictures(), Path("whole"), device="cpu"))
    except (CheckpointError, TrainingError) as error:
        Path(f"refused {rank}.txt").write_text(f"{type(error).__name__}: {error}")
    torch.distributed.destroy_process_group()


# what torchrun does, but that its processes do not each import everything anew
imagen_module()
settings = {"nproc_per_node": 2, "start_method": "fork", "rdzv_backend": "c10d", "rdzv_endpoint": "localhost:0"}
elastic_launch(LaunchConfig(1, 1, run_id="test", max_restarts=0, **settings), main)()
"""


def test_two_processes_do_what_one_does(upper: StageConfig, tmp_path: Path, runs: Any) -> None:
    # each process has a chunk of two and one of one, and shares gradients after the second
    training = runs.settings(steps=5, batch_size=6, chunk_size=2, validate_every=2, validation_images=2)
    examples = {"examples": runs.pictures(broken=range(7, 8)), "validation": runs.pictures(broken=range(7, 8))}
    runs.train(upper, tmp_path / "one", training, **examples)
    runs.train(upper, tmp_path / "begun by one", training, stop=3, **examples)
    # in some chunks, the one process has an example from the student's own sampling and the other has none
    student = replace(upper, sampling=SamplingConfig(3, "ddim"))
    finishing = FinishingConfig(starts_at=0, rises_for=2, r1_every=2, widths=(8, 8))
    runs.train(student, tmp_path / "finished by one", training, finishing=finishing, examples=examples["examples"])
    plan = {
        "stage": dump_config(upper),
        "training": dump_config(training),
        "student": dump_config(student),
        "finishing": dump_config(finishing),
    }
    (tmp_path / "plan.json").write_text(json.dumps(plan))
    (tmp_path / "script.py").write_text(SCRIPT)
    result = subprocess.run(
        [sys.executable, "script.py"],
        cwd=tmp_path,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
        timeout=240,
    )
    assert result.returncode == 0, result.stderr
    assert "Warning" not in result.stderr
    for rank in (0, 1):  # the broken example is the first process's, and both skip its step
        assert json.loads((tmp_path / f"whole {rank}.json").read_text()) == [0, 1, 1, 1, 1]
    size = (tmp_path / "begun by one" / "state.pt").stat().st_size
    for rank in (0, 1):  # both map the state that they resume, so that it is read from the disk once
        assert int((tmp_path / f"begun by one {rank}.read").read_text()) < size  # most of it are gradients
    main, other = ((tmp_path / f"refused {rank}.txt").read_text() for rank in (0, 1))
    assert main.startswith("CheckpointError: whole: holds a training run (state.pt)")
    assert other == "PeerError: whole: process 0 cannot begin; see its message"
    for rank in (0, 1):  # both do the step at which the log looks at the device, and the main one saves it
        assert (tmp_path / f"interrupted {rank}.txt").read_text() == "2"
    assert runs.state(tmp_path / "interrupted")["step"] == 3
    one = runs.state(tmp_path / "one")
    runs.assert_close(one, runs.state(tmp_path / "whole"))
    runs.assert_close(one, runs.state(tmp_path / "begun by one"))
    assert runs.state(tmp_path / "begun by two")["step"] == 3
    runs.train(upper, tmp_path / "begun by two", training, resume=True, **examples)
    runs.assert_close(one, runs.state(tmp_path / "begun by two"))
    finished = [runs.state(tmp_path / name) for name in ("finished by one", "finished")]
    assert [state["skipped"] for state in finished] == [1, 1]
    runs.assert_close(*finished)  # but for rounding: the processes add up their gradients in another order
    opponents = [torch.cat([value.flatten() for value in state["adversary"]["network"].values()]) for state in finished]
    torch.testing.assert_close(*opponents, rtol=0, atol=1e-5)
    expected = runs.log(tmp_path / "one")
    assert [line["step"] for line in expected] == [1, 2, 3, 4, 5]
    assert expected[1]["loss"] is expected[1]["grad_norm"] is None
    for name in ("whole", "begun by one", "begun by two"):  # only one process writes
        for line, wanted in zip(runs.log(tmp_path / name), expected, strict=True):
            assert line.keys() == wanted.keys()
            assert [line[key] or 0 for key in wanted] == pytest.approx([wanted[key] or 0 for key in wanted], rel=1e-4)


def test_a_batch_that_cannot_be_shared_out_is_refused(upper: StageConfig, runs: Any) -> None:
    check_training(upper, runs.settings(batch_size=6), processes=3)
    with pytest.raises(ConfigError, match="batch_size 6 cannot be shared out evenly among 4 processes"):
        check_training(upper, runs.settings(batch_size=6), processes=4)


@pytest.mark.parametrize("embedding", [None, 4])
def test_every_weight_that_is_trained_gets_a_gradient(
    tiny_stage: Any, tmp_path: Path, runs: Any, monkeypatch: pytest.MonkeyPatch, embedding: int | None
) -> None:
    class Embedded(runs.pictures):
        def __getitem__(self, draw: int) -> dict[str, torch.Tensor]:
            return {**super().__getitem__(draw), "embedding": torch.ones(4)}

    without: list[str] = []

    iterate = TrainingLoop.iterate

    def watched(self: TrainingLoop, batch: Any) -> None:
        zero_grad = self.state.optimiser.zero_grad

        def checked(**options: Any) -> None:
            for name, value in self.state.unet.named_parameters():
                if value.requires_grad and value.grad is None:
                    without.append(name)
                elif value.requires_grad:  # fused kernels want gradients to lie in memory as the weights do
                    strides = zip(value.shape, value.stride(), value.grad.stride(), strict=True)
                    assert all(one == other for size, one, other in strides if size > 1), name
            assert any(value.requires_grad for value in self.state.unet.parameters())
            zero_grad(**options)

        with mock.patch.object(self.state.optimiser, "zero_grad", checked):
            iterate(self, batch)

    monkeypatch.setattr(TrainingLoop, "iterate", watched)
    runs.train(tiny_stage({"text_embed_dim": embedding}), tmp_path, runs.settings(steps=2), examples=Embedded())
    assert not without
