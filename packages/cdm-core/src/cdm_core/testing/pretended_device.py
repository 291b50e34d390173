"""The device of `cdm_core.testing.pretended_cuda`: runs operations without values, and records what they are."""

import contextlib
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode, unset_fake_temporarily
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map

from cdm_core.testing.gpu_record import Convolution, Copy, GpuRecord, layout, place

aten = torch.ops.aten
READS = (torch.Tag.data_dependent_output, torch.Tag.dynamic_output_shape)
INDEXED = (aten.index.Tensor, aten.index_put_.default, aten.index_put.default, aten._index_put_impl_.default)
ALLOCATIONS = ("empty", "new_empty", "detach", "alias", "lift_fresh", "_unsafe_view", "record_stream", "set_")


def _made_up(dtype: torch.dtype) -> float | int | bool:
    if dtype == torch.bool:
        return True
    return 0.5 if dtype.is_floating_point else 0


MADE_UP: dict[Any, Callable[[Tensor], Any]] = {
    aten._local_scalar_dense.default: lambda value: _made_up(value.dtype),
    aten.equal.default: lambda _: True,
    aten.nonzero.default: lambda values: values.new_zeros((values.numel(), values.dim()), dtype=torch.long),
    aten.masked_select.default: lambda values: values.flatten(),
}
"""What is read back, as if all values were true."""


@dataclass(frozen=True)
class _Kind:
    """What an operation is, as far as it matters here.

    Args:
        is_composite: It is made of others.
        draws: It takes a generator.
        moves: It may copy between devices.
        reads: The host has to know values, or may have to.
        launches: It runs on the device, and is neither a view nor an allocation.
        is_pure: It changes none of its arguments, and returns new tensors.
    """

    is_composite: bool
    draws: bool
    moves: bool
    reads: bool
    launches: bool
    is_pure: bool


@cache
def _kind(func: Any) -> _Kind:
    composite = torch._C.DispatchKey.CompositeImplicitAutograd
    return _Kind(
        is_composite=func.namespace == "aten" and func.has_kernel_for_dispatch_key(composite),
        draws=any("Generator" in str(argument.type) for argument in func._schema.arguments),
        moves=func in (aten._to_copy.default, aten.copy_.default),
        reads=func in INDEXED or any(tag in func.tags for tag in READS),
        launches=not func.is_view and not func.__name__.startswith(ALLOCATIONS),
        is_pure=all(each.alias_info is None for each in (*func._schema.arguments, *func._schema.returns)),
    )


@dataclass(frozen=True)
class _Result:
    """The result of an operation: the shape, strides, type and device of each tensor.

    Args:
        kind: The type of what holds the tensors; None for a tensor alone.
        tensors: Of each.
    """

    kind: type | None
    tensors: tuple[tuple[torch.Size, tuple[int, ...], torch.dtype, torch.device], ...]

    @classmethod
    def of(cls, made: Any) -> "_Result | None":
        """Returns None where there is anything but tensors without values."""
        if not (is_one := isinstance(made, FakeTensor)) and type(made) not in (list, tuple):
            return None
        tensors = [made] if is_one else made
        if not all(isinstance(each, FakeTensor) for each in tensors):
            return None
        each = tuple((tensor.shape, tensor.stride(), tensor.dtype, tensor.fake_device) for tensor in tensors)
        return cls(None if is_one else type(made), each)

    def made_again(self, mode: FakeTensorMode) -> Any:
        made = [
            FakeTensor(mode, torch.empty_strided(shape, strides, dtype=dtype, device="meta"), device)
            for shape, strides, dtype, device in self.tensors
        ]
        return made[0] if self.kind is None else self.kind(made)


_RESULTS: dict[Any, _Result] = {}
"""By operation and arguments: torch's own memory of them takes several times as long to ask."""


def _signature(func: Any, args: Sequence[Any], kwargs: dict[str, Any]) -> Any:
    """Returns the operation with the shapes and values of its arguments; None if a tensor among them has values."""
    described: list[Any] = [func, *kwargs]
    return tuple(described) if all(_describe(each, described) for each in (*args, *kwargs.values())) else None


def _describe(value: Any, described: list[Any]) -> bool:
    if isinstance(value, FakeTensor):
        described += (value.shape, value.stride(), value.dtype, value.fake_device)
    elif isinstance(value, (list, tuple)):
        described.append(len(value))
        return all(_describe(each, described) for each in value)
    else:
        described += (type(value), value)  # 1, 1.0 and True are equal
    return not isinstance(value, Tensor) or isinstance(value, FakeTensor)


def _without_generator(value: Any) -> Any:
    return None if isinstance(value, torch._C.Generator) else value  # nothing is sampled


