"""What this machine can do, and what this process has loaded on it."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from huggingface_hub import try_to_load_from_cache

REVISIONS: dict[str, str] = {}
"""Commits of the Hub's models that were loaded, by name; a run's manifest tells them."""


def has_bfloat16(device: torch.device) -> bool:
    """Whether a device computes in bfloat16 itself; on others it is the slower one."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported()
    # Earlier versions of torch have no public way to ask.
    has: Mapping[str, Any] = getattr(torch.cpu, "get_capabilities", dict)()
    return bool(has.get("avx512_bf16") or has.get("amx_bf16"))


def note_revision(name: str, revision: str | None) -> None:
    """Notes the commit of a model of the Hub that was loaded: the cache's folders are named so."""
    kept = try_to_load_from_cache(name, "config.json", revision=revision)
    REVISIONS[name] = Path(str(kept)).parent.name
