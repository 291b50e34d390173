"""A CUDA device that is not there, to test what code for a GPU does on a machine without one.

Inside `pretended_cuda()` torch says that there is a GPU. Tensors on the CPU are real and are computed with; tensors on
'cuda' have shape, type, layout and device only. So code for a GPU runs as it is, at any size, and

- whatever mixes devices raises the error that a GPU would give;
- whatever the host would wait for is written down with its line: values read back, copies that block (all but those
  from or to pinned memory with `non_blocking`), `synchronize`;
- launches, the types that attention is handed, and the memory formats of convolutions are written down as well.

A fixture for a test file, and a test:

    @pytest.fixture
    def gpu() -> Iterator[GpuRecord]:
        with pretended_cuda() as record:
            yield record

    def test_sampling_waits_for_nothing(gpu: GpuRecord) -> None:
        unet = build_unet(stage).to("cuda")
        gpu.clear()  # the copies of the weights
        sample_stage(unet, stage, generators=[torch.Generator().manual_seed(0)])
        assert not gpu.waits
        assert not gpu.laid_out_anew

It follows from this what a test cannot ask: what is read back from the device is made up (0.5, 0, True), races on the
device and speed stay unknown, and `torch.compile` is to be left out. A `torch.Generator('cuda')` is taken where the
device draws, and refused where the host does, and the other way round. Threads that are started inside see the same
device; processes do not.
"""

import contextlib
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from types import SimpleNamespace
from typing import Any
from unittest import mock

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode, unset_fake_temporarily
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map_only

from cdm_core.testing import pretended_autograd
from cdm_core.testing.gpu_record import Attention, Convolution, Copy, GpuRecord, layout, place

__all__ = ["GpuRecord", "pretended_cuda"]

aten = torch.ops.aten
MEMORY_BYTES = 80 * 10**9
READS = (torch.Tag.data_dependent_output, torch.Tag.dynamic_output_shape)
INDEXED = (aten.index.Tensor, aten.index_put_.default, aten.index_put.default, aten._index_put_impl_.default)
ALLOCATIONS = ("empty", "new_empty", "detach", "alias", "lift_fresh", "_unsafe_view", "record_stream", "set_")


class _NoDriver(FakeTensorMode):
    """Tensors without values that never ask a driver, whatever torch is made to say about GPUs."""

    @property
    def avoid_device_init(self) -> bool:
        return True


class _Device:
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
        leaves = tree_leaves((args, kwargs))
        target = kwargs.get("device")
        on_device = target is not None and torch.device(target).type == "cuda"
        on_device = on_device or any(isinstance(each, FakeTensor) for each in leaves)
        for each in leaves:
            if isinstance(each, torch._C.Generator) and (each._cdata in self.on_cuda) != on_device:
                kind = "cuda" if on_device else "cpu"
                raise RuntimeError(f"expected a '{kind}' device type for the generator of {func}, got another device's")
        if not on_device:
            return self._on_host(func, args, kwargs)
        if func.namespace != "aten":
            return self._launched(func, args, kwargs)
        if func.has_kernel_for_dispatch_key(torch._C.DispatchKey.CompositeImplicitAutograd):
            with mode:  # in inference mode they come whole
                return func.decompose(*args, **kwargs)
        args, kwargs = tree_map_only(torch._C.Generator, lambda _: None, (args, kwargs))
        if func in (aten._to_copy.default, aten.copy_.default):
            source = args[0] if func is aten._to_copy.default else args[1]
            to = torch.device(target if target is not None else args[0].device).type
            if to != source.device.type:
                return self._copied(func, source, to, args, kwargs)
        if func is aten.is_pinned.default or func is aten.record_stream.default:
            return False
        args = self._read(func, args)
        if func is aten._local_scalar_dense.default or func is aten.equal.default:
            return True if func is aten.equal.default else _made_up(args[0].dtype)
        if func is aten.nonzero.default or func is aten.masked_select.default:  # as if all were true
            whole = args[0].flatten()
            return whole if func is aten.masked_select.default else whole.new_zeros((len(whole), args[0].dim())).long()
        if func is aten.convolution.default and args[0].dim() == 4:
            weight, image = args[1], args[0]
            described = (place(), tuple(image.shape), image.dtype, layout(weight), layout(image))
            self.record.convolutions.append(Convolution(*described))
        return self._launched(func, args, kwargs)

    def _launched(self, func: Any, args: Sequence[Any], kwargs: dict[str, Any]) -> Any:
        args, kwargs = tree_map_only(Tensor, self._faked, (args, kwargs))
        with self.fake:
            made = func(*args, **kwargs)
        name = func.__name__.partition(".")[0]
        if not func.is_view and not name.startswith(ALLOCATIONS):
            self.record.launches[name] += 1
            for each in tree_leaves(made):
                if isinstance(each, Tensor):
                    self.record.written[each.dtype] += each.numel()
        return made

    def _faked(self, tensor: Tensor) -> Tensor:
        return tensor if isinstance(tensor, FakeTensor) else self.fake.from_tensor(tensor)

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
            values = torch.full((), _made_up(source.dtype), dtype=source.dtype)
            with unset_fake_temporarily():
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
        if any(tag in func.tags for tag in READS):
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

    def __init__(self, device: _Device) -> None:
        super().__init__()
        self.device = device

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if not self.device.is_open:
            return func(*args, **(kwargs or {}))
        with self.device.lock:
            return self.device.run(self, func, args, dict(kwargs or {}))


