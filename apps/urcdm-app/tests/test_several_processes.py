"""Training shared among processes: those of a launcher, which share each step, and those that share the networks."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch

from run_folder import FolderLock, UsageError
from urcdm import Urcdm
from urcdm_app.gpus import chosen_places, unused_gpus

RunApp = Callable[..., Any]

SERVER = """
import json
import os
import signal
import sys
import threading
import time
from pathlib import Path
import torch
import torch._dynamo
from torch.distributed.launcher.api import LaunchConfig, elastic_launch
from cdm_core.networks.imagen_offline import imagen_module
from urcdm_app.training import distill, finish, job_run, network_processes, train, training_job
from urcdm_app.cli import main
from run_folder import UsageError

network_processes.START_METHOD = "fork"  # so that processes do not each import everything anew
imagen_module()
torch.set_num_threads(1)
signal.signal(signal.SIGINT, signal.default_int_handler)  # which is ignored where the tests run in the background


def to_file(number, path):
    with open(path, "w") as file:
        os.dup2(file.fileno(), number)


def run(words, name):
    to_file(1, f"{name}.out")
    to_file(2, f"{name}.err")
    sys.argv, code = ["urcdm-app", *words], 70
    try:
        main()
    except SystemExit as end:
        code = int(end.code or 0)
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        Path(f"{name}.code").write_text(str(code))


def interrupt(folders):
    while not all((Path(folder) / "log.jsonl").exists() for folder in folders):
        time.sleep(0.02)
    os.kill(os.getpid(), signal.SIGINT)


def refuse(job):
    raise UsageError("not on this machine")


def process(commands):
    rank, opened = os.environ["RANK"], training_job.TrainingJob.open_data
    for name, words in commands.items():
        training_job.TrainingJob.open_data = refuse if name == "alone" and rank == "1" else opened
        run(words, f"{name} {rank}")
        torch.distributed.barrier()
        if rank == "0":  # else the next command would count as the same run
            torch.distributed.distributed_c10d._get_default_store().delete_key("failed")
        torch.distributed.barrier()
    torch.distributed.destroy_process_group()


def launch(commands):
    settings = {"nproc_per_node": 2, "start_method": "fork", "rdzv_backend": "c10d", "rdzv_endpoint": "localhost:0"}
    elastic_launch(LaunchConfig(1, 1, run_id="test", max_restarts=0, **settings), process)(commands)


for line in sys.stdin:
    task = json.loads(line)
    if os.fork() == 0:
        os.chdir(task["folder"])
        try:
            if "launch" in task:
                launch(task["launch"])
            else:
                if task["interrupt"]:
                    threading.Thread(target=interrupt, args=(task["interrupt"],), daemon=True).start()
                run(task["words"], "alone")
        except BaseException:
            import traceback
            traceback.print_exc()
        finally:
            os._exit(0)
    os.wait()
    print("done", flush=True)
