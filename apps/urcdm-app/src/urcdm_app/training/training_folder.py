"""The outputs of a training run in its folder."""

import json
from collections.abc import Iterable

from run_folder import RunFolder, UsageError, whole_file
from urcdm.training.data import TrainingData

DATA_FILE = "data.json"
_MODEL_FILES = ("model/model.toml", "model/*/model.toml", "model/*/*.safetensors")
_NETWORK_FILES = ("state.pt", "log.jsonl", "samples/*.png", "tensorboard/**/*", "wandb/**/*", ".*.partial*")


def claim_training(run: RunFolder, settings: str, networks: Iterable[str], data: TrainingData) -> None:
    """Claims the outputs of a run that trains networks and assembles a model, and notes what it learns from.

    Args:
        run: The folder.
        settings: Name of the file that holds the run's settings.
        networks: Folder of each network inside it.
        data: What they learn from.

    Raises:
        RunFolderError: A file is there that no run of the command wrote.
        UsageError: The run that is resumed learnt from other tiles.
    """
    note, saved = json.dumps({"slides": data.slides, "tiles": data.digest}, indent=1) + "\n", run.path / DATA_FILE
    if run.resumed and saved.exists() and saved.read_text(encoding="utf-8") != note:
        raise UsageError(
            f"{run.path} was started with other tiles; resume it with the same --tiles and --validation, or use "
            "another --out"
        )
    of_networks = (f"{network}/{name}" for network in networks for name in _NETWORK_FILES)
    run.claim(settings, DATA_FILE, patterns=[*_MODEL_FILES, *of_networks])
    with whole_file(saved) as partial:
        partial.write_text(note, encoding="utf-8")