@contextlib.contextmanager
def pretended_cuda() -> Iterator[GpuRecord]:
    """Pretends that there is one GPU, and gives the record of what it is asked to do; see the module."""
    device = _Device()
    with contextlib.ExitStack() as stack:
        for owner, names in _patches(device):
            for name, value in names.items():
                if hasattr(owner, name):
                    stack.enter_context(mock.patch.object(owner, name, value))
        _forget_accelerators()
        stack.callback(_forget_accelerators)
        stack.enter_context(_inside(device))
        try:
            yield device.record
        finally:
            device.is_open = False


@contextlib.contextmanager
def _inside(device: _Device) -> Iterator[None]:
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


def _patches(device: _Device) -> list[tuple[Any, dict[str, Any]]]:
    """Returns what of torch is replaced, by its owner."""
    return [
        (torch.cuda, _cuda(device)),
        (torch.accelerator, _accelerator(device)),
        (torch, {"Generator": _generators(device), "save": _saving(torch.save), "load": _loading(torch.load)}),
        (Tensor, _tensor_methods(device)),
        (FakeTensor, {"tolist": lambda tensor: tensor.cpu().tolist()}),  # its own reads the values one by one
        (torch.autograd, {"grad": _gradients(torch.autograd.grad)}),
        (nn.Module, {"_apply": _applying(nn.Module._apply)}),
        (nn.functional, {"scaled_dot_product_attention": _attention(device)}),
        (torch._C, {"_select_conv_backend": lambda *_, **__: torch._C._ConvBackend.Cudnn}),
        (threading.Thread, {"run": _running(device, threading.Thread.run)}),
    ]


