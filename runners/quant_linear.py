"""Linear layers with 4-bit weights and 16-bit activations (W4A16) for Hugging Face models: one file, torch alone.

Round to nearest, group by group along a row: with lo = min(w, 0) and hi = max(w, 0) of a group,

    scale = (hi - lo) / 15        rounded up to a float16, so that 15 steps reach from lo to hi
    zero  = round(-lo / scale)    0 … 15
    q     = clamp(round(w / scale) + zero, 0, 15)
    w     ≈ (q - zero) × scale    at most half a step (scale / 2) off

Two q lie in a byte, the first in the low half; so do two zeros. A row that is no multiple of the group has a short
last group. `register()` lets `AutoModelForCausalLM.from_pretrained` load a folder whose `quantization_config` says
`"quant_method": "quantfarm_rtn"`; `quantize_model` quantizes a model that is loaded. Output layer and embeddings stay.
"""

# /// script
# requires-python = ">=3.11"
# dependencies = ["torch==2.13.0", "transformers>=5.0"]
# ///

# pyright: reportMissingImports=false
# torch is in the environment that this runs in, not in the farm's own.

from __future__ import annotations

import math
from collections.abc import Collection, Iterator
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

METHOD = "quantfarm_rtn"
GROUP_SIZE = 128
LEVELS = 15
SCALE_DTYPE = torch.float16
#: Rows are quantized so many weights at a time: 64 MiB of float32, whatever the layer's size.
BLOCK = 1 << 24


class Packed(NamedTuple):
    """What a weight of `rows` × `width` becomes, with `groups` = ceil(width / group size)."""

    packed: Tensor  # uint8, rows × ceil(width / 2)
    scale: Tensor  # float16, rows × groups
    zero: Tensor  # uint8, rows × ceil(groups / 2)


def pack(values: Tensor) -> Tensor:
    """Numbers 0 … 15 along the last axis, two in a byte; an odd one out shares its byte with 0."""
    if values.shape[-1] % 2:
        values = nn.functional.pad(values, (0, 1))
    return values[..., 0::2] | (values[..., 1::2] << 4)


def unpack(packed: Tensor, width: int) -> Tensor:
    """The first `width` numbers of each row."""
    return torch.stack((packed & 15, packed >> 4), dim=-1).flatten(-2)[..., :width]


def shapes(rows: int, width: int, group_size: int) -> Packed:
    """Empty tensors of what such a weight becomes, on the meta device: their shapes and types alone."""
    groups = math.ceil(width / group_size)
    with torch.device("meta"):
        return Packed(
            torch.empty(rows, math.ceil(width / 2), dtype=torch.uint8),
            torch.empty(rows, groups, dtype=SCALE_DTYPE),
            torch.empty(rows, math.ceil(groups / 2), dtype=torch.uint8),
        )


def _grouped(rows: Tensor, group_size: int) -> Tensor:
    """rows × groups × group size; a short last group is filled with zeros."""
    missing = -rows.shape[-1] % group_size
    return (nn.functional.pad(rows, (0, missing)) if missing else rows).unflatten(-1, (-1, group_size))


def _rounded_up(scale: Tensor) -> Tensor:
    """The next float16 that is not smaller."""
    near = scale.to(SCALE_DTYPE)
    above = torch.nextafter(near, torch.full_like(near, torch.inf))
    return torch.where(near.float() < scale, above, near)


def _quantize_rows(rows: Tensor, group_size: int) -> Packed:
    width, groups = rows.shape[-1], _grouped(rows.float(), group_size)
    low, high = groups.amin(-1).clamp(max=0), groups.amax(-1).clamp(min=0)
    scale = _rounded_up(high / LEVELS - low / LEVELS)
    if not torch.isfinite(scale).all():  # NaN and infinity are in their group's extremes
        raise ValueError("it holds NaN, infinity or weights beyond what a float16 scale reaches")
    step = torch.where(scale > 0, scale, 1).float()  # a group of zeros alone has scale 0
    zero = torch.round(-low / step).clamp(0, LEVELS)
    q = (torch.round(groups / step[..., None]) + zero[..., None]).clamp(0, LEVELS)
    return Packed(pack(q.to(torch.uint8).flatten(-2)[..., :width]), scale, pack(zero.to(torch.uint8)))


