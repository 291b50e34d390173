"""The library's blocks with fewer passes over memory: the same parameters under the same names, the same numbers.

Besides its convolutions, a U-Net spends its time on memory traffic between them: norms, scales, activations,
attention matrices. The classes here do that work in fewer and, in sampling, in place.
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cdm_core.networks.imagen_offline import imagen_module

UNSHUFFLE = "b c (h s1) (w s2) -> b (c s1 s2) h w"
"""How the library rearranges pixels before the convolution of a downsampling."""


def fuse(unet: nn.Module) -> nn.Module:
    """Gives the blocks of a U-Net of imagen-pytorch, of any family, their faster forward; returns the U-Net.

    Only the classes of its modules change. Its results stay the same but for rounding, and so do its gradients,
    its parameters and their names.
    """
    library = imagen_module()
    faster: dict[type[nn.Module], type[nn.Module]] = {
        library.LayerNorm: LayerNorm,
        library.Attention: Attention,
        library.CrossAttention: CrossAttention,
        library.Block: Block,
        library.ResnetBlock: ResnetBlock,
        nn.PixelShuffle: PixelShuffle,
    }
    for module in unet.modules():
        if type(module) in faster:
            module.__class__ = faster[type(module)]
        elif type(module) is nn.Sequential and getattr(next(module.children(), None), "pattern", None) == UNSHUFFLE:
            module.__class__ = Downsample
    return unet


class LayerNorm(nn.Module):
    """The library's layer norm, (..., D), whose epsilon depends on the precision."""

    g: nn.Parameter
    stable: bool
    dim: int

    def forward(self, x: Tensor) -> Tensor:
        """Normalises over the last dimension."""
        if self.stable or self.dim != -1:
            return _library("LayerNorm", self, x)
        eps = 1e-5 if x.dtype == torch.float32 else 1e-3
        with torch.autocast(x.device.type, enabled=False):  # it would turn the whole of x into float32 and leave it so
            return F.layer_norm(x, x.shape[-1:], self.g.to(x.dtype), eps=eps)


class Attention(nn.Module):
    """The library's self-attention: many heads of queries, one of keys and values."""

    heads: int
    scale: float
    null_kv: nn.Parameter
    norm: nn.Module
    to_q: nn.Module
    to_kv: nn.Module
    to_context: nn.Module
    to_out: nn.Module

    def forward(
        self, x: Tensor, context: Tensor | None = None, mask: Tensor | None = None, attn_bias: Tensor | None = None
    ) -> Tensor:
        """Attends from x, (B, N, D), to itself and to the context, (B, M, C), if there is one; (B, N, D)."""
        if mask is not None or attn_bias is not None or _is_cosine(self):  # nothing of a U-Net's
            return _library("Attention", self, x, context, mask, attn_bias)
        batch, count, _ = x.shape
        x = self.norm(x)
        # All heads have the same keys: their queries lie in one row, without moving anything.
        q = self.to_q(x).reshape(batch, 1, count * self.heads, -1)
        kv = self.to_kv(x)
        kv = torch.cat((self.null_kv.to(kv.dtype).reshape(1, 1, -1).expand(batch, -1, -1), kv), dim=1)
        if context is not None:
            kv = torch.cat((self.to_context(context), kv), dim=1)
        k, v = kv[:, None].chunk(2, dim=-1)
        q, k = _normalised(self, q, k)
        out = F.scaled_dot_product_attention(q, k, v, scale=self.scale)
        attended: Tensor = self.to_out(out.reshape(batch, count, -1))
        return attended


class CrossAttention(nn.Module):
    """The library's attention to condition tokens, with keys and values for each head."""

    heads: int
    scale: float
    null_kv: nn.Parameter
    norm: nn.Module
    norm_context: nn.Module
    to_q: nn.Module
    to_kv: nn.Module
    to_out: nn.Module

    def forward(self, x: Tensor, context: Tensor, mask: Tensor | None = None) -> Tensor:
        """Attends from x, (B, N, D), to the context, (B, M, C); (B, N, D)."""
        if mask is not None or _is_cosine(self):
            return _library("CrossAttention", self, x, context, mask)
        q = self.to_q(self.norm(x)).unflatten(-1, (self.heads, -1))
        kv = self.to_kv(self.norm_context(context)).unflatten(-1, (2, self.heads, -1))
        null = self.null_kv.to(kv.dtype)[None, None, :, None].expand(len(x), 1, -1, self.heads, -1)
        k, v = torch.cat((null, kv), dim=1).unbind(dim=2)
        q, k = _normalised(self, q, k)
        out = F.scaled_dot_product_attention(q.transpose(1, 2), k.transpose(1, 2), v.transpose(1, 2), scale=self.scale)
        attended: Tensor = self.to_out(out.transpose(1, 2).flatten(2))
        return attended


