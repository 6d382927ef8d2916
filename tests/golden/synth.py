"""Weights and inputs that are a function of their name alone.

Every number is `scale * u + offset`, where u in [-1, 1) comes from SplitMix64 seeded with the FNV-1a
hash of "seed/name". Only integer and exactly rounded f32 operations are used, so any language can make
the same bits (README.md, "Synthetic weights").
"""

import math

import numpy as np
import torch

GOLDEN = np.uint64(0x9E3779B97F4A7C15)
M1 = np.uint64(0xBF58476D1CE4E5B9)
M2 = np.uint64(0x94D049BB133111EB)


def fnv1a64(text: str) -> int:
    """FNV-1a, 64 bits, over the UTF-8 bytes."""
    h = 0xCBF29CE484222325
    for byte in text.encode():
        h = ((h ^ byte) * 0x100000001B3) & 0xFFFFFFFFFFFFFFFF
    return h


def words(key: str, count: int) -> np.ndarray:
    """SplitMix64 outputs 1..count for the state fnv1a64(key)."""
    with np.errstate(over="ignore"):
        z = np.uint64(fnv1a64(key)) + np.arange(1, count + 1, dtype=np.uint64) * GOLDEN
        z = (z ^ (z >> np.uint64(30))) * M1
        z = (z ^ (z >> np.uint64(27))) * M2
        return z ^ (z >> np.uint64(31))


def uniform(key: str, shape, scale: float = 1.0, offset: float = 0.0) -> torch.Tensor:
    """f32 in [offset - scale, offset + scale): top 24 bits / 2^23 - 1, times scale, plus offset."""
    u = (words(key, math.prod(shape)) >> np.uint64(40)).astype(np.float32)
    u = u * np.float32(2.0**-23) - np.float32(1.0)
    v = u * np.float32(scale) + np.float32(offset)
    return torch.from_numpy(v.reshape(tuple(shape)).copy())


def normal(key: str, shape) -> torch.Tensor:
    """Unit-variance, nearly normal f32 (sum of four uniforms): inputs, never weights."""
    n = math.prod(shape)
    u = (words(key, 4 * n) >> np.uint64(40)).astype(np.float64) * 2.0**-23 - 1.0
    v = u.reshape(n, 4).sum(axis=1) * math.sqrt(3.0 / 4.0)
    return torch.from_numpy(v.astype(np.float32).reshape(tuple(shape)))


def rule(name: str, shape) -> tuple[float, float]:
    """(scale, offset) for a parameter, by what it is. Norms get random gains and shifts and every bias is
    non-zero, so that no affine part can be forgotten without a golden value changing."""
    if "norm" in name and len(shape) == 1:
        return (0.3, 1.0) if name.endswith("weight") else (0.2, 0.0)
    if name.endswith("bias"):
        return 0.1, 0.0
    if "position_embedding" in name:
        return 0.3, 0.0
    if "token_embedding" in name:
        return 1.0, 0.0
    gain = 1.0
    if ".to_q." in name or ".to_k." in name or ".q_proj." in name or ".k_proj." in name:
        gain = 1.5  # attention maps that are neither uniform nor one-hot
    elif name.startswith("unet.conv_out"):
        gain = 0.6
    elif name.startswith("vae.decoder.conv_out"):
        gain = 0.4  # pictures inside [-1, 1]: clipping would hide errors
    elif name.startswith("vae.encoder.conv_out"):
        gain = 2.0
    std = gain / math.sqrt(math.prod(shape[1:]))
    # Rounded to 1/4096 so that the number survives JSON and f32 unchanged.
    return max(round(std * math.sqrt(3.0) * 4096) / 4096, 1 / 4096), 0.0


def fill(module: torch.nn.Module, component: str, seed: str, dtype=torch.float16, prefix: str = "") -> list:
    """Gives every parameter of `module` its synthetic value, rounded to `dtype`; returns the rows
    [name, shape, scale, offset]. `component` and `prefix` make the canonical name."""
    rows = []
    with torch.no_grad():
        for key, p in sorted(module.state_dict().items()):
            if not p.is_floating_point():
                continue
            name = f"{component}.{prefix}{key}"
            scale, offset = rule(name, p.shape)
            value = uniform(f"{seed}/{name}", p.shape, scale, offset)
            p.copy_(value.to(dtype).to(p.dtype))
            rows.append([name, list(p.shape), scale, offset])
    return rows
