"""How fast merges are beside mergekit, in one run on one machine.

python tests/peers/mergekit_speed.py --program target/release/examples/merge_speed [--share 16] [--threads 2]

Tensors of Stable Diffusion 1.5's U-Net, every SHARE-th of its 686, f32, random: first merged by mergekit (torch, in memory), then by Admix's
passes (on the device). Both times leave out reading, uploading and writing. Prints a table and, with --json, the numbers.
Build the program with `cargo build --release -p admix-mix --example merge_speed`.
"""
import argparse
import json
import subprocess
import time

import torch
from diffusers import UNet2DConditionModel
from mergekit.merge_methods.api import merge_tensors

METHODS = {
    "weighted_sum": lambda t: merge_tensors(t, "linear", parameters={"weight": [0.2, 0.4, 0.4]}),
    "slerp": lambda t: merge_tensors(t[:2], "slerp", parameters={"t": 0.4}, base_index=0),
    "ties": lambda t: merge_tensors(t, "ties", parameters={"weight": {1: 0.4, 2: 0.4}, "density": {1: 0.3, 2: 0.3}}, base_index=0),
    "dare_ties": lambda t: merge_tensors(t, "dare_ties", parameters={"weight": {1: 0.4, 2: 0.4}, "density": {1: 0.3, 2: 0.3}}, base_index=0),
    "model_stock": lambda t: merge_tensors(t, "model_stock", base_index=0),
}


def shapes(share):
    with torch.device("meta"):
        unet = UNet2DConditionModel(sample_size=64, cross_attention_dim=768, attention_head_dim=8)
    return [tuple(p.shape) for p in unet.state_dict().values()][::share]


def main():
    ap = argparse.ArgumentParser()
    ap.add_argument("--program", required=True)
    ap.add_argument("--share", type=int, default=16)
    ap.add_argument("--threads", type=int, default=2)
    ap.add_argument("--runs", type=int, default=2)
    ap.add_argument("--json", action="store_true")
    a = ap.parse_args()
    torch.set_num_threads(a.threads)
    sizes = shapes(a.share)
    torch.manual_seed(1)
    base = [torch.randn(s) * 0.05 for s in sizes]
    models = [[b + torch.randn_like(b) * 0.01 for b in base] for _ in range(2)]
    theirs = {}
    for name, merge in METHODS.items():
        best = float("inf")
        for _ in range(a.runs + 1):  # the first warms up
            start = time.perf_counter()
            for i in range(len(sizes)):
                merge([base[i], models[0][i], models[1][i]])
            best = min(best, time.perf_counter() - start)
        theirs[name] = best
    del base, models
    elements = [int(torch.tensor(s).prod()) for s in sizes]
    out = subprocess.run([a.program, "--tensors", ",".join(map(str, elements)), ",".join(METHODS)], check=True, capture_output=True, text=True)
    ours = json.loads(out.stdout)
    rows = {n: {"mergekit": theirs[n], "admix": ours[n], "ratio": theirs[n] / ours[n]} for n in METHODS}
    if a.json:
        print(json.dumps({"elements": sum(elements), "tensors": len(sizes), "threads": a.threads, "seconds": rows}))
        return
    print(f"{len(sizes)} tensors, {sum(elements) / 1e6:.0f} M elements, f32, mergekit on {a.threads} threads")
    for n, r in rows.items():
        print(f"{n:14} mergekit {r['mergekit'] * 1e3:9.1f} ms   admix {r['admix'] * 1e3:9.1f} ms   {r['ratio']:6.2f} x as fast")


if __name__ == "__main__":
    main()
