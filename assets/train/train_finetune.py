"""Fine-tune the whole U-Net on another hand or style (the text encoder stays).

OMP_NUM_THREADS=1 torchrun --nproc_per_node 2 train_finetune.py --weights out/train/unet/weights.pt \
    --cache out/train/cache/twemoji.pt --out out/train/finetunes/twemoji --minutes 5
"""
import argparse
import math
import time

import numpy as np
import torch

import common
import models
from diffusion import ALPHAS, noise_levels, weights
from train_unet import EXTRA, SHARE, Feed  # noqa: F401


def load_base(weights, dev):
    w = torch.load(weights, map_location="cpu", weights_only=False)
    unet, text = models.build_unet(), models.build_text_encoder()
    unet.load_state_dict(w["unet"])
    text.load_state_dict(w["text"])
    return unet.to(dev, memory_format=torch.channels_last), text.to(dev).eval().requires_grad_(False), w["step"]


class Remember:
    """A frozen text encoder says the same thing twice."""

    def __init__(self, text):
        self.text, self.seen = text, {}

    def __call__(self, ids):
        out = []
        for row in ids:
            k = tuple(row.tolist())
            if k not in self.seen:
                with torch.no_grad():
                    self.seen[k] = self.text(row[None].to(next(self.text.parameters()).device))[0][0].half()
            out.append(self.seen[k])
        return torch.stack(out).float()


def diffusion_loss(unet, x, cond, alphas):
    t = noise_levels(len(x)).to(x.device)
    noise = torch.randn_like(x)
    at = alphas[t].view(-1, 1, 1, 1)
    noisy = (at.sqrt() * x + (1 - at).sqrt() * noise).contiguous(memory_format=torch.channels_last)
    with torch.autocast(x.device.type, torch.bfloat16, enabled=x.device.type == "cuda"):
        e = unet(noisy, t, cond).sample
    return (weights(at) * (e.float() - noise).pow(2)).mean()


def main():
    ap = argparse.ArgumentParser()
    ap.add_argument("--weights", default="out/train/unet/weights.pt")
    ap.add_argument("--cache", required=True)
    ap.add_argument("--out", required=True)
    ap.add_argument("--minutes", type=float, default=5)
    ap.add_argument("--steps", type=int, default=0, help="this many steps instead of --minutes")
    ap.add_argument("--batch", type=int, default=32, help="per process")
    ap.add_argument("--lr", type=float, default=5e-4)
    ap.add_argument("--seed", type=int, default=31)
    a = ap.parse_args()
    dev, out = common.device(), common.out_dir(a.out)
    rank, world = common.start_workers()
    torch.manual_seed(a.seed + rank)
    unet, text, _ = load_base(a.weights, dev)
    feed = Feed(a.cache, models.load_tokenizer(out / f"tokenizer{rank}"), a.seed + 1000 * rank)
    say, alphas = Remember(text), ALPHAS.to(dev)
    params = list(unet.parameters())
    opt = torch.optim.AdamW(params, lr=a.lr, betas=(0.9, 0.98), weight_decay=1e-4, fused=True)
    ema = [p.detach().clone() for p in params]
    state_path, step, spent = out / "state.pt", 0, 0.0
    if state_path.exists():
        s = torch.load(state_path, map_location=dev, weights_only=False)
        unet.load_state_dict(s["unet"])
        opt.load_state_dict(s["opt"])
        ema, step, spent = s["ema"], s["step"], s["spent"]
    start, total, losses, last = time.time() - spent, a.minutes * 60, [], time.time()

    def save():
        torch.save(dict(unet=unet.state_dict(), opt=opt.state_dict(), ema=ema, step=step, spent=time.time() - start), state_path)

    while True:
        t = common.agree(step / a.steps if a.steps else (time.time() - start) / total, world)
        if t >= 1:
            break
        for g in opt.param_groups:
            g["lr"] = float(a.lr * min(1, (step + 1) / 30) * (0.02 + 0.49 * (1 + math.cos(math.pi * t))))
        x, ids = feed.batch(a.batch)
        l = diffusion_loss(unet, x.to(dev), say(ids).to(dev), alphas)
        l.backward()
        common.average_gradients(params, world)
        torch.nn.utils.clip_grad_norm_(params, 1.0)
        opt.step()
        opt.zero_grad(set_to_none=True)
        step += 1
        torch._foreach_lerp_(ema, [p.detach() for p in params], 1 - min(0.99, (1 + step) / (10 + step)))
        losses.append(float(l.detach()))
        if rank == 0 and step % 50 == 0:
            print(f"step {step} t {t:.3f} loss {np.mean(losses):.4f} {time.time() - start:.0f}s", flush=True)
            losses = []
            if time.time() - last > 120:
                save()
                last = time.time()
    if rank == 0:
        save()
        with torch.no_grad():
            for p, e in zip(params, ema):
                p.copy_(e)
        torch.save({k: v.cpu() for k, v in unet.state_dict().items()}, out / "unet.pt")
        print("done", step)


if __name__ == "__main__":
    main()