def quantize(weight: Tensor, group_size: int = GROUP_SIZE) -> Packed:
    """A weight of rows × width. Raises ValueError for one that no such layer can hold."""
    if group_size < 1:
        raise ValueError(f"a group of {group_size} weights")
    if weight.dim() != 2:
        raise ValueError(f"a weight has rows and columns, this one has the shape {tuple(weight.shape)}")
    at_once = max(1, BLOCK // max(1, weight.shape[1]))
    done = [_quantize_rows(weight[i : i + at_once], group_size) for i in range(0, weight.shape[0], at_once)]
    return Packed(*(torch.cat(parts) for parts in zip(*done, strict=True)))


def dequantize(made: Packed, width: int, group_size: int, dtype: torch.dtype = torch.float32) -> Tensor:
    """(q - zero) × scale: exact in float32; in a narrower type rounded once to float16, then to the type."""
    between = torch.float32 if dtype == torch.float32 else SCALE_DTYPE
    groups = made.scale.shape[-1]
    levels = unpack(made.packed, width).to(torch.int8)
    offsets = unpack(made.zero, groups).to(torch.int8)
    steps = (_grouped(levels, group_size) - offsets[..., None]).to(between)
    return (steps * made.scale.to(between)[..., None]).flatten(-2)[..., :width].to(dtype)


def errors(weight: Tensor, made: Packed, group_size: int) -> tuple[float, float]:
    """Σ (w - ŵ)² and Σ w² in float64: the relative L2 error is the root of their ratio."""
    at_once = max(1, BLOCK // max(1, weight.shape[1]))
    off = of = 0.0
    for i in range(0, weight.shape[0], at_once):
        rows = weight[i : i + at_once].double()
        part = Packed(*(tensor[i : i + at_once] for tensor in made))
        off += (rows - dequantize(part, weight.shape[1], group_size).double()).square().sum().item()
        of += rows.square().sum().item()
    return off, of


class QuantLinear(nn.Module):
    """In the place of `nn.Linear`: the weight is unpacked for each call, so memory at rest is that of the 4 bits."""

    def __init__(
        self,
        in_features: int,
        out_features: int,
        bias: bool = False,
        group_size: int = GROUP_SIZE,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        self.in_features, self.out_features, self.group_size = in_features, out_features, group_size
        like = shapes(out_features, in_features, group_size)
        for name, tensor in zip(("weight_packed", "weight_scale", "weight_zero"), like, strict=True):
            self.register_buffer(name, torch.empty(tensor.shape, dtype=tensor.dtype))
        self.bias = nn.Parameter(torch.empty(out_features, dtype=dtype), requires_grad=False) if bias else None

    @classmethod
    def from_linear(cls, linear: nn.Linear, group_size: int = GROUP_SIZE) -> QuantLinear:
        """Raises ValueError for weights that cannot be quantized."""
        made = quantize(linear.weight.detach(), group_size)
        layer = cls(linear.in_features, linear.out_features, False, group_size)
        layer.weight_packed, layer.weight_scale, layer.weight_zero = made
        layer.bias = None if linear.bias is None else nn.Parameter(linear.bias.detach(), requires_grad=False)
        return layer

    @property
    def made(self) -> Packed:
        return Packed(self.weight_packed, self.weight_scale, self.weight_zero)

    def forward(self, x: Tensor) -> Tensor:
        return nn.functional.linear(x, dequantize(self.made, self.in_features, self.group_size, x.dtype), self.bias)

    def extra_repr(self) -> str:
        return f"{self.in_features}, {self.out_features}, bias={self.bias is not None}, group_size={self.group_size}"


def linears(model: Any, kept: Collection[str] = ()) -> Iterator[tuple[str, nn.Linear]]:
    """Name and layer of every `nn.Linear` but the output layer and those that are kept."""
    output = model.get_output_embeddings() if hasattr(model, "get_output_embeddings") else None
    for name, module in model.named_modules():
        if type(module) is nn.Linear and module is not output and name not in kept:
            yield name, module


def quantize_model(model: Any, group_size: int = GROUP_SIZE, kept: Collection[str] = ()) -> Any:
    """The same model with its linear layers quantized, one after the other. Raises ValueError naming the layer."""
    for name, linear in list(linears(model, kept)):
        try:
            model.set_submodule(name, QuantLinear.from_linear(linear, group_size))
        except ValueError as error:
            raise ValueError(f"{name}: {error}") from error
    return model


def empty_layers(model: Any, group_size: int, kept: Collection[str] = ()) -> None:
    """Layers without weights yet in the place of `nn.Linear`: for a checkpoint that holds the packed ones."""
    for name, linear in list(linears(model, kept)):
        with torch.device(linear.weight.device):
            bias = linear.bias is not None
            shape = (linear.in_features, linear.out_features)
            model.set_submodule(name, QuantLinear(*shape, bias, group_size, linear.weight.dtype))


def register() -> None:
    """Tells transformers of the format; a second time does nothing."""
    from transformers.quantizers.auto import (
        AUTO_QUANTIZER_MAPPING,
        register_quantization_config,
        register_quantizer,
    )
    from transformers.quantizers.base import HfQuantizer
    from transformers.utils.quantization_config import QuantizationConfigMixin

    if METHOD in AUTO_QUANTIZER_MAPPING:
        return

    @register_quantization_config(METHOD)
    class RtnConfig(QuantizationConfigMixin):
        """`kept`: linear layers that stay as they are, beside the output layer."""

        def __init__(self, group_size: int = GROUP_SIZE, kept: Collection[str] = (), bits: int = 4, **_: Any) -> None:
            if bits != 4:
                raise ValueError(f"{METHOD} has 4 bits, and the folder's config says {bits}")
            self.quant_method = METHOD
            self.bits, self.group_size, self.kept = bits, group_size, list(kept)

    @register_quantizer(METHOD)
    class RtnQuantizer(HfQuantizer):
        """Puts empty layers in before the packed weights are read."""

        requires_calibration = True  # never made while loading: the folder holds what `quantize_rtn.py` packed

        def _process_model_before_weight_loading(self, model: Any, **_: Any) -> None:
            config: Any = self.quantization_config
            empty_layers(model, config.group_size, config.kept)

        def is_serializable(self) -> bool:
            return True

        @property
        def is_trainable(self) -> bool:
            return False
