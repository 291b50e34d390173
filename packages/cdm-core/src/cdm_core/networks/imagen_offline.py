"""Imports imagen-pytorch without a network, and without what its U-Net does not use.

`import imagen_pytorch` asks a model hub for the configuration of a T5 text encoder, because the width of that encoder
is a default argument of its U-Net; without a network it fails after half a minute of retries. Nothing here reads text,
so the module that holds the U-Net is imported with a stand-in for the text encoder's module. The stand-in is taken away
afterwards: a later `import imagen_pytorch` finds the real package, and shares the classes imported here.

torchvision and kornia, which take longer to import than all the rest, are imported when `Imagen` first uses them.
"""

import importlib
import importlib.util
import sys
import warnings
from types import ModuleType
from typing import Any, Literal, Never

from cdm_core.networks.family import INSTALL

T5_V1_1_BASE_WIDTH = 768
"""The hub's answer: the default of `text_embed_dim`, which an image-only U-Net does not use."""
LATER = (("torchvision", "transforms"), ("kornia", "augmentation"))
"""Modules that only `Imagen` uses."""


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

    if module != "imagen_pytorch":
        imagen_module()
    package = ModuleType("imagen_pytorch")  # the package without its __init__, which imports trainers and video models
    package.__path__ = list(spec.submodule_search_locations)
    t5 = ModuleType("imagen_pytorch.t5")
    vars(t5).update(t5_encode_text=_no_text, get_encoded_dim=lambda _name: T5_V1_1_BASE_WIDTH, DEFAULT_T5_NAME="none")
    stand_ins: dict[str, ModuleType] = {"imagen_pytorch": package, "imagen_pytorch.t5": t5}
    if module == "imagen_pytorch":
        for library, part in LATER:
            stand_ins |= _imported_later(library, part)
    hidden = {stand_in: sys.modules[stand_in] for stand_in in stand_ins if stand_in in sys.modules}
    sys.modules.update(stand_ins)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # deprecations inside the library, none of which we can act on
            return importlib.import_module(name)
    finally:
        for stand_in in stand_ins:
            del sys.modules[stand_in]
        sys.modules.update(hidden)


class _ImportedLater(ModuleType):
    """A module that is imported when something in it is asked for."""

    def __getattr__(self, name: str) -> Any:
        return getattr(importlib.import_module(self.__name__), name)


def _imported_later(library: str, part: str) -> dict[str, ModuleType]:
    """Stand-ins for a library and a module of it, by name."""
    whole, later = ModuleType(library), _ImportedLater(f"{library}.{part}")
    setattr(whole, part, later)
    return {whole.__name__: whole, later.__name__: later}


def _no_text(*_args: object, **_keywords: object) -> Never:
    raise RuntimeError("no text encoder: to use it, import imagen_pytorch, with a network, before cdm_core")
