"""Sources of models: a folder, a zip of one, or a repository on Hugging Face."""

import atexit
import re
import shutil
import stat
import tempfile
import zipfile
import zlib
from pathlib import Path, PurePosixPath

from cdm_core.errors import CheckpointError
from cdm_core.model_folder import MODEL_FILE
from run_folder import first_line

KINDS = f"a folder with {MODEL_FILE}, a zip of one, or the id of a Hugging Face repository (owner/name)"
REPOSITORY = re.compile(r"(?:hf://)?([A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*)(?:@([\w./-]+))?", re.ASCII)
PARTS = (".toml", ".safetensors")
"""Suffixes of a model's files; no others are fetched or unpacked."""
DIFFUSERS_PARTS = [
    "scheduler/scheduler_config.json",
    "*/config.json",
    "*/diffusion_pytorch_model.safetensors",
    "*/diffusion_pytorch_model-*.safetensors",  # where the weights are in several files
    "*/diffusion_pytorch_model.safetensors.index.json",
]
MOST_UNPACKED = 20
"""Weights hardly shrink in a zip; a zip that would grow by more than this factor does not hold any."""


def fetch_model(source: str | Path) -> Path:
    """Returns the folder of a model, wherever it comes from.

    Args:
        source: A folder, which is returned as it is. Or a zip of one, with or without a folder round it, which is
            unpacked to a temporary folder that lasts as long as the process. Or `owner/name`, `owner/name@revision` or
            either after `hf://`, a repository on Hugging Face: what is not in that library's cache is fetched into it.
            An existing file or folder is never taken for a repository.

    Returns:
        The folder, to load.

    Raises:
        CheckpointError: The source has another form; the zip is damaged or not safe to unpack; the repository cannot be
            read, or is not in the cache and there is no network.
    """
    path = Path(source)
    if path.is_dir():
        return path
    if path.exists():
        return _unpacked(path)
    match = REPOSITORY.fullmatch(str(source))
    if match is None:
        raise CheckpointError(f"{source}: no such folder or file; a model is {KINDS}")
    folder = _fetched(str(source), match[1], match[2], [f"*{end}" for end in PARTS])
    if not (folder / MODEL_FILE).exists():
        raise CheckpointError(f"{source}: the repository has no {MODEL_FILE}, so it is no model of this project")
    return folder


def fetch_diffusers(source: str | Path) -> Path:
    """Returns the folder of a model in diffusers' form: a folder, or a repository as `fetch_model` takes it.

    Raises:
        CheckpointError: The source is neither; or the repository cannot be read.
    """
    if Path(source).is_dir():
        return Path(source)
    match = REPOSITORY.fullmatch(str(source))
    if match is None or Path(source).exists():
        raise CheckpointError(f"{source}: no folder of diffusers, and no id of a Hugging Face repository (owner/name)")
    return _fetched(str(source), match[1], match[2], DIFFUSERS_PARTS)


def _fetched(source: str, repository: str, revision: str | None, parts: list[str]) -> Path:
    """Fetches files of a repository, or what is new in them."""
    from huggingface_hub import errors, snapshot_download  # takes half a second, which other sources need not wait for

    here = "" if source.startswith("hf://") else "no such folder or file here, and "
    try:
        folder = Path(snapshot_download(repository, revision=revision, allow_patterns=parts))
    except errors.GatedRepoError:
        reason = "its owner gives access on request: ask on its page, then log in with 'hf auth login'"
        raise CheckpointError(f"{source}: {reason}") from None
    except errors.RepositoryNotFoundError:
        reason = "no repository of that id on Hugging Face; if it is private, log in with 'hf auth login'"
        raise CheckpointError(f"{source}: {here}{reason}") from None
    except errors.RevisionNotFoundError:
        raise CheckpointError(f"{source}: the repository has no revision '{revision}'") from None
    except errors.HFValidationError:
        raise CheckpointError(f"{source}: {here}no id of a Hugging Face repository; a model is {KINDS}") from None
    except errors.LocalEntryNotFoundError:
        reason = "Hugging Face cannot be reached for a repository of that id; check the network"
        raise CheckpointError(f"{source}: {here}{reason}") from None
    except Exception as error:  # of whichever library carries its requests
        if isinstance(error, OSError) and error.errno is not None:  # of the disk
            raise
        line = first_line(error)
        raise CheckpointError(f"{source}: cannot be fetched ({type(error).__name__}: {line[:200]})") from None
    return folder


def _unpacked(path: Path) -> Path:
    """Unpacks the model in a zip to a temporary folder."""
    folder = Path(tempfile.mkdtemp(prefix="model-"))
    try:
        with zipfile.ZipFile(path) as archive:
            top = _top_of_model(path, archive.infolist())
            for info in archive.infolist():
                name = info.filename.removeprefix(top)
                if not info.filename.startswith(top) or not name.endswith(PARTS):
                    continue
                target = folder / name
                target.parent.mkdir(parents=True, exist_ok=True)
                with archive.open(info) as packed, target.open("xb") as file:
                    shutil.copyfileobj(packed, file, 2**20)
    except BaseException as error:
        shutil.rmtree(folder)
        # RuntimeError: it wants a password; NotImplementedError: a method of compression that Python does not have
        if isinstance(error, zipfile.BadZipFile | EOFError | zlib.error | RuntimeError):
            raise CheckpointError(f"{path}: not a zip that can be unpacked ({error}); a model is {KINDS}") from None
        raise
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


def _top_of_model(path: Path, infos: list[zipfile.ZipInfo]) -> str:
    """Returns the folder of a zip that the model is in, '' or 'name/', after checking that it is safe to unpack."""
    names: set[str] = set()
    for info in infos:
        parts = PurePosixPath(info.filename).parts
        if info.filename.startswith("/") or ".." in parts or "\\" in info.filename:
            raise CheckpointError(f"{path}: not unpacked, {info.filename!r} would lie outside its folder")
        if stat.S_ISLNK(info.external_attr >> 16):
            raise CheckpointError(f"{path}: not unpacked, {info.filename!r} is a link")
        if info.filename in names:
            raise CheckpointError(f"{path}: not unpacked, {info.filename!r} is in it twice")
        names.add(info.filename)
    unpacked = sum(info.file_size for info in infos)  # no more than that is ever read
    if unpacked > MOST_UNPACKED * path.stat().st_size:
        raise CheckpointError(f"{path}: not unpacked, it would grow to {unpacked:,} bytes, which no weights do")
    tops = [name.removesuffix(MODEL_FILE) for name in names if PurePosixPath(name).name == MODEL_FILE]
    tops = [""] if "" in tops else [top for top in tops if top.count("/") == 1]
    if len(tops) != 1:
        raise CheckpointError(f"{path}: not a zip of a model, it has no {MODEL_FILE} at its top or in a folder there")
    return tops[0]
