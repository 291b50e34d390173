"""Weights of networks: fresh ones from a seed, and those of files, which are taken strictly."""

import contextlib
from collections.abc import Iterator, Mapping

import torch
from torch import Tensor, nn

from cdm_core.errors import CheckpointError
from cdm_core.networks.family import family_of_tensors, require_family

WRAPPERS = ("_orig_mod", "module")
"""The names that `torch.compile` and data-parallel wrappers give the network inside them."""


def fill_unet(unet: nn.Module, tensors: Mapping[str, Tensor], source: str) -> None:
    """Copies weights into a network, strictly.

    Args:
        unet: The network.
        tensors: By their names in the network.
        source: The file they were read from, for error messages.

    Raises:
        CheckpointError: As of `check_tensors`, or a value is not finite.
    """
    tensors = check_tensors(unet, tensors, source)
    check_weights_finite(tensors, source)
    unet.load_state_dict(tensors)


def check_tensors(unet: nn.Module, tensors: Mapping[str, Tensor], source: str) -> dict[str, Tensor]:
    """Checks that weights are a network's, by names and shapes.

    Args:
        unet: The network, which may be on the meta device.
        tensors: By their names in the network; names of a compiled or data-parallel network will do.
        source: The file they were read from, for error messages.

    Returns:
        The tensors by their plain names.

    Raises:
        CheckpointError: A tensor is missing, surplus or of another shape, or they are of another version's networks.
    """
    plain = plain_tensors(tensors, source)
    if (family := family_of_tensors(plain)) is not None:
        require_family(family, source)
    prefixes = {part for name in tensors for part in name.split(".") if part in WRAPPERS}
    advice = "the weights are of another network"
    if prefixes:
        advice += f", also without the '{'.'.join(sorted(prefixes))}.' of a compiled or data-parallel one"
    wanted = unet.state_dict()
    for name in sorted(wanted.keys() | plain.keys()):
        if name not in plain:
            raise CheckpointError(f"{source}: tensor {name!r} is missing; {advice}")
        if name not in wanted:
            raise CheckpointError(f"{source}: tensor {name!r} is not the network's; {advice}")
        if wanted[name].shape != plain[name].shape:
            shapes = f"{tuple(plain[name].shape)}, the network has {tuple(wanted[name].shape)}"
            raise CheckpointError(f"{source}: tensor {name!r} is {shapes}; {advice}")
    return plain


def plain_name(name: str) -> str:
    """Returns a tensor's name without what `torch.compile` and data-parallel wrappers put into it."""
    return ".".join(part for part in name.split(".") if part not in WRAPPERS)


def plain_tensors(tensors: Mapping[str, Tensor], source: str) -> dict[str, Tensor]:
    """Returns tensors by their plain names.

    Raises:
        CheckpointError: Two have the same one.
    """
    plain = {plain_name(name): value for name, value in tensors.items()}
    if len(plain) != len(tensors):
        raise CheckpointError(f"{source}: has tensors both with and without {' or '.join(WRAPPERS)} in their names")
    return plain


def check_weights_finite(tensors: Mapping[str, Tensor], source: str) -> None:
    """Checks that the floating-point numbers of weights are finite.

    Raises:
        CheckpointError: A value is not; the message names the tensor.
    """
    for name, value in tensors.items():
        if value.is_floating_point() and not torch.isfinite(value.float()).all():
            kind = str(value.dtype).removeprefix("torch.")
            raise CheckpointError(f"{source}: tensor {name!r} has values that are not finite in {kind}")


@contextlib.contextmanager
def seeded_weights(seed: int) -> Iterator[None]:
    """Seeds the CPU's global generator, which fresh weights come from, within the block; after it, it is as before.

    `torch.manual_seed` would also seed the generators of GPUs, and leave them so.
    """
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        yield