class _NoDriver(FakeTensorMode):
    """Tensors without values that never ask a driver, whatever torch is made to say about GPUs."""

    @property
    def avoid_device_init(self) -> bool:
        return True


class PretendedDevice:
    """The pretended device: runs operations, and keeps the record."""

    def __init__(self) -> None:
        self.record = GpuRecord()
        self.fake = _NoDriver(allow_non_fake_inputs=True)
        self.lock = threading.RLock()
        self.on_cuda: dict[int, torch.Generator] = {}  # kept: addresses would be used again
        self.pinned: dict[int, Tensor] = {}  # kept as well
        self.at_work: dict[int, str] = {}  # pinned memory that a copy reads or writes
        self.is_open = True

    def run(self, mode: TorchDispatchMode, func: Any, args: Sequence[Any], kwargs: dict[str, Any]) -> Any:
        """Runs an operation: on the host if nothing of it is on the device."""
        if func is torch.ops.prim.device.default:
            return torch.device("meta") if self.fake.in_kernel_invocation else args[0].fake_device
        kind, leaves, target = _kind(func), tree_leaves((args, kwargs)), kwargs.get("device")
        on_device = target is not None and torch.device(target).type == "cuda"
        on_device = on_device or any(isinstance(each, FakeTensor) for each in leaves)
        if kind.draws:
            self._check_generators(leaves, on_device=on_device)
        if not on_device:
            return self._on_host(func, args, kwargs)
        if kind.is_composite:
            with mode:  # in inference mode they come whole
                return func.decompose(*args, **kwargs)
        if kind.moves:
            source = args[0] if func is aten._to_copy.default else args[1]
            to = torch.device(target if target is not None else args[0].device).type
            if to != source.device.type:
                return self._copied(func, source, to, args, kwargs)
        if kind.reads:
            args = self._read(func, args)
            if func in MADE_UP:
                return MADE_UP[func](args[0])
        if func is aten.is_pinned.default or func is aten.record_stream.default:
            return False
        if func is aten.convolution.default and args[0].dim() == 4:
            image = args[0]
            self.record.convolutions.append(Convolution(place(), tuple(image.shape), image.dtype, layout(image)))
        return self._launched(func, args, kwargs)

    def _check_generators(self, leaves: Sequence[Any], *, on_device: bool) -> None:
        for each in leaves:
            if isinstance(each, torch._C.Generator) and (each._cdata in self.on_cuda) != on_device:
                wanted = "cuda" if on_device else "cpu"
                raise RuntimeError(f"expected a '{wanted}' device type for the generator, got another device's")

    def _launched(self, func: Any, args: Sequence[Any], kwargs: dict[str, Any]) -> Any:
        if func.__name__.startswith("_fused_"):  # not all of these optimisers run without values
            made = self._optimised(func, args, kwargs)
        else:
            if _kind(func).draws:
                args, kwargs = tree_map(_without_generator, (args, kwargs))
            made = self._without_values(func, args, kwargs)
        if _kind(func).launches:
            self.record.launches[func.__name__.partition(".")[0]] += 1
            for each in (made,) if isinstance(made, Tensor) else tree_leaves(made):
                if isinstance(each, Tensor):
                    self.record.written[each.dtype] += each.numel()
        return made

    def _without_values(self, func: Any, args: Sequence[Any], kwargs: dict[str, Any]) -> Any:
        """Runs an operation on tensors without values; of one that ran before, makes the like of its results."""
        key = _signature(func, args, kwargs) if _kind(func).is_pure else None
        if (known := _RESULTS.get(key)) is not None:
            with unset_fake_temporarily():
                return known.made_again(self.fake)
        with self.fake:
            made = func(*args, **kwargs)
        if key is not None and (result := _Result.of(made)) is not None:
            _RESULTS[key] = result
        return made

    def _optimised(self, func: Any, args: Sequence[Any], kwargs: dict[str, Any]) -> None:
        """Changes nothing, which has no values, after checking what an optimiser's kernel checks."""
        for each in tree_leaves((args, kwargs)):
            if isinstance(each, Tensor) and not isinstance(each, FakeTensor):
                raise RuntimeError(f"{func}: expected all tensors to be on the same device, got one on {each.device}")

    def _on_host(self, func: Any, args: Sequence[Any], kwargs: dict[str, Any]) -> Any:
        pinned = kwargs.pop("pin_memory", False)
        if self.at_work:
            self._look_for_races(func, args, kwargs)
        with unset_fake_temporarily():
            made = func(*args, **kwargs)
        return self.pin(made, copied=False) if pinned else made

    def _copied(self, func: Any, source: Tensor, to: Any, args: Sequence[Any], kwargs: dict[str, Any]) -> Any:
        """Copies between host and device."""
        asks = bool(kwargs.get("non_blocking") or (func is aten.copy_.default and len(args) > 2 and args[2]))
        if to == "cuda":
            host, pinned = source, self.is_pinned(source)
            made = self._launched(func, args, kwargs)
        else:
            with unset_fake_temporarily():
                values = torch.full((), _made_up(source.dtype), dtype=source.dtype)
                if func is aten.copy_.default:
                    made = args[0].copy_(values)
                else:
                    wanted = {"dtype": kwargs.get("dtype"), "memory_format": kwargs.get("memory_format")}
                    like = torch.empty_strided(source.shape, source.stride(), dtype=source.dtype)
                    made = torch.empty_like(like, **{k: v for k, v in wanted.items() if v is not None}).copy_(values)
            if asks and func is aten._to_copy.default:  # as torch does: the host's memory is then pinned
                self.pin(made, copied=False)
            host, pinned = made, self.is_pinned(made)
        free = asks and pinned
        self.record.copies.append(Copy(to, place(), source.numel(), pinned, not free))
        if free:
            self.at_work[host.untyped_storage()._cdata] = to
        else:
            self.record.wait("copy to the host" if to == "cpu" else "copy to the device")
            self.at_work.clear()
        return made

    def _read(self, func: Any, args: Sequence[Any]) -> Sequence[Any]:
        """Writes down what is read back for the host to go on; gives the arguments, masks turned to all positions."""
        if func in INDEXED:
            return self._indexed(func, args)
        self.wait(f"{func.__name__.partition('.')[0]} read")
        return args

    def _indexed(self, func: Any, args: Sequence[Any]) -> Sequence[Any]:
        is_filled = func is not aten.index.Tensor and args[2].numel() == 1  # by a kernel that takes the mask itself
        indices: list[Tensor | None] = []
        for index in args[1]:
            if index is not None and index.device.type == "cpu" and args[0].device.type == "cuda":
                self.record.copies.append(Copy("cuda", place(), index.numel(), pinned=False, blocking=True))
                self.wait("copy of an index to the device")
            if index is None or index.dtype not in (torch.bool, torch.uint8) or is_filled:
                indices.append(index)
                continue
            self.wait("mask read")
            indices += [torch.zeros(index.numel(), dtype=torch.long, device="cuda") for _ in index.shape]
        return (args[0], indices, *args[2:])

    def wait(self, reason: str) -> None:
        """Writes down that the host waits; all copies are done then."""
        self.record.wait(reason)
        self.at_work.clear()

    def pin(self, tensor: Tensor, *, copied: bool = True) -> Tensor:
        """Returns a tensor of the host in pinned memory."""
        if self.is_pinned(tensor):
            return tensor
        if copied:
            tensor = tensor.clone()
        self.pinned[tensor.untyped_storage()._cdata] = tensor
        return tensor

    def is_pinned(self, tensor: Tensor) -> bool:
        """Tells whether a tensor is in pinned memory."""
        return not isinstance(tensor, FakeTensor) and tensor.untyped_storage()._cdata in self.pinned

    def _look_for_races(self, func: Any, args: Sequence[Any], kwargs: dict[str, Any]) -> None:
        for number, argument in enumerate(func._schema.arguments):
            value = kwargs.get(argument.name) if number >= len(args) else args[number]
            writes = argument.alias_info is not None and argument.alias_info.is_write
            for each in tree_leaves(value):
                if isinstance(each, Tensor) and each.device.type == "cpu":
                    copy = self.at_work.get(each.untyped_storage()._cdata)
                    if not func.is_view and (copy == "cpu" or (copy == "cuda" and writes)):
                        kind = "overwrites what is copied to the device" if copy == "cuda" else "reads what is copied"
                        self.record.races[f"the host {kind} at {place()}"] += 1


class _Mode(TorchDispatchMode):
    """Hands the operations of one thread to the device."""

    def __init__(self, device: PretendedDevice) -> None:
        super().__init__()
        self.device = device

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if not self.device.is_open:
            return func(*args, **(kwargs or {}))
        with self.device.lock:
            return self.device.run(self, func, args, dict(kwargs or {}))


@contextlib.contextmanager
def inside(device: PretendedDevice) -> Iterator[None]:
    """Lets this thread see the device."""
    mode = _Mode(device)
    with device.lock:
        device.fake.__enter__()
        mode.__enter__()
    try:
        yield
    finally:
        with device.lock:
            mode.__exit__(None, None, None)
            device.fake.__exit__(None, None, None)