"""


@dataclass(frozen=True)
class Ended:
    """How a command ended in one process."""

    code: int
    out: str
    err: str

    @classmethod
    def read(cls, folder: Path, name: str) -> "Ended":
        code, out, err = ((folder / f"{name}.{kind}").read_text() for kind in ("code", "out", "err"))
        return cls(int(code), out, err)


class Server:
    """A process that has imported everything, and runs commands in processes that are forked from it."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self.process = process

    def run(self, folder: Path, *words: Any, interrupt: Sequence[Path] = ()) -> Ended:
        """Runs a command; Ctrl-C when there is a log in each of the folders."""
        self._do({"folder": str(folder), "words": list(map(str, words)), "interrupt": list(map(str, interrupt))})
        return Ended.read(folder, "alone")

    def launch(self, folder: Path, commands: dict[str, list[Any]]) -> dict[str, tuple[Ended, Ended]]:
        """Runs commands one after the other in two processes, as torchrun starts them."""
        self._do({"folder": str(folder), "launch": {name: list(map(str, each)) for name, each in commands.items()}})
        return {name: (Ended.read(folder, f"{name} 0"), Ended.read(folder, f"{name} 1")) for name in commands}

    def _do(self, task: dict[str, Any]) -> None:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(json.dumps(task) + "\n")
        self.process.stdin.flush()
        assert self.process.stdout.readline() == "done\n"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    script = tmp_path_factory.mktemp("server") / "server.py"
    script.write_text(SERVER)
    with subprocess.Popen(
        [sys.executable, script],
        env={**os.environ, "OMP_NUM_THREADS": "1", "COLUMNS": "200"},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        yield Server(process)


def losses(folder: Path) -> list[float]:
    lines = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
    return [line["loss"] for line in lines if "loss" in line]


def weights(model: Path) -> torch.Tensor:
    cascades = Urcdm.load(model).cascades
    return torch.cat(
        [value.flatten() for each in cascades for unet in each.unets for value in unet.state_dict().values()]
    )


@pytest.mark.timeout(600)
def test_two_launched_processes_end_as_one_does(
    server: Server, run_app: RunApp, plan: Path, model: Path, tiles: Path, tmp_path: Path
) -> None:
    """Those of `train`, which does the same job, are in cdm-core's test_training_processes."""
    finishing = tmp_path / "finishing.toml"
    finishing.write_text(plan.read_text() + "\n[networks.finishing]\nsteps = 1\n")
    learning = ["--tiles", tiles, "--device", "cpu", "--plan"]
    commands = {
        "distill": ["distill", *learning, plan, "--model", model, "--to", "1"],
        "finish": ["finish", *learning, finishing, "--model", model, "--steps", "2", "--batch", "2"],
    }
    launched = {name: [*words, "--out", tmp_path / f"{name} by two"] for name, words in commands.items()}
    launched["again"] = [*launched["distill"], "--overwrite"]
    launched["alone"] = ["train", *learning, plan, "--out", tmp_path / "none"]
    launched["odd"] = [*launched["alone"], "--batch", "3"]
    launched["gpus"] = [*launched["alone"], "--gpus", "2"]
    ended = server.launch(tmp_path, launched)
    for name in (*commands, "again"):
        main, other = ended[name]
        assert (main.code, main.err) == (0, "")
        assert other == Ended(0, "", "")  # the main one alone shows progress, and writes
    for name, words in commands.items():
        one, two = tmp_path / f"{name} by one", tmp_path / f"{name} by two"
        alone = run_app(*words, "--out", one)
        assert alone.code == 0, alone.err
        logs = sorted(path.parent.relative_to(one) for path in one.rglob("log.jsonl"))
        assert logs == sorted(path.parent.relative_to(two) for path in two.rglob("log.jsonl"))
        for log in logs:
            assert losses(two / log) == pytest.approx(losses(one / log), rel=1e-4), log
        close = (weights(one / "model") - weights(two / "model")).abs() < 1e-3  # of half precision
        assert close.float().mean() > 0.999
    for name, line in (
        ("alone", "not on this machine"),
        ("odd", "batch_size 3 cannot be shared out"),
        ("gpus", "--gpus 2: a launcher started 2 processes"),
    ):
        main, other = ended[name]
        printed = main.err + other.err
        assert (main.code, other.code, printed.count("\n")) == (1, 1, 1), printed
        assert line in printed
    assert not (tmp_path / "none").exists()


def test_networks_are_shared_out_among_processes(
    server: Server, run_app: RunApp, plan: Path, tiles: Path, tmp_path: Path
) -> None:
    words = ["train", "--tiles", tiles, "--plan", plan, "--device", "cpu", "--out"]
    assert run_app(*words, tmp_path / "one").code == 0
    run = tmp_path / "shared"
    shared = [*words, run, "--gpus", "2", "--resume"]
    with FolderLock(run / "medium-16"):
        first = server.run(tmp_path, *shared)
    assert (first.code, first.err) == (0, "medium-16: another run trains it; passed over\n")
    assert "still to train before there is a model: medium-16" in first.out
    (run / "medium-16").mkdir(exist_ok=True)
    (run / "medium-16" / "state.pt").write_text("damaged")
    shutil.rmtree(run / "high-16")
    failed = server.run(tmp_path, *shared)
    assert (failed.code, failed.err.count("\n")) == (1, 2), failed.err
    assert re.match(r"medium-16: .*state\.pt: the training state is damaged", failed.err)
    assert "1 of 3 networks failed (medium-16); mend what the lines above name" in failed.err
    assert (run / "high-16" / "state.pt").exists()
    (run / "medium-16" / "state.pt").unlink()
    last = server.run(tmp_path, *shared)
    assert (last.code, last.err) == (0, "")
    assert torch.equal(weights(run / "model"), weights(tmp_path / "one" / "model"))


@pytest.mark.thorough
def test_a_chain_of_students_is_one_piece_of_work(
    server: Server, plan: Path, model: Path, tiles: Path, tmp_path: Path
) -> None:
    words = ["--model", model, "--plan", plan, "--tiles", tiles, "--device", "cpu", "--out", tmp_path / "students"]
    shared = server.run(tmp_path, "distill", *words, "--to", "1", "--gpus", "3")
    assert (shared.code, shared.err) == (0, "")
    stages = [stage for each in Urcdm.load(tmp_path / "students" / "model").cascades for stage in each.config.stages]
    assert {stage.sampling.steps for stage in stages} == {1}
    assert (tmp_path / "students" / "high-16" / "2-steps" / "state.pt").exists()


def test_networks_that_are_shared_out_are_saved_on_ctrl_c(
    server: Server, plan: Path, tiles: Path, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    words = ["train", "--tiles", tiles, "--plan", plan, "--device", "cpu", "--out", run, "--gpus", "2"]
    begun = [run / name for name in ("low-16", "medium-16")]
    stopped = server.run(tmp_path, *words, "--steps", "1000000", interrupt=begun)
    assert (stopped.code, stopped.err) == (130, "stopped; what is done is kept, go on with --resume\n")
    assert all(torch.load(folder / "state.pt", weights_only=False)["step"] > 0 for folder in begun)
    assert not (run / "high-16" / "state.pt").exists()


def steps(folder: Path) -> int:
    return int(torch.load(folder / "state.pt", weights_only=False)["step"])


@pytest.mark.thorough
@pytest.mark.timeout(900)
def test_spawned_processes_stop_fail_and_resume(run_app: RunApp, plan: Path, tiles: Path, tmp_path: Path) -> None:
    """The processes of the tests above are forked; here they are spawned, as GPUs need it."""
    names, count = ("low-16", "medium-16", "high-16"), 60
    words = ["train", "--tiles", tiles, "--plan", plan, "--device", "cpu", "--steps", str(count), "--out"]
    run = tmp_path / "run"

    def start(*more: str) -> "subprocess.Popen[str]":
        # a program that is started in the background ignores Ctrl-C, and its children do
        python = ["env", "--default-signal=INT", sys.executable, "-m"]
        command = [*python, "urcdm_app", *words, run, "--gpus", "2", *more]
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
        return subprocess.Popen(list(map(str, command)), start_new_session=True, **pipes)

    first = start()
    while first.poll() is None and not all((run / name / "log.jsonl").exists() for name in names[:2]):
        time.sleep(0.02)
    children = Path(f"/proc/{first.pid}/task/{first.pid}/children").read_text().split()
    assert sum("spawn_main" in Path(f"/proc/{child}/cmdline").read_text() for child in children) == 2
    os.killpg(first.pid, signal.SIGINT)  # as a terminal's Ctrl-C
    _, error = first.communicate()
    assert (first.returncode, error) == (130, "stopped; what is done is kept, go on with --resume\n")
    assert 0 < min(steps(run / name) for name in names[:2]) < count
    kept = (run / "medium-16" / "state.pt").read_bytes()
    (run / "medium-16" / "state.pt").write_text("damaged")
    second = start("--resume")
    _, error = second.communicate()
    assert (second.returncode, error.count("\n")) == (1, 2), error
    assert "state.pt: the training state is damaged" in error
    assert "1 of 3 networks failed (medium-16); mend what the lines above name" in error
    assert steps(run / "low-16") == steps(run / "high-16") == count
    (run / "medium-16" / "state.pt").write_bytes(kept)
    third = start("--resume")
    _, error = third.communicate()
    assert (third.returncode, error) == (0, "")
    assert run_app(*words, tmp_path / "one").code == 0
    assert torch.equal(weights(run / "model"), weights(tmp_path / "one" / "model"))
    for name in names:
        assert losses(run / name) == losses(tmp_path / "one" / name)


def test_gpus_are_chosen_as_cuda_names_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cuda.device_count", lambda: 3)
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    assert chosen_places("all", "auto", 1) == ["0", "1", "2"]
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4,GPU-5a,7")
    assert chosen_places("2", "auto", 1) == ["4", "GPU-5a"]
    assert chosen_places("2", "cpu", 1) == [None, None]
    for gpus, device, words in (
        ("4", "auto", "there are 3 GPUs here"),
        ("all", "cpu", "no GPU is used here"),
        ("none", "auto", "wanted 'all' or a number"),
        ("0", "auto", "wanted 'all' or a number"),
    ):
        with pytest.raises(UsageError, match=words):
            chosen_places(gpus, device, 1)
    assert str(unused_gpus("auto")).startswith("3 GPUs here, of which this run uses one: --gpus all trains a network")
    assert unused_gpus("cuda") is None
    monkeypatch.setattr("torch.cuda.device_count", lambda: 1)
    assert unused_gpus("auto") is None
