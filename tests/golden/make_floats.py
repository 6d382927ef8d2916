"""Digests of how torch rounds to 8- and 16-bit floats; they stand in gpu/files/src/dtype.rs and are printed here.

    python tests/golden/make_floats.py

torch's E4M3 has no saturation, the paper's (arXiv 2209.05433, section 3.1) has: values are clamped first. NaN counts as code 0.
"""

import hashlib

import numpy as np
import torch

FORMATS = (("F8_E4M3", torch.float8_e4m3fn, 448.0), ("F8_E5M2", torch.float8_e5m2, 57344.0))


def digest(codes: torch.Tensor) -> str:
    return hashlib.sha256(codes.numpy().tobytes()).hexdigest()


def main() -> None:
    halves = torch.from_numpy(np.arange(65536, dtype=np.uint16).view(np.float16).astype(np.float32))
    for name, dtype, most in FORMATS:
        codes = halves.nan_to_num(0.0, torch.inf, -torch.inf).clamp(-most, most).to(dtype).view(torch.uint8)
        codes = torch.where(halves.isnan(), torch.zeros_like(codes), codes)
        print(f"{name} of every f16: {digest(codes)}")
    for low in (0x0000, 0x7FFF, 0x8000, 0x8001):
        values = torch.from_numpy(((np.arange(65536, dtype=np.uint32) << 16) | np.uint32(low)).view(np.float32).copy())
        for name, dtype in (("BF16", torch.bfloat16), ("F16", torch.float16)):
            codes = values.to(dtype).view(torch.int16)
            codes = torch.where(values.isnan(), torch.zeros_like(codes), codes)
            print(f"{name} of every f32 that ends in {low:04x}: {digest(codes)}")


if __name__ == "__main__":
    main()
