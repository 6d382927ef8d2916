"""Train the preview decoder (diffusers AutoencoderTiny): scaled latents straight to a picture, like TAESD.

OMP_NUM_THREADS=1 torchrun --nproc_per_node 2 train_preview.py --minutes 5
Its config has scaling_factor 1: it takes the latents that the U-Net works on, as they are.
"""
import argparse
import math
import random
import time

import numpy as np
import torch

import common
import models
from train_vae import Pictures, loss_fn


def main():
    ap = argparse.ArgumentParser()
    ap.add_argument("--data", default="out/train/data")
    ap.add_argument("--vae", default="out/train/vae/vae")
    ap.add_argument("--out", default="out/train/preview")
    ap.add_argument("--minutes", type=float, default=5)
    ap.add_argument("--steps", type=int, default=0, help="this many steps instead of --minutes")
    ap.add_argument("--batch", type=int, default=8)
    ap.add_argument("--lr", type=float, default=3e-3)
    ap.add_argument("--seed", type=int, default=21)
    ap.add_argument("--encoder", action="store_true", help="train the encoder half too")
    a = ap.parse_args()
    from diffusers import AutoencoderKL
    dev, out = common.device(), common.out_dir(a.out)
    rank, world = common.start_workers()
    torch.manual_seed(a.seed)
    vae = AutoencoderKL.from_pretrained(a.vae).to(dev).eval()
    scale = vae.config.scaling_factor
    tiny = models.build_preview().to(dev)
    state = out / "state.pt"
    if state.exists():
        tiny.load_state_dict(torch.load(state, map_location=dev))
    params = list(tiny.decoder.parameters()) + (list(tiny.encoder.parameters()) if a.encoder else [])
    opt = torch.optim.AdamW(params, lr=a.lr, betas=(0.9, 0.98), weight_decay=1e-4)
    pics = Pictures(a.data, a.seed + 77 * rank)
    # a pool of crops with their latents, refreshed little by little: the big encoder is the slow part
    start, total, step, losses, pool = time.time(), a.minutes * 60, 0, [], []
    rng = random.Random(a.seed + rank)
    while True:
        t = common.agree(step / a.steps if a.steps else (time.time() - start) / total, world)
        if t >= 1:
            break
        if len(pool) < 12 or step % 6 == 0:
            x = pics.batch(a.batch, 64).to(dev)
            with torch.no_grad(), torch.autocast(dev.type, torch.bfloat16):
                z = vae.encode(x).latent_dist.mode().float() * scale
            pool.append((x, z))
            pool = pool[-200:]
        x, z = rng.choice(pool)
        for g in opt.param_groups:
            g["lr"] = float(a.lr * min(1, (step + 1) / 50) * (0.02 + 0.49 * (1 + math.cos(math.pi * t))))
        l = loss_fn(tiny.decode(z).sample, x)
        if a.encoder:
            l = l + (tiny.encode(x).latents - z).pow(2).mean() * 0.3
        l.backward()
        common.average_gradients(params, world)
        torch.nn.utils.clip_grad_norm_(params, 1.0)
        opt.step()
        opt.zero_grad(set_to_none=True)
        step += 1
        losses.append(float(l.detach()))
        if rank == 0 and step % 100 == 0:
            print(f"step {step} t {t:.3f} loss {np.mean(losses):.4f}", flush=True)
            losses = []
            torch.save(tiny.state_dict(), state)
    if rank == 0:
        torch.save(tiny.state_dict(), state)
        x = Pictures(a.data, 5).batch(16, 128).to(dev)
        with torch.no_grad():
            z = vae.encode(x).latent_dist.mode()
            full, y = vae.decode(z).sample, tiny.decode(z * scale).sample
        for n, p in (("vae", full), ("preview", y)):
            print(n, "psnr", 10 * math.log10(4 / float((p - x).pow(2).mean())))
        common.save_sheet([(i.permute(1, 2, 0).cpu().numpy() + 1) / 2 for t3 in zip(x, full, y) for i in t3], out / "sheet.png", 12)


if __name__ == "__main__":
    main()
