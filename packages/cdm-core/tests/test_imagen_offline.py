import json
import subprocess
import sys
from typing import Any

import pytest

pytestmark = pytest.mark.once

SCRIPT = """
import socket, sys

def blocked(*args, **kwargs):
    raise OSError("no network")

socket.socket.connect = socket.socket.connect_ex = socket.getaddrinfo = blocked

import json, warnings
warnings.simplefilter("error")
import torch
import cdm_core

light = not any(name.startswith(("imagen_pytorch", "torchvision", "transformers")) for name in sys.modules)
config = cdm_core.StageConfig(8, cdm_core.UnetConfig(dim=8, dim_mults=(1,), cond_dim=8, attn_heads=2, attn_dim_head=8))
unet = cdm_core.build_unet(config)
shape = list(unet(torch.zeros(2, 3, 8, 8), torch.zeros(2)).shape)
left = [name for name in ("imagen_pytorch", "imagen_pytorch.t5") if name in sys.modules]
unused = [name for name in ("torchvision", "kornia", "torch._dynamo") if name in sys.modules]
module = cdm_core.networks.imagen_offline.imagen_module()
later = [module.T.ToPILImage.__module__, module.K.RandomCrop.__module__.partition(".")[0]]

import types
import transformers
warnings.simplefilter("ignore")
# What the hub would answer; the real package asks for it while it is imported.
transformers.T5Config.from_pretrained = lambda name: types.SimpleNamespace(d_model=768)
import imagen_pytorch
from imagen_pytorch import t5

print(json.dumps({
    "shape": shape,
    "left": left,
    "light": light,
    "unused": unused,
    "later": later,
    "real": hasattr(imagen_pytorch, "ImagenTrainer") and hasattr(t5, "get_model_and_tokenizer"),
    "same": imagen_pytorch.Unet is type(unet) is cdm_core.networks.imagen_offline.imagen_module().Unet,
}))
"""


@pytest.fixture(scope="module")
def offline() -> dict[str, Any]:
    """What a process without a network found."""
    result = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    found: dict[str, Any] = json.loads(result.stdout.splitlines()[-1])
    return found


def test_the_library_is_imported_when_a_network_is_wanted(offline: dict[str, Any]) -> None:
    assert offline["light"]


def test_a_network_is_built_and_runs_without_a_network(offline: dict[str, Any]) -> None:
    assert offline["shape"] == [2, 3, 8, 8]


def test_no_stand_in_stays_behind(offline: dict[str, Any]) -> None:
    assert offline["left"] == []


def test_what_a_network_does_not_use_is_imported_when_it_is_asked_for(offline: dict[str, Any]) -> None:
    assert offline["unused"] == []
    assert offline["later"] == ["torchvision.transforms.transforms", "kornia"]


def test_the_real_package_can_be_imported_later_and_shares_its_classes(offline: dict[str, Any]) -> None:
    assert offline["real"]
    assert offline["same"]
