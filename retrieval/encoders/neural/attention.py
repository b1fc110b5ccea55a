"""In what type a CPU computes attention while matrix products are in bf16."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

__all__ = ["attend", "attend_in_float32"]

_NAME = "sdpa_float32"


def attend_in_float32(model: nn.Module) -> None:
    """Let all parts of a model that transformers runs by torch's fused attention compute it as `attend` does.

    Nothing of that is saved with the model.
    """
    from transformers import AttentionInterface, AttentionMaskInterface, PreTrainedModel
    from transformers.masking_utils import sdpa_mask

    AttentionInterface.register(_NAME, _attention)
    AttentionMaskInterface.register(_NAME, sdpa_mask)
    for module in model.modules():
        if isinstance(module, PreTrainedModel) and module.config._attn_implementation == "sdpa":
            module.set_attn_implementation(_NAME)


def _attention(
    module: nn.Module, query: Tensor, key: Tensor, value: Tensor, attention_mask: Tensor | None, **options: Any
) -> tuple[Tensor, Tensor | None]:
    from transformers.integrations.sdpa_attention import sdpa_attention_forward

    if not _bf16_is_slow(query.device):
        return sdpa_attention_forward(module, query, key, value, attention_mask, **options)
    with torch.autocast("cpu", enabled=False):
        return sdpa_attention_forward(
            module, query.float(), key.float(), value.float(), _widened(attention_mask), **options
        )


def attend(query: Tensor, key: Tensor, value: Tensor, mask: Tensor, dropout: float = 0.0) -> Tensor:
    """Torch's fused attention: (n, heads, a, size) of queries, over keys and values (n, heads, b, size).

    Under autocast in bf16 on a CPU without tiles (AMX) it is computed in float32: there bf16 is widened number by
    number, and the backward pass takes more than twice the time.

    Args:
        query: what asks.
        key: what it is compared with.
        value: what is averaged.
        mask: boolean or added to the products, of a shape that extends to (n, heads, a, b).
        dropout: share of weights that is dropped.
    """
    if not _bf16_is_slow(query.device):
        return functional.scaled_dot_product_attention(query, key, value, attn_mask=mask, dropout_p=dropout)
    with torch.autocast("cpu", enabled=False):
        return functional.scaled_dot_product_attention(
            query.float(), key.float(), value.float(), attn_mask=_widened(mask), dropout_p=dropout
        )


def _bf16_is_slow(device: torch.device) -> bool:
    on_cpu = device.type == "cpu" and torch.is_autocast_enabled("cpu")
    return on_cpu and torch.get_autocast_dtype("cpu") == torch.bfloat16 and not torch.cpu._is_amx_tile_supported()


def _widened(mask: Tensor | None) -> Tensor | None:
    return mask.float() if mask is not None and mask.is_floating_point() else mask
