"""Admix's kernels and the built-in model's networks beside torch on the CPU, in one run on one machine.

python tests/peers/torch_speed.py --program target/release/admix [--threads 2]

torch runs the same sizes as `admix bench` and the same weights (assets/models/mini through diffusers), f32. Prints both times and their ratio.
"""
import argparse
import json
import os
import subprocess
import time
from pathlib import Path

import torch
import torch.nn.functional as F

MODEL = Path(__file__).resolve().parents[2] / "assets" / "models" / "mini"


def median(work, least=0.3):
    """Milliseconds of the median of some runs, after a warm one."""
    work()
    times, start = [], time.perf_counter()
    while len(times) < 5 or time.perf_counter() - start < least:
        t = time.perf_counter()
        work()
        times.append(time.perf_counter() - t)
    return sorted(times)[len(times) // 2] * 1e3


@torch.no_grad()
def torch_figures():
    from diffusers import AutoencoderKL, UNet2DConditionModel
    out = {}
    a, b = torch.randn(1024, 1024), torch.randn(1024, 1024)
    out["matmul"] = median(lambda: a @ b)
    x, w = torch.randn(2, 320, 64, 64), torch.randn(320, 320, 3, 3)
    out["conv3x3"] = median(lambda: F.conv2d(x, w, padding=1))
    q, k, v = (torch.randn(2, 8, 1024, 40) for _ in range(3))
    out["attention"] = median(lambda: F.scaled_dot_product_attention(q, k, v))
    g = torch.randn(320)
    out["group_norm_silu"] = median(lambda: F.silu(F.group_norm(x, 32, g, g)))
    unet = UNet2DConditionModel.from_pretrained(MODEL / "unet", torch_dtype=torch.float32).eval()
    vae = AutoencoderKL.from_pretrained(MODEL / "vae", torch_dtype=torch.float32).eval()
    edge = unet.config.sample_size
    z, text = torch.randn(2, 4, edge, edge), torch.randn(2, 77, unet.config.cross_attention_dim)
    out["unet_step"] = median(lambda: unet(z, 500, text).sample, 1.0)
    out["vae_decode"] = median(lambda: vae.decode(z[:1]).sample, 1.0)
    return out


def main():
    ap = argparse.ArgumentParser()
    ap.add_argument("--program", required=True)
    ap.add_argument("--threads", type=int, default=2)
    ap.add_argument("--json", action="store_true")
    a = ap.parse_args()
    os.environ.setdefault("OMP_NUM_THREADS", str(a.threads))
    torch.set_num_threads(a.threads)
    theirs = torch_figures()
    done = subprocess.run([a.program, "bench", "--json"], check=True, capture_output=True, text=True)
    bench = json.loads(done.stdout)
    figures = {f["name"]: f for f in bench["figures"]}
    rows = {}
    for name, ms in theirs.items():
        f = figures[name]
        ours = f.get("ms", f["value"])
        rows[name] = {"torch": ms, "admix": ours, "ratio": ours / ms}
    if a.json:
        print(json.dumps({"device": bench["device"], "threads": a.threads, "ms": rows}))
        return
    print(f"{bench['device']} beside torch {torch.__version__} on {a.threads} CPU threads")
    for name, r in rows.items():
        print(f"{name:16} torch {r['torch']:8.2f} ms   admix {r['admix']:8.2f} ms   {r['ratio']:5.2f} x torch's time")


if __name__ == "__main__":
    main()