def _cuda(device: _Device) -> dict[str, Any]:
    def nothing(*_: Any, **__: Any) -> None:
        """Does nothing."""

    def seeded(*_: Any) -> None:
        device.record.seedings[place()] += 1

    class Event:
        """An event that has always happened."""

        def __init__(self, *_: Any, **__: Any) -> None: ...

        def query(self) -> bool:
            device.at_work.clear()
            return True

        def synchronize(self) -> None:
            device.wait("synchronize")

        def elapsed_time(self, _: "Event") -> float:
            return 1.0

        record = wait = nothing

    class Stream(Event):
        """The one stream."""

        def record_event(self, event: Event | None = None) -> Event:
            return event or Event()

        wait_stream = wait_event = nothing

    properties = SimpleNamespace(
        name="a pretended GPU", total_memory=MEMORY_BYTES, multi_processor_count=132, major=9, minor=0
    )
    return {
        "Event": Event,
        "Stream": Stream,
        "stream": lambda _: contextlib.nullcontext(),
        **dict.fromkeys(("current_stream", "default_stream"), lambda *_: Stream()),
        **dict.fromkeys(("is_available", "is_initialized"), lambda: True),
        "is_bf16_supported": lambda including_emulation=True: True,
        "is_current_stream_capturing": lambda: False,
        "device_count": lambda: 1,
        "current_device": lambda: 0,
        "get_device_name": lambda _=None: properties.name,
        "get_device_properties": lambda _=None: properties,
        "get_device_capability": lambda _=None: (9, 0),
        "mem_get_info": lambda _=None: (MEMORY_BYTES, MEMORY_BYTES),
        **dict.fromkeys(("memory_allocated", "memory_reserved"), lambda _=None: 0),
        **dict.fromkeys(("max_memory_allocated", "max_memory_reserved"), lambda _=None: 0),
        **dict.fromkeys(("empty_cache", "ipc_collect", "set_device", "_lazy_init", "set_rng_state"), nothing),
        "reset_peak_memory_stats": nothing,
        "get_rng_state": lambda _=None: torch.zeros(16, dtype=torch.uint8),
        **dict.fromkeys(("manual_seed", "manual_seed_all", "seed", "seed_all"), seeded),
        "synchronize": lambda _=None: device.wait("synchronize"),
        **dict.fromkeys(("_exchange_device", "_maybe_exchange_device"), lambda _: 0),
    }


def _accelerator(device: _Device) -> dict[str, Any]:
    return {
        "is_available": lambda: True,
        "device_count": lambda: 1,
        "current_accelerator": lambda check_available=False: torch.device("cuda"),
        "current_device_index": lambda: 0,
        "set_device_index": lambda _: None,
        "synchronize": lambda _=None: device.wait("synchronize"),
    }


def _generators(device: _Device) -> type[torch.Generator]:
    class Generator(torch.Generator):
        """A generator that tells the device that it was made for."""

        _device: torch.device

        def __new__(cls, device_of: Any = "cpu", *, device: Any = None) -> "Generator":
            wanted = torch.device(device_of if device is None else device)
            made = super().__new__(cls, "cpu")
            made._device = torch.device("cuda", 0) if wanted.type == "cuda" else wanted
            if wanted.type == "cuda":
                on_cuda[made._cdata] = made
            return made

        @property
        def device(self) -> torch.device:  # type: ignore[override]
            return self._device

    on_cuda = device.on_cuda
    return Generator


def _tensor_methods(device: _Device) -> dict[str, Any]:
    backward = Tensor.backward

    def run_back(
        tensor: Tensor, gradient: Tensor | None = None, keep: Any = None, create_graph: bool = False, **more: Any
    ) -> None:
        if not isinstance(tensor, FakeTensor):
            backward(tensor, gradient, keep, create_graph, **more)  # type: ignore[no-untyped-call]
            return
        pretended_autograd.backward(tensor, gradient, create_graph=create_graph)

    return {
        "backward": run_back,
        "pin_memory": lambda tensor, _=None: device.pin(tensor),
        "is_pinned": lambda tensor, _=None: device.is_pinned(tensor),
    }


def _gradients(original: Callable[..., Any]) -> Callable[..., Any]:
    def gradients(outputs: Any, inputs: Any, grad_outputs: Any = None, *args: Any, **options: Any) -> Any:
        ends = [outputs] if isinstance(outputs, Tensor) else list(outputs)
        if not any(isinstance(each, FakeTensor) for each in ends):
            return original(outputs, inputs, grad_outputs, *args, **options)
        given = [grad_outputs] if isinstance(grad_outputs, Tensor) else list(grad_outputs or [None] * len(ends))
        starts = [inputs] if isinstance(inputs, Tensor) else list(inputs)
        return pretended_autograd.grad(ends, starts, given, create_graph=bool(options.get("create_graph")))

    return gradients


