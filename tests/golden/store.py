"""Safetensors written byte for byte the same every time (the library's own writer shuffles metadata)."""

import hashlib
import json
import pathlib
import struct

import torch

NAMES = {
    torch.float64: "F64",
    torch.float32: "F32",
    torch.float16: "F16",
    torch.bfloat16: "BF16",
    torch.int64: "I64",
    torch.int32: "I32",
    torch.uint8: "U8",
    torch.bool: "BOOL",
}


def raw(t: torch.Tensor) -> bytes:
    """Little-endian row-major bytes."""
    return t.detach().contiguous().flatten().view(torch.uint8).numpy().tobytes() if t.numel() else b""


def save(path, tensors: dict, metadata: dict | None = None) -> None:
    """Header with sorted keys, padded to 8 bytes with spaces; tensors in name order, without gaps."""
    header, blobs, at = {}, [], 0
    if metadata:
        header["__metadata__"] = {k: metadata[k] for k in sorted(metadata)}
    for name in sorted(tensors):
        t = tensors[name]
        data = raw(t)
        header[name] = {"dtype": NAMES[t.dtype], "shape": list(t.shape), "data_offsets": [at, at + len(data)]}
        blobs.append(data)
        at += len(data)
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % 8)
    path = pathlib.Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(struct.pack("<Q", len(text)) + text + b"".join(blobs))


def load(path) -> tuple[dict, dict]:
    """(tensors, metadata)."""
    from safetensors import safe_open

    with safe_open(str(path), "pt") as f:
        return {k: f.get_tensor(k) for k in f.keys()}, f.metadata() or {}


def rewrite(path, dtype=None, rename=lambda key: key, metadata="same") -> None:
    """Saves a file again in this module's order, if asked with other key names or another float dtype."""
    tensors, old = load(path)
    tensors = {
        rename(k): (t.to(dtype) if dtype is not None and t.is_floating_point() else t) for k, t in tensors.items()
    }
    save(path, tensors, old if metadata == "same" else metadata)


def digest(tensors: dict) -> str:
    """sha256 over the raw bytes of all tensors in name order."""
    h = hashlib.sha256()
    for name in sorted(tensors):
        h.update(raw(tensors[name]))
    return h.hexdigest()


def checksum(t: torch.Tensor) -> dict:
    """What stands for a tensor that is too big to keep: shape, first eight values, sum and L2 norm in f64."""
    d = t.detach().double().flatten()
    return {
        "shape": list(t.shape),
        "first": [float(x) for x in d[:8]],
        "sum": float(d.sum()),
        "l2": float(d.norm()),
    }
