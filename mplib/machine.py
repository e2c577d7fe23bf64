"""What this machine can do."""

from collections.abc import Mapping
from typing import Any

import torch


def has_bfloat16(device: torch.device) -> bool:
    """Whether a device computes in bfloat16 itself; on others it is the slower one."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported()
    # Earlier versions of torch have no public way to ask.
    has: Mapping[str, Any] = getattr(torch.cpu, "get_capabilities", dict)()
    return bool(has.get("avx512_bf16") or has.get("amx_bf16"))