def _applying(original: Callable[..., nn.Module]) -> Callable[..., nn.Module]:
    """Returns a `Module._apply` that replaces tensors without values, which cannot be changed in place."""

    def apply(module: nn.Module, function: Callable[[Tensor], Tensor], recurse: bool = True) -> nn.Module:
        for child in module.children() if recurse else ():
            child._apply(function)
        own = [each for each in (*module._parameters.values(), *module._buffers.values()) if each is not None]
        with torch.no_grad():
            changed = {each: function(each) for each in own}
        if not any(isinstance(each, FakeTensor) for each in changed.values()):
            return original(module, function, recurse=False)
        for name, parameter in module._parameters.items():
            if parameter is not None:
                module._parameters[name] = nn.Parameter(changed[parameter], parameter.requires_grad)
        for name, buffer in module._buffers.items():
            module._buffers[name] = None if buffer is None else changed[buffer]
        return module

    return apply


def _attention(device: _Device) -> Callable[..., Tensor]:
    """Returns an attention that always takes the fused kernels, which torch picks by what the driver says."""
    original = nn.functional.scaled_dot_product_attention

    def attention(
        query: Tensor, key: Tensor, value: Tensor, attn_mask: Tensor | None = None, *args: Any, **options: Any
    ) -> Tensor:
        given = (query, key, value)
        if not isinstance(query, FakeTensor):
            return original(query, key, value, attn_mask, *args, **options)
        dtypes = (query.dtype, key.dtype, value.dtype)
        described = Attention(place(), dtypes, query.shape[-1], masked=attn_mask is not None)
        device.record.attentions.append(described)
        if torch.is_autocast_enabled("cuda"):
            given = tuple(each.to(torch.get_autocast_dtype("cuda")) for each in given)
        if len({each.dtype for each in given}) > 1:
            raise RuntimeError(f"expected query, key and value to have the same dtype, got {dtypes}")
        scale = options.get("scale")
        if given[0].dtype == torch.float32 or attn_mask is not None:
            made = aten._scaled_dot_product_efficient_attention(*given, attn_mask, query.requires_grad, scale=scale)
        else:
            made = aten._scaled_dot_product_flash_attention(*given, scale=scale)
        attended: Tensor = made[0]
        return attended

    return attention


def _saving(original: Callable[..., None]) -> Callable[..., None]:
    def on_host(tensor: Tensor) -> Tensor:
        return tensor.detach().cpu() if isinstance(tensor, FakeTensor) else tensor

    def save(values: Any, *args: Any, **options: Any) -> None:
        values = tree_map_only(Tensor, on_host, values)
        with unset_fake_temporarily():
            original(values, *args, **options)

    return save


def _loading(original: Callable[..., Any]) -> Callable[..., Any]:
    def load(file: Any, map_location: Any = None, *args: Any, **options: Any) -> Any:
        moves = map_location is not None and torch.device(map_location).type == "cuda"
        with unset_fake_temporarily():
            values = original(file, "cpu" if moves else map_location, *args, **options)
        return tree_map_only(Tensor, lambda tensor: tensor.to("cuda"), values) if moves else values

    return load


def _running(device: _Device, original: Callable[[threading.Thread], None]) -> Callable[[threading.Thread], None]:
    def run(thread: threading.Thread) -> None:
        with _inside(device):
            original(thread)

    return run


def _made_up(dtype: torch.dtype) -> float | int | bool:
    if dtype == torch.bool:
        return True
    return 0.5 if dtype.is_floating_point else 0


def _forget_accelerators() -> None:
    """Lets accelerate, if it is there, look for devices anew: it does so once a process."""
    if (state := sys.modules.get("accelerate.state")) is not None:
        state.AcceleratorState._reset_state(reset_partial_state=True)
        state.GradientState._reset_state()
