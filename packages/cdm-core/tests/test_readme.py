import re
from pathlib import Path
from typing import Any

import pytest
import torch

import cdm_core.training.monitor
from cdm_core import Cascade, CheckpointError

README = Path(__file__).parents[1] / "README.md"


def test_the_example_in_the_readme_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    example = re.search(r"```python\n(.*?)```", README.read_text(encoding="utf-8"), re.DOTALL)
    assert example is not None
    monkeypatch.chdir(tmp_path)
    # sheets of samples are of hundreds of steps, as a stage has them unless told otherwise
    monkeypatch.setattr(cdm_core.training.monitor, "save_sample_sheet", lambda *_, **__: None)
    names: dict[str, Any] = {}
    exec(example[1], names)  # noqa: S102
    assert names["large"].shape == (4, 3, 16, 16)
    (images,) = Cascade.load(tmp_path / "model").sample([torch.Generator()], steps=1)[1:]
    assert images.shape == (1, 3, 16, 16)
    # run once more, it replaces nothing
    state = (tmp_path / "run-8" / "state.pt").read_bytes()
    with pytest.raises(CheckpointError, match=r"^run-8: holds a training run \(state\.pt\); pass resume=True"):
        exec(example[1], {})  # noqa: S102
    assert (tmp_path / "run-8" / "state.pt").read_bytes() == state
