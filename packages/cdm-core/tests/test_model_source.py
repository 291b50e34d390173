"""Models as folders, zips and repositories; the hub is a small server in this process."""

import atexit
import hashlib
import http.server
import json
import shutil
import threading
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import torch

from cdm_core import Cascade, CheckpointError, fetch_model

Generators = Callable[..., list[torch.Generator]]


@pytest.fixture(scope="module")
def saved(make_cascade: Callable[[], Cascade], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model, with a file beside it that is no part of it."""
    folder = tmp_path_factory.mktemp("saved") / "tiny"
    make_cascade().save(folder)
    (folder / "README.md").write_text("mine")
    (folder / "code.py").write_text("raise SystemExit")
    return folder


@pytest.fixture
def folder(saved: Path, tmp_path: Path) -> Path:
    """A copy of the model, which a test may change."""
    return shutil.copytree(saved, tmp_path / "tiny")


def zipped(folder: Path, path: Path, top: str = "", **more: bytes) -> Path:
    """A zip of a folder, with everything in a folder of the name `top`, and more files."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for file in sorted(folder.rglob("*")):
            archive.write(file, top + file.relative_to(folder).as_posix())
        for name, data in more.items():
            archive.writestr(name, data)
    return path


def assert_same_model(found: Path, wanted: Path, generators: Generators) -> None:
    images = [Cascade.load(each).sample(generators(0)) for each in (found, wanted)]
    torch.testing.assert_close(*images, rtol=0, atol=0)


def refusal(source: str | Path) -> str:
    with pytest.raises(CheckpointError) as caught:
        fetch_model(source)
    message = str(caught.value)
    assert message.startswith(f"{source}: ")
    assert "\n" not in message
    return message


def test_a_folder_is_where_it_is(folder: Path) -> None:
    assert fetch_model(folder) == folder
    assert fetch_model(str(folder)) == folder


@pytest.mark.parametrize("top", ["", "tiny/", "a model/"])
def test_a_zip_holds_the_model_with_or_without_its_folder(
    folder: Path, tmp_path: Path, generators: Generators, top: str
) -> None:
    path = zipped(folder, tmp_path / "model.zip", top, **({"__MACOSX/tiny/._model.toml": b"\0"} if top else {}))
    found = fetch_model(path)
    assert_same_model(found, folder, generators)
    assert sorted(file.name for file in found.iterdir()) == ["model.toml", "stage-1.safetensors", "stage-2.safetensors"]


def test_each_call_unpacks_a_folder_of_its_own_and_the_process_takes_them_away(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    at_exit: list[Callable[[], object]] = []
    monkeypatch.setattr(
        atexit, "register", lambda function, *args, **options: at_exit.append(lambda: function(*args, **options))
    )
    path = zipped(folder, tmp_path / "model.zip")
    found = [fetch_model(path) for _ in range(2)]
    assert found[0] != found[1]
    for function in at_exit:
        function()
    assert not any(each.exists() for each in found)


@pytest.mark.parametrize("name", ["../evil.toml", "/evil.toml", "a/../../evil.toml", "..\\evil.toml"])
def test_a_zip_that_reaches_outside_is_refused(folder: Path, tmp_path: Path, name: str) -> None:
    assert f"{name!r} would lie outside its folder" in refusal(
        zipped(folder, tmp_path / "model.zip", **{name: b"evil"})
    )
    assert not list(tmp_path.rglob("*evil*"))


def test_a_link_in_a_zip_is_refused(folder: Path, tmp_path: Path) -> None:
    path = zipped(folder, tmp_path / "model.zip")
    link = zipfile.ZipInfo("secret.toml")
    link.create_system, link.external_attr = 3, 0o120777 << 16
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr(link, "/etc/passwd")
    assert "'secret.toml' is a link" in refusal(path)


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_two_files_of_one_name_in_a_zip_are_refused(folder: Path, tmp_path: Path) -> None:
    path = zipped(folder, tmp_path / "model.zip")
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("model.toml", "other")
    assert "'model.toml' is in it twice" in refusal(path)


def test_a_zip_that_grows_without_bounds_is_refused(folder: Path, tmp_path: Path) -> None:
    path = zipped(folder, tmp_path / "model.zip", **{"bomb.toml": bytes(30 * 2**20)})
    assert path.stat().st_size < 2**20
    assert "not unpacked, it would grow to 32," in refusal(path)


def test_a_zip_that_tells_less_than_it_holds_is_not_read_on(folder: Path, tmp_path: Path) -> None:
    path = zipped(folder, tmp_path / "model.zip", **{"bomb.toml": bytes(30 * 2**20)})
    data = path.read_bytes()
    true, told = (30 * 2**20).to_bytes(4, "little"), (100).to_bytes(4, "little")
    assert data.count(true) == 2  # before the file, and in the directory at the end
    path.write_bytes(data.replace(true, told))
    assert "not a zip that can be unpacked" in refusal(path)


@pytest.mark.parametrize("kept", [0.3, 0.9])
def test_a_truncated_zip_is_refused(folder: Path, tmp_path: Path, kept: float) -> None:
    path = zipped(folder, tmp_path / "model.zip")
    data = path.read_bytes()
    path.write_bytes(data[: int(kept * len(data))])
    assert "not a zip that can be unpacked (File is not a zip file)" in refusal(path)


def test_a_damaged_or_locked_zip_leaves_nothing(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "temporary").mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "temporary"))
    path = zipped(folder, tmp_path / "model.zip")
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    assert "not a zip that can be unpacked" in refusal(path)
    path = zipped(folder, path)
    path.write_bytes(path.read_bytes().replace(b"PK\1\2\x14\3\x14\0\0\0", b"PK\1\2\x14\3\x14\0\1\0"))
    assert "password required" in refusal(path)
    assert not list((tmp_path / "temporary").iterdir())


