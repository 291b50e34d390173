"""The outputs of a training run in its folder."""

from collections.abc import Iterable

from run_folder import RunFolder

_MODEL_FILES = ("model/model.toml", "model/*/model.toml", "model/*/*.safetensors")
_NETWORK_FILES = ("state.pt", "log.jsonl", "samples/*.png", "tensorboard/**/*", "wandb/**/*", ".*.partial*")


def claim_training(run: RunFolder, settings: str, networks: Iterable[str]) -> None:
    """Claims the outputs of a run that trains networks and assembles a model.

    Args:
        run: The folder.
        settings: Name of the file that holds the run's settings.
        networks: Folder of each network inside it.

    Raises:
        RunFolderError: A file is there that no run of the command wrote.
    """
    of_networks = (f"{network}/{name}" for network in networks for name in _NETWORK_FILES)
    run.claim(settings, patterns=[*_MODEL_FILES, *of_networks])
