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
        assert not gpu.channels_first

It follows from this what a test cannot ask: what is read back from the device is made up (0.5, 0, True), races on the
device and speed stay unknown, and `torch.compile` is to be left out. A `torch.Generator('cuda')` is taken where the
device draws, and refused where the host does, and the other way round. Threads that are started inside see the same
device; processes do not.
"""

import contextlib
import sys
import threading
import warnings
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any
from unittest import mock

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensor, unset_fake_temporarily
from torch.utils._pytree import tree_map_only

from cdm_core.testing import pretended_autograd
from cdm_core.testing.gpu_record import AttentionCall, GpuRecord, place
from cdm_core.testing.pretended_device import PretendedDevice, inside

__all__ = ["GpuRecord", "pretended_cuda"]

aten = torch.ops.aten
MEMORY_BYTES = 80 * 10**9


@contextlib.contextmanager
def pretended_cuda() -> Iterator[GpuRecord]:
    """Pretends that there is one GPU, and gives the record of what it is asked to do; see the module."""
    device = PretendedDevice()
    with contextlib.ExitStack() as stack:
        for owner, names in _patches(device):
            for name, value in names.items():
                if hasattr(owner, name):
                    stack.enter_context(mock.patch.object(owner, name, value))
        stack.enter_context(warnings.catch_warnings())
        warnings.filterwarnings("ignore", message="Accessing the data pointer of FakeTensor")  # to copy a network
        _forget_accelerators()
        stack.callback(_forget_accelerators)
        stack.enter_context(inside(device))
        try:
            yield device.record
        finally:
            device.is_open = False


def _patches(device: PretendedDevice) -> list[tuple[Any, dict[str, Any]]]:
    """Returns what of torch is replaced, by its owner."""
    return [
        (torch.cuda, _cuda(device)),
        (torch.accelerator, _accelerator(device)),
        (torch, {"Generator": _generators(device), "save": _saving(torch.save), "load": _loading(torch.load)}),
        (Tensor, _tensor_methods(device)),
        (FakeTensor, _fake_tensor(device, FakeTensor.__dict__["device"])),
        (torch.autograd, {"grad": _gradients(torch.autograd.grad)}),
        (nn.Module, {"_apply": _applying(nn.Module._apply)}),
        (nn.functional, {"scaled_dot_product_attention": _attention(device)}),
        (torch._C, {"_select_conv_backend": lambda *_, **__: torch._C._ConvBackend.Cudnn}),
        (threading.Thread, {"run": _running(device, threading.Thread.run)}),
    ]


def _cuda(device: PretendedDevice) -> dict[str, Any]:
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


def _accelerator(device: PretendedDevice) -> dict[str, Any]:
    return {
        "is_available": lambda: True,
        "device_count": lambda: 1,
        "current_accelerator": lambda check_available=False: torch.device("cuda"),
        "current_device_index": lambda: 0,
        "set_device_index": lambda _: None,
        "synchronize": lambda _=None: device.wait("synchronize"),
    }


def _generators(device: PretendedDevice) -> type[torch.Generator]:
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


def _tensor_methods(device: PretendedDevice) -> dict[str, Any]:
    backward = Tensor.backward

    def run_back(
        tensor: Tensor, gradient: Tensor | None = None, keep: Any = None, create_graph: bool = False, **more: Any
    ) -> None:
        if not isinstance(tensor, FakeTensor):
            backward(tensor, gradient, keep, create_graph, **more)
            return
        pretended_autograd.backward(tensor, gradient, create_graph=create_graph)

    return {
        "backward": run_back,
        "pin_memory": lambda tensor, _=None: device.pin(tensor),
        "is_pinned": lambda tensor, _=None: device.is_pinned(tensor),
    }


def _fake_tensor(device: PretendedDevice, place_of: property) -> dict[str, Any]:
    def locked(tensor: FakeTensor) -> torch.device:
        # while any thread runs an operation, all fake tensors call themselves 'meta'
        with device.lock:
            found: torch.device = place_of.__get__(tensor)
            return found

    def tolist(tensor: FakeTensor) -> Any:
        return tensor.cpu().tolist()  # its own reads the values one by one

    return {"device": property(locked), "tolist": tolist}


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
            if parameter is not None and changed[parameter] is not parameter:  # else an optimiser would lose it
                module._parameters[name] = nn.Parameter(changed[parameter], parameter.requires_grad)
        for name, buffer in module._buffers.items():
            module._buffers[name] = None if buffer is None else changed[buffer]
        return module

    return apply


def _attention(device: PretendedDevice) -> Callable[..., Tensor]:
    """Returns an attention that always takes the fused kernels, which torch picks by what the driver says."""
    original = nn.functional.scaled_dot_product_attention

    def attention(
        query: Tensor, key: Tensor, value: Tensor, attn_mask: Tensor | None = None, *args: Any, **options: Any
    ) -> Tensor:
        given = (query, key, value)
        if not isinstance(query, FakeTensor):
            return original(query, key, value, attn_mask, *args, **options)
        dtypes = (query.dtype, key.dtype, value.dtype)
        described = AttentionCall(place(), dtypes, query.shape[-1], masked=attn_mask is not None)
        device.record.attentions.append(described)
        if torch.is_autocast_enabled("cuda"):
            wanted = torch.get_autocast_dtype("cuda")
            given = (given[0].to(wanted), given[1].to(wanted), given[2].to(wanted))
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


def _running(
    device: PretendedDevice, original: Callable[[threading.Thread], None]
) -> Callable[[threading.Thread], None]:
    def run(thread: threading.Thread) -> None:
        with inside(device):
            original(thread)

    return run


def _forget_accelerators() -> None:
    """Lets accelerate, if it is there, look for devices anew: it does so once a process."""
    if (state := sys.modules.get("accelerate.state")) is not None:
        state.AcceleratorState._reset_state(reset_partial_state=True)
        state.GradientState._reset_state()
