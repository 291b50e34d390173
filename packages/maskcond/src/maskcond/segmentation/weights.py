"""Weights of networks as safetensors (never pickle), loaded strictly."""

from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import nn

from cdm_core.model_folder import save_weights
from maskcond.segmentation.errors import SegmentationError
from run_folder import first_line


def save_network(network: nn.Module, path: Path) -> None:
    """Writes a network's weights, under a temporary name until the file is complete."""
    # nnU-Net registers modules under several names; this lists every weight once
    save_weights(dict(network.named_parameters()), path, dtype=torch.float32)


def load_network(network: nn.Module, path: Path) -> None:
    """Reads weights into a network.

    Raises:
        SegmentationError: The file is missing or damaged, or a weight is missing, surplus or of another shape.
    """
    try:
        loaded = load_file(path)
    except FileNotFoundError:
        raise SegmentationError(f"{path}: no such weights; the model is not trained") from None
    except (SafetensorError, OSError) as error:
        raise SegmentationError(f"{path}: cannot be read ({first_line(error)})") from None
    wanted = dict(network.named_parameters())
    for name in sorted(wanted.keys() | loaded.keys()):
        if name not in loaded or name not in wanted or loaded[name].shape != wanted[name].shape:
            raise SegmentationError(f"{path}: not the weights of this network, {name} is missing, surplus or differs")
    with torch.no_grad():
        for name, weight in wanted.items():
            weight.copy_(loaded[name])
