"""Estimates of the device memory that a stage takes in training and in sampling; nothing is allocated.

The stage's own network and loss run forward and backward on PyTorch's fake tensors, which have shapes and types but
neither values nor memory: a network of a billion weights takes seconds on a laptop. Counted are all tensors that
PyTorch makes. What a device takes besides is a few per cent: its driver, the scratch memory of convolutions, gaps
between tensors. A compiled network keeps less than this. A teacher, and the discriminator of finishing, are left out.
"""

import contextlib
import copy
import weakref
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.autograd.graph import saved_tensors_hooks
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from cdm_core.config import StageConfig, TrainingConfig
from cdm_core.stages.build import build_unet
from cdm_core.stages.denoiser import Conditions, Denoiser
from cdm_core.stages.inference import Precision, prepare_for_sampling
from cdm_core.training.losses import ON_HOST, chunk_loss
from cdm_core.training.prepared_examples import Batch, PreparedExamples
from cdm_core.training.setup import make_trainable

MOST_IMAGES = 64
"""Up to which chunk `StageMemory.largest_chunk` looks."""
PRIMES = (11, 13, 17, 19, 23, 29, 31, 37)


@dataclass(frozen=True)
class TrainingMemory:
    """Bytes that a training step takes.

    Args:
        chunk: Images on the device at once.
        weights: Of the network.
        gradients: Of the weights that are trained.
        moments: AdamW's two, and its count of steps, for each weight that is trained.
        average: The running mean of the weights.
        kept: What the forward of a chunk keeps for the backward: activations, and weights in bfloat16.
        peak: The most that there is at once, states included.
    """

    chunk: int
    weights: int
    gradients: int
    moments: int
    average: int
    kept: int
    peak: int

    @property
    def states(self) -> int:
        """Weights, gradients, moments and running mean."""
        return self.weights + self.gradients + self.moments + self.average


@dataclass(frozen=True)
class SamplingMemory:
    """Bytes that sampling takes.

    Args:
        weights: Of the network, after `prepare_for_sampling`.
        image: The most that there is at once besides, for each image of a batch.
    """

    weights: int
    image: int


