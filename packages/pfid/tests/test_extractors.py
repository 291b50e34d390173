import sys
import urllib.error
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

import pfid.features.inception
from pfid import CallableExtractor, Extractor, ExtractorError, Inception, Light, download_inception
from pfid.features.extractors import resize_clean


def images_of(count: int, height: int = 40, width: int = 60) -> NDArray[np.uint8]:
    return np.random.default_rng(0).integers(0, 256, (count, height, width, 3), dtype=np.uint8)


class Layers(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 2048, 23, stride=23)

    def forward(self, x: Tensor) -> Tensor:
        return self.first(x).amax((2, 3))


class StandIn(nn.Module):
    """A network of the form of clean-fid's file, which is not to be had without a network."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = Layers()

    def forward(self, x: Tensor) -> Tensor:
        return self.layers(x)


@pytest.fixture(scope="module")
def inception_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("weights") / pfid.features.inception.INCEPTION_FILE
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # TorchScript is old
        torch.jit.script(StandIn()).save(path)
    return path


@pytest.mark.parametrize("shape", [(40, 60), (299, 299), (500, 300)])
def test_resizing_is_clean_fids_pixel_for_pixel(shape: tuple[int, int]) -> None:
    peer = pytest.importorskip("cleanfid.resize")
    images = images_of(2, *shape)
    images[1, : shape[0] // 2] = 255  # edges overshoot
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it tells Pillow a mode
        expected = [peer.build_resizer("clean")(image) for image in images]
    assert (resize_clean(images, 299) == expected).all()


def test_inception_gives_what_clean_fids_wrapper_gives(inception_file: Path) -> None:
    peer = pytest.importorskip("cleanfid.inception_torchscript")
    images = images_of(3)
    resized = torch.from_numpy(resize_clean(images, 299)).permute(0, 3, 1, 2)
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # TorchScript is old
        expected = peer.InceptionV3W(str(inception_file.parent), download=False)(resized)
    extractor = Inception(inception_file.parent, sha256=None)
    features = extractor(images)
    assert features.dtype == np.float32
    np.testing.assert_allclose(features, expected.numpy(), rtol=1e-5, atol=1e-5)


def test_inception_tells_its_checksum_and_refuses_another(inception_file: Path, tmp_path: Path) -> None:
    with pytest.raises(ExtractorError, match="not f58cb9b6"):
        Inception(inception_file)
    first = Inception(inception_file, sha256=None)
    changed = tmp_path / "changed.pt"
    changed.write_bytes(inception_file.read_bytes() + b"\0")
    assert "sha256" in first.name
    with pytest.raises(ExtractorError, match="its sha256 is"):
        Inception(changed, sha256=pfid.features.extractors.file_sha256(inception_file))
    with pytest.raises(ExtractorError, match="no such file"):
        Inception(tmp_path)
    (tmp_path / "text.pt").write_text("no network")
    with pytest.raises(ExtractorError, match=r"text\.pt: cannot be read as TorchScript"):
        Inception(tmp_path / "text.pt", sha256=None)


def test_a_download_that_fails_leaves_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    peer = pytest.importorskip("cleanfid.downloads_helper")

    def cut_short(fpath: str) -> None:
        (Path(fpath) / pfid.features.inception.INCEPTION_FILE).write_bytes(b"half")
        raise urllib.error.URLError("the network is down")

    monkeypatch.setattr(peer, "check_download_inception", cut_short)
    with pytest.raises(ExtractorError, match="the network is down"):
        download_inception(tmp_path / "weights")
    assert list((tmp_path / "weights").iterdir()) == []
    monkeypatch.undo()
    (tmp_path / pfid.features.inception.INCEPTION_FILE).write_bytes(b"there already")
    assert download_inception(tmp_path).read_bytes() == b"there already"


def test_light_features_do_not_depend_on_the_batch() -> None:
    pytest.importorskip("efficientnet_lite_pytorch")
    light: Extractor = Light()
    images = images_of(5)
    features = light(images)
    assert features.shape == (5, light.dimensions)
    assert features.dtype == np.float32
    assert light.name == "EfficientNet-Lite0 (sha256 579344248a93)"
    alone = np.concatenate([light(images[i : i + 1]) for i in range(5)])
    np.testing.assert_allclose(features, alone, rtol=1e-3, atol=1e-4)
    assert not np.allclose(features[0], features[1], atol=0.01)


def test_a_package_that_is_missing_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for module in ("efficientnet_lite_pytorch", "cleanfid.downloads_helper"):
        monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(ExtractorError, match=r"pip install 'pfid\[light\]'"):
        Light()
    with pytest.raises(ExtractorError, match=r"pip install 'pfid\[inception\]'"):
        download_inception(tmp_path)


def test_any_function_is_an_extractor_if_its_features_have_the_shape() -> None:
    extractor: Extractor = CallableExtractor(lambda images: images.mean((1, 2)), "mean colour", 3)
    assert extractor(images_of(2)).shape == (2, 3)
    with pytest.raises(ExtractorError, match=r"mean colour: returned features of shape \(2, 3\), wanted \(2, 4\)"):
        CallableExtractor(lambda images: images.mean((1, 2)), "mean colour", 4)(images_of(2))


def test_extractors_compute_in_ieee_float32_and_leave_torchs_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("efficientnet_lite_pytorch")
    backends, seen = torch.backends, []

    def settings() -> tuple[bool, bool]:
        return backends.cuda.matmul.allow_tf32, backends.cudnn.allow_tf32

    def features(_: object, pixels: Tensor) -> Tensor:
        seen.append(settings())
        return pixels[:, :1, :1, :1].expand(-1, 1280, 1, 1)

    monkeypatch.setattr("efficientnet_lite_pytorch.EfficientNet.extract_features", features)
    before = settings()
    Light()(images_of(1))
    assert (seen, settings()) == ([(False, False)], before)
    assert before != seen[0]
