"""Imports imagen-pytorch without a network.

`import imagen_pytorch` asks a model hub for the configuration of a T5 text encoder, because the width of that encoder
is a default argument of its U-Net; without a network it fails after half a minute of retries. Nothing here reads text,
so the module that holds the U-Net is imported with a stand-in for the text encoder's module. The stand-in is taken away
afterwards: a later `import imagen_pytorch` finds the real package, and shares the classes imported here.
"""

import importlib
import importlib.util
import sys
import warnings
from types import ModuleType
from typing import Literal, Never

from cdm_core.family import INSTALL

T5_V1_1_BASE_WIDTH = 768
"""What the hub would have answered: the default of `text_embed_dim`, which an image-only U-Net does not use."""


def imagen_module(module: Literal["imagen_pytorch", "trainer"] = "imagen_pytorch") -> ModuleType:
    """Returns a module of imagen-pytorch, imported without a network.

    Args:
        module: `imagen_pytorch` has `Unet` and `Imagen`, `trainer` has `ImagenTrainer`.

    Raises:
        ImportError: imagen-pytorch is not installed.
    """
    name = f"imagen_pytorch.{module}"
    if name in sys.modules:
        return sys.modules[name]
    spec = importlib.util.find_spec("imagen_pytorch")
    if spec is None or spec.submodule_search_locations is None:
        raise ImportError(f"imagen-pytorch is not installed; run: pip install '{INSTALL['2']}'")

    package = ModuleType("imagen_pytorch")  # the package without its __init__, which imports trainers and video models
    package.__path__ = list(spec.submodule_search_locations)
    t5 = ModuleType("imagen_pytorch.t5")
    vars(t5).update(t5_encode_text=_no_text, get_encoded_dim=lambda _name: T5_V1_1_BASE_WIDTH, DEFAULT_T5_NAME="none")
    stand_ins = {"imagen_pytorch": package, "imagen_pytorch.t5": t5}
    sys.modules.update(stand_ins)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # deprecations inside the library, none of which we can act on
            return importlib.import_module(name)
    finally:
        for stand_in in stand_ins:
            del sys.modules[stand_in]


def _no_text(*_args: object, **_keywords: object) -> Never:
    raise RuntimeError("no text encoder: to use it, import imagen_pytorch, with a network, before cdm_core")