class Block(nn.Module):
    """Norm, scale and shift, activation, convolution."""

    project: nn.Module

    def forward(self, x: Tensor, scale_shift: tuple[Tensor, Tensor] | None = None) -> Tensor:
        """Turns (B, C, H, W) into (B, D, H, W); scale and shift are (B, C, 1, 1)."""
        rms: Any = getattr(self, "norm", None)
        if not hasattr(rms, "gamma"):  # the older families' group norm
            return _library("Block", self, x, scale_shift)
        norm = torch.linalg.vector_norm(x, dim=1, keepdim=True, dtype=torch.promote_types(x.dtype, torch.float32))
        inverse = norm.clamp_min(1e-12).reciprocal()
        # The norm's gain and the scale are numbers for each channel: one pass for both.
        gain = rms.gamma * rms.scale
        if scale_shift is not None:
            gain = gain * (scale_shift[0] + 1)
        if torch.is_grad_enabled():
            y = x * inverse
            y = F.silu(y * gain if scale_shift is None else torch.addcmul(scale_shift[1], y, gain))
        elif _keeps_precision(x):
            y = torch.mul(x, inverse, out=torch.empty_like(x))
            if scale_shift is None:
                y *= gain
            else:
                torch.addcmul(scale_shift[1], y, gain, out=y)
            F.silu(y, inplace=True)
        else:
            y = x * inverse
            y *= gain
            if scale_shift is not None:
                y += scale_shift[1]
            F.silu(y, inplace=True)
        projected: Tensor = self.project(y.to(x.dtype))
        return projected


class ResnetBlock(nn.Module):
    """Two blocks, attention to condition tokens between them, a gate, and what goes round them."""

    time_mlp: nn.Module | None
    cross_attn: nn.Module | None
    block1: nn.Module
    block2: nn.Module
    gca: Any
    res_conv: nn.Module

    def forward(self, x: Tensor, time_emb: Tensor | None = None, cond: Tensor | None = None) -> Tensor:
        """Turns (B, C, H, W) into (B, D, H, W), with an embedding of the time, (B, E), and tokens, (B, M, F)."""
        scale_shift = None
        if self.time_mlp is not None and time_emb is not None:
            scale_shift = self.time_mlp(time_emb)[:, :, None, None].chunk(2, dim=1)
        h: Tensor = self.block1(x)
        if self.cross_attn is not None:
            tokens = h.permute(0, 2, 3, 1).flatten(1, 2)
            tokens = self.cross_attn(tokens, context=cond) + tokens
            h = tokens.unflatten(1, h.shape[2:]).permute(0, 3, 1, 2)
        h = self.block2(h, scale_shift)
        gate = self.gca(h) if isinstance(self.gca, nn.Module) else None  # without a gate the library multiplies by 1
        around: Tensor = self.res_conv(x)
        if torch.is_grad_enabled():
            return h + around if gate is None else torch.addcmul(around, h, gate)
        if gate is not None and _keeps_precision(h):
            return torch.addcmul(around, h, gate, out=h)
        if gate is not None:
            h *= gate
        h += around
        return h


class Downsample(nn.Sequential):
    """Four neighbours to one: a convolution of 2 x 2 px with stride 2, kept as one of 1 px on rearranged pixels."""

    def forward(self, x: Tensor) -> Tensor:
        """Turns (B, C, H, W) into (B, D, H / 2, W / 2)."""
        conv: Any = self[1]
        return F.conv2d(x, conv.weight.reshape(len(conv.weight), -1, 2, 2), conv.bias, stride=2)


class PixelShuffle(nn.PixelShuffle):
    """Torch's pixel shuffle, with the channels last in memory on a GPU.

    There torch returns its images with the channels first, which the next convolution would have to convert.
    """

    def forward(self, x: Tensor) -> Tensor:
        """Turns (B, C f^2, H, W) into (B, C, H f, W f)."""
        return super().forward(x) if x.device.type == "cpu" else shuffle_channels_last(x, self.upscale_factor)


def shuffle_channels_last(x: Tensor, factor: int) -> Tensor:
    """Turns (B, C f^2, H, W) into (B, C, H f, W f) as `torch.pixel_shuffle` does, with the channels last in memory."""
    batch, channels, height, width = x.shape
    blocks = x.reshape(batch, channels // factor**2, factor, factor, height, width).permute(0, 4, 2, 5, 3, 1)
    return blocks.reshape(batch, height * factor, width * factor, -1).permute(0, 3, 1, 2)


def _normalised(attention: Any, q: Tensor, k: Tensor) -> tuple[Tensor, Tensor]:
    """Normalises queries and keys where the family does, and leaves them in their precision.

    Both learned scales go to the keys, which are fewer.
    """
    if not hasattr(attention, "q_scale"):
        return q, k
    scaled = F.normalize(k, dim=-1) * (attention.q_scale * attention.k_scale)
    if torch.is_grad_enabled() or not _keeps_precision(q):
        return F.normalize(q, dim=-1).to(q.dtype), scaled.to(k.dtype)
    norm = torch.linalg.vector_norm(q, dim=-1, keepdim=True, dtype=torch.float32)
    return torch.mul(q, norm.clamp_min(1e-12).reciprocal(), out=torch.empty_like(q)), scaled.to(k.dtype)


def _keeps_precision(x: Tensor) -> bool:
    """Tells whether a pass over x is to calculate in float32 and write numbers of half the size, as x has them.

    Otherwise torch would write float32, and every pass after that one would move twice as much. A compiled network
    writes nothing between passes anyway, and cannot be given where to write to.
    """
    return x.dtype in (torch.bfloat16, torch.float16) and not torch.compiler.is_compiling()


def _is_cosine(attention: nn.Module) -> bool:
    """Tells whether this is the older family's attention by angle, an option that `UnetConfig` does not have."""
    return bool(getattr(attention, "cosine_sim_attn", False))


def _library(name: str, module: nn.Module, *arguments: object) -> Tensor:
    """Calls the library's own forward."""
    result: Tensor = getattr(imagen_module(), name).forward(module, *arguments)
    return result