class StageMemory:
    """Estimates the memory of a stage.

    Args:
        config: The stage.
        training: How it is trained; in one process. With precision 'auto' it is estimated in bf16, as on a GPU.

    Raises:
        ConfigError: As of `build_unet`.
    """

    def __init__(self, config: StageConfig, training: TrainingConfig) -> None:
        self.config, self.training = config, training
        with torch.device("meta"):
            self._unet = build_unet(config)
        make_trainable(self._unet, config)
        self._weights = _bytes(self._unet.parameters()) + _bytes(self._unet.buffers())
        trained = [weight for weight in self._unet.parameters() if weight.requires_grad]
        self._gradients, self._moments = _bytes(trained), 2 * _bytes(trained) + 4 * len(trained)

    @property
    def parameters(self) -> int:
        """Number of weights."""
        return sum(weight.numel() for weight in self._unet.parameters())

    def training_memory(self, chunk: int | None = None) -> TrainingMemory:
        """Returns what a step takes.

        Args:
            chunk: Images on the device at once; by default as many as `training` says, which is all of them for 'auto'.
                Fewer than the batch leave gradients on the device from chunk to chunk, which raises the peak. More are
                taken to be the whole batch.

        Raises:
            ValueError: The chunk is under 1.
        """
        size, batch = self.training.chunk_size, self.training.batch_size
        images = (min(size, batch) if isinstance(size, int) else batch) if chunk is None else chunk
        if images < 1:
            raise ValueError(f"a chunk has at least 1 image, got {images}")
        states = 2 * self._weights + self._gradients + self._moments
        if images < batch:
            peak = states + self._step.most(images, besides_gradients=True)
        else:
            peak = max(states, states - self._gradients + self._step.most(images))
        return TrainingMemory(
            chunk=images,
            weights=self._weights,
            gradients=self._gradients,
            moments=self._moments,
            average=self._weights,
            kept=self._step.kept(images),
            peak=peak,
        )

    def largest_chunk(self, limit: int) -> int:
        """Returns the largest power of two of images, up to `MOST_IMAGES`, that fit on a device at once in training.

        Args:
            limit: Bytes of the device.

        Returns:
            The number; 0 if a single image does not fit.
        """
        fitting, images = 0, 1
        while images <= MOST_IMAGES and self.training_memory(images).peak <= limit:
            fitting, images = images, 2 * images
        return fitting

    def sampling_memory(self, *, precision: Precision = "bf16", images: int = 4) -> SamplingMemory:
        """Returns what sampling takes.

        Args:
            precision: Of the weights.
            images: Size of the batch.
        """
        config = self.config
        with torch.device("meta"):
            unet = build_unet(config)
        prepare_for_sampling(unet, precision=precision)
        with FakeTensorMode(), torch.no_grad():
            _make_fake(unet)
            with _Ledger(unet) as ledger:
                count = ledger.images
                x0 = Denoiser(unet, config, _conditions(config, count))(
                    torch.empty(count, *config.sample_shape), torch.empty(count)
                )
                config.unet.decode(unet, x0)
        return SamplingMemory(_bytes(unet.parameters()) + _bytes(unet.buffers()), -(-ledger.most(images) // images))

    @cached_property
    def _step(self) -> "_Ledger":
        """The loss of a chunk, run forward and backward."""
        example = PreparedExamples(self.config, self.training, _BlankExamples(self.config))[0]
        count = _Ledger(self._unet).images
        on_host = {name: torch.stack([example[name]] * count) for name in ON_HOST if name in example}
        unet = copy.deepcopy(self._unet)
        with FakeTensorMode(allow_non_fake_inputs=True):
            _make_fake(unet)
            with _Ledger(unet) as ledger:
                batch: Batch = {
                    name: torch.empty((count, *value.shape), dtype=value.dtype)
                    for name, value in example.items()
                    if name not in on_host
                }
                with ledger.keeping():
                    loss = chunk_loss(
                        unet,
                        self.config,
                        batch | on_host,
                        torch.Generator(),
                        weight=self.training.loss_weight,
                        precision="fp32" if self.training.precision == "fp32" else "bf16",
                    )
                (loss / count).backward()  # type: ignore[no-untyped-call]
        return ledger


class _Ledger(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Takes down each storage that is made within the block, and when it is let go of.

    The batch has a prime number of images that divides no weight's size. So a storage whose size it divides grows with
    the batch, no other does, and one run tells the bytes at every size of a batch.

    Args:
        unet: The network, whose weights are not counted.

    Attributes:
        images: Images of the batch.
    """

    def __init__(self, unet: nn.Module) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        tensors = [*unet.parameters(), *unet.buffers()]
        sizes = {each.nbytes for each in tensors} - {0}
        self.images = next((prime for prime in PRIMES if all(size % prime for size in sizes)), PRIMES[-1])
        self._unet = unet
        self._weights = {each.untyped_storage()._cdata for each in tensors}
        self._alive: dict[int, weakref.ref[torch.UntypedStorage]] = {}
        self._kept: dict[int, int] = {}
        self._changes, self._gradients = [0], [0]

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        made = func(*args, **(kwargs or {}))
        for each in tree_leaves(made):
            if isinstance(each, Tensor):
                self._take_down(each.untyped_storage())
        return made

    def __enter__(self) -> Self:
        self._hooks = [
            weight.register_post_accumulate_grad_hook(self._complete)  # type: ignore[no-untyped-call]
            for weight in self._unet.parameters()
            if weight.requires_grad
        ]
        super().__enter__()  # type: ignore[no-untyped-call]
        return self

    def __exit__(self, *raised: Any) -> None:
        super().__exit__(*raised)  # type: ignore[no-untyped-call]
        for hook in self._hooks:
            hook.remove()

    @contextlib.contextmanager
    def keeping(self) -> Iterator[None]:
        """Takes down what a forward within the block keeps for its backward."""

        def keep(tensor: Tensor) -> Tensor:
            storage = tensor.untyped_storage()
            if storage._cdata not in self._weights:
                self._kept[storage._cdata] = storage.nbytes()
            return tensor

        with saved_tensors_hooks(keep, lambda tensor: tensor):
            yield

    def kept(self, images: int) -> int:
        """The bytes that a forward of so many images keeps."""
        fixed, of_image = self._split(np.array(list(self._kept.values())))
        return int(fixed.sum() + images * of_image.sum())

    def most(self, images: int, *, besides_gradients: bool = False) -> int:
        """The most bytes that there are at once with so many images, also without gradients that are complete."""
        fixed, of_image = self._split(np.array(self._changes))
        alive = np.cumsum(fixed + images * of_image)
        return int((alive - np.cumsum(self._gradients) if besides_gradients else alive).max())

    def _split(self, sizes: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Sizes as they are where they are the same for every batch, and those that grow with it for one image."""
        grows = sizes % self.images == 0
        return np.where(grows, 0, sizes), np.where(grows, sizes // self.images, 0)

    def _complete(self, weight: Tensor) -> None:
        if weight.grad is not None:
            self._gradients[-1] += weight.grad.nbytes

    def _take_down(self, storage: torch.UntypedStorage) -> None:
        key, size = storage._cdata, storage.nbytes()
        if key in self._weights or key in self._alive:
            return

        def let_go(_: object) -> None:
            del self._alive[key]
            self._change(-size)

        self._alive[key] = weakref.ref(storage, let_go)
        self._change(size)

    def _change(self, size: int) -> None:
        self._changes.append(size)
        self._gradients.append(0)


def _make_fake(unet: nn.Module) -> None:
    """Gives a network on the meta device fake weights on the CPU, in place; within a `FakeTensorMode`."""

    def fake(tensor: Tensor) -> Tensor:
        return torch.empty_strided(tensor.shape, tensor.stride(), dtype=tensor.dtype)

    for module in unet.modules():
        for name, weight in module._parameters.items():
            if weight is not None:
                module._parameters[name] = nn.Parameter(fake(weight), weight.requires_grad)
        for name, buffer in module._buffers.items():
            module._buffers[name] = None if buffer is None else fake(buffer)


class _BlankExamples:
    """Black images, masks and contexts, as the stage takes them."""

    def __init__(self, config: StageConfig) -> None:
        self.config = config

    def __getitem__(self, draw: int) -> dict[str, Tensor]:
        side, unet = self.config.image_px, self.config.unet
        example = {"image": torch.zeros(3, side, side)}
        if unet.cond_images_channels:
            example["cond_images"] = torch.zeros(unet.cond_images_channels, side, side)
        if unet.text_embed_dim is not None:
            example["embedding"] = torch.zeros(unet.text_embed_dim)
        return example


def _conditions(config: StageConfig, images: int) -> Conditions:
    """Conditions of a batch that is sampled, without values."""
    side, unet = config.image_px, config.unet
    channels, width = unet.cond_images_channels, unet.text_embed_dim
    return Conditions(
        cond_images=torch.empty(images, channels, side, side) if channels else None,
        lowres=None if config.lowres_px is None else torch.empty(images, 3, side, side),
        lowres_log_snr=None if config.lowres_px is None else torch.empty(images),
        embedding=None if width is None else torch.empty(images, width),
        embedding_given=None if width is None else torch.ones(images, dtype=torch.bool),
    )


def _bytes(tensors: Iterable[Tensor]) -> int:
    return sum(tensor.nbytes for tensor in tensors)