def test_a_zip_without_a_model_is_refused(folder: Path, tmp_path: Path) -> None:
    for top in ("a/b/", "pictures/../", ""):
        path = tmp_path / "model.zip"
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr(f"{top}README.md", "no model")
        assert "has no model.toml at its top" in refusal(path) or "outside" in refusal(path)
    path = zipped(folder, tmp_path / "two.zip", "first/", **{"second/model.toml": b""})
    assert "has no model.toml at its top" in refusal(path)


@pytest.mark.parametrize("source", ["nowhere", "runs/mine/model", "hf://owner", "owner/na me", "/owner/name", "a/b@"])
def test_what_is_none_of_these_is_refused(source: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    message = refusal(source)
    assert "no such folder or file; a model is a folder with model.toml, a zip of one, or the id of" in message


def test_a_file_that_is_no_zip_is_refused(tmp_path: Path) -> None:
    (tmp_path / "weights.pt").write_bytes(b"weights")
    assert "not a zip that can be unpacked" in refusal(tmp_path / "weights.pt")


@dataclass
class Hub:
    """What the server has, and what it was asked for."""

    endpoint: str
    files: dict[str, bytes] = field(default_factory=dict)
    status: int = 200
    error: str = ""
    asked: list[str] = field(default_factory=list)

    @property
    def commit(self) -> str:
        return hashlib.sha1(repr(self.files).encode(), usedforsecurity=False).hexdigest()

    def answer(self, path: str) -> tuple[int, dict[str, str], bytes]:
        if self.status != 200:
            return self.status, {"X-Error-Code": self.error}, b""
        if path.startswith("/api/models/lab/tiny/revision/"):
            if path.rpartition("/")[2] not in ("main", "v1", self.commit):
                return 404, {"X-Error-Code": "RevisionNotFound"}, b""
            siblings = [{"rfilename": name} for name in self.files]
            return 200, {}, json.dumps({"id": "lab/tiny", "sha": self.commit, "siblings": siblings}).encode()
        if path == f"/api/models/lab/tiny/tree/{self.commit}":
            entries = [
                {"type": "file", "path": name, "size": len(data), "oid": hashlib.sha256(data).hexdigest()[:40]}
                for name, data in self.files.items()
            ]
            return 200, {}, json.dumps(entries).encode()
        name = path.removeprefix(f"/lab/tiny/resolve/{self.commit}/")
        if name in self.files:
            tag = hashlib.sha256(self.files[name]).hexdigest()[:40]
            return 200, {"ETag": f'"{tag}"', "X-Repo-Commit": self.commit}, self.files[name]
        return 404, {"X-Error-Code": "RepoNotFound"}, b""


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    """A hub that this process takes for Hugging Face, with an empty cache."""
    from huggingface_hub import constants

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            path = urlsplit(self.path).path
            hub.asked.append(path)
            status, headers, body = hub.answer(path)
            self.send_response(status)
            for name, value in {**headers, "Content-Length": str(len(body))}.items():
                self.send_header(name, value)
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(body)

        do_HEAD = do_GET  # noqa: N815

        def log_message(self, *_: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    hub = Hub(f"http://127.0.0.1:{server.server_port}")
    monkeypatch.setattr(constants, "ENDPOINT", hub.endpoint)
    template = hub.endpoint + "/{repo_id}/resolve/{revision}/{filename}"
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    yield hub
    server.shutdown()
    server.server_close()


def published(hub: Hub, folder: Path) -> None:
    files = (file for file in folder.rglob("*") if file.is_file())
    hub.files = {file.relative_to(folder).as_posix(): file.read_bytes() for file in files}


@pytest.mark.parametrize("source", ["lab/tiny", "hf://lab/tiny", "lab/tiny@v1", "hf://lab/tiny@v1"])
def test_a_repository_is_fetched_without_what_is_no_part_of_a_model(
    hub: Hub, folder: Path, generators: Generators, source: str
) -> None:
    published(hub, folder)
    found = fetch_model(source)
    assert_same_model(found, folder, generators)
    assert found.name == hub.commit
    assert not [path for path in hub.asked if path.endswith(("README.md", "code.py"))]
    assert any(path.endswith("/revision/v1") for path in hub.asked) == source.endswith("@v1")


def test_what_was_fetched_needs_no_network(
    hub: Hub, folder: Path, generators: Generators, monkeypatch: pytest.MonkeyPatch
) -> None:
    from huggingface_hub import constants

    published(hub, folder)
    fetched = fetch_model("lab/tiny")
    count = len(hub.asked)
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:1")
    assert fetch_model("lab/tiny") == fetched
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert fetch_model("lab/tiny") == fetched
    assert len(hub.asked) == count
    assert_same_model(fetched, folder, generators)


def test_a_newer_commit_is_fetched(hub: Hub, folder: Path) -> None:
    published(hub, folder)
    before = fetch_model("lab/tiny")
    hub.files["model.toml"] += b"# more\n"
    after = fetch_model("lab/tiny")
    assert after != before
    assert (after / "model.toml").read_bytes() == hub.files["model.toml"]


def test_without_a_network_one_line_tells(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:1")
    assert "no such folder or file here, and Hugging Face cannot be reached" in refusal("lab/tiny")
    assert "no such folder" not in refusal("hf://lab/tiny")
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert "Hugging Face cannot be reached" in refusal("lab/tiny")
    assert not hub.asked


@pytest.mark.parametrize(
    ("status", "error", "message"),
    [
        (404, "RepoNotFound", "no repository of that id on Hugging Face"),
        (401, "RepoNotFound", "if it is private, log in with 'hf auth login'"),
        (403, "GatedRepo", "gives access on request"),
        (418, "", "cannot be"),
    ],
)
def test_a_repository_that_is_not_to_be_had(hub: Hub, status: int, error: str, message: str) -> None:
    hub.status, hub.error = status, error
    assert message in refusal("lab/tiny")


def test_a_revision_or_a_model_that_is_not_there(hub: Hub, folder: Path) -> None:
    published(hub, folder)
    assert "the repository has no revision 'v2'" in refusal("lab/tiny@v2")
    assert "no id of a Hugging Face repository" in refusal("lab/ti--ny..")
    del hub.files["model.toml"]
    assert "the repository has no model.toml" in refusal("lab/tiny")


def test_a_folder_comes_before_a_repository(
    hub: Hub, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    published(hub, folder)
    (tmp_path / "lab").mkdir()
    folder.rename(tmp_path / "lab" / "tiny")
    monkeypatch.chdir(tmp_path)
    assert fetch_model("lab/tiny") == Path("lab/tiny")
    assert fetch_model("hf://lab/tiny").name == hub.commit
    assert hub.asked
