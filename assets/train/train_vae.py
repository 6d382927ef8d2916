"""Train the autoencoder (diffusers AutoencoderKL, 4 levels, 248 tensors) on drawings of all hands.

python train_vae.py --data out/train/data --out out/train/vae --minutes 20
--decoder-only keeps the encoder (and so every cached latent) as it is and goes on with the decoder.
"""
import argparse
import random
import time
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F

import common
from common import BACKGROUNDS, HANDS, TINTS
from styles import STYLES, apply_style


def build():
    from diffusers import AutoencoderKL
    return AutoencoderKL(in_channels=3, out_channels=3, down_block_types=["DownEncoderBlock2D"] * 4,
                         up_block_types=["UpDecoderBlock2D"] * 4, block_out_channels=(16, 32, 64, 64), layers_per_block=2,
                         latent_channels=4, norm_num_groups=8, sample_size=128)


def whiten(vae, z, logvar, target=1 / 0.18215):
    """Fold an exact change of basis into the 1x1 convolutions at the waist, so that latents have zero mean, no correlation
    and SD1's own deviation; what the decoder sees stays the same."""
    v = z.permute(0, 2, 3, 1).reshape(-1, 4).double()
    mean = v.mean(0)
    values, vectors = torch.linalg.eigh(torch.cov((v - mean).T))
    m = (torch.diag(values.rsqrt()) @ vectors.T) * target  # new = m (old - mean)
    inverse = torch.linalg.inv(m)
    q, p = vae.quant_conv, vae.post_quant_conv
    w, b = q.weight.data.double().reshape(8, 8), q.bias.data.double()
    w[:4], b[:4] = m @ w[:4], m @ (b[:4] - mean)
    w[4:] = 0  # the posterior's spread becomes one constant
    b[4:] = torch.log((m ** 2 @ logvar.double().exp().mean((0, 2, 3))).clamp(min=1e-6))
    q.weight.data.copy_(w.reshape(8, 8, 1, 1))
    q.bias.data.copy_(b)
    pw = p.weight.data.double().reshape(4, 4)
    p.bias.data.copy_(p.bias.data.double() + pw @ mean)
    p.weight.data.copy_((pw @ inverse).reshape(4, 4, 1, 1))


class Pictures:
    """Random pictures of all hands; with `names`, three in four show one of them."""

    def __init__(self, data, seed, names=()):
        self.index = common.load_index(data)
        self.hands = {h: common.load_drawings(data, h) for h in HANDS}
        self.rng = random.Random(seed)
        chosen = set(names)
        self.chosen = [i for i, r in enumerate(self.index) if r["name"] in chosen]

    def drawing(self):
        r = self.rng
        while True:
            i = r.choice(self.chosen) if self.chosen and r.random() < 0.75 else r.randrange(len(self.index))
            hand = r.choices(HANDS, (5, 2, 2, 2))[0]
            if hand in self.index[i]["hands"]:
                break
        d = np.asarray(self.hands[hand][i])
        return d[:, ::-1] if r.random() < 0.3 else d

    def picture(self):
        r = self.rng
        d = self.drawing()
        k = r.random()
        if k < 0.15:
            d = common.pair(d, self.drawing(), r.uniform(0.45, 0.62))
        if r.random() < 0.35:
            d = common.tint(d, r.choice(list(TINTS.values())))
        bg = (255, 255, 255)
        if r.random() < 0.3:
            bg = r.choice(list(BACKGROUNDS.values())) if r.random() < 0.6 else tuple(r.randrange(256) for _ in range(3))
        if r.random() < 0.12:
            return apply_style(r.choice(STYLES), d).astype(np.float32)
        return common.flatten(d, bg)

    def batch(self, n, crop):
        out = []
        for _ in range(n):
            p = self.picture()
            if crop < 128:
                y, x = (self.rng.randrange(128 - crop + 1) for _ in range(2))
                # crops near the middle say more than white corners
                y, x = (y + self.rng.randrange(128 - crop + 1)) // 2, (x + self.rng.randrange(128 - crop + 1)) // 2
                p = p[y:y + crop, x:x + crop]
            out.append(p)
        return torch.from_numpy(np.ascontiguousarray(np.stack(out))).permute(0, 3, 1, 2).contiguous() * 2 - 1


def loss_fn(y, x):
    d = y - x
    l = d.abs().mean() + 1.0 * d.pow(2).mean()
    for _ in range(3):
        l = l + 0.5 * ((d[..., 1:] - d[..., :-1]).abs().mean() + (d[..., 1:, :] - d[..., :-1, :]).abs().mean())
        d = F.avg_pool2d(d, 2)
        l = l + 0.5 * d.abs().mean()
    # colour of each latent cell: left alone, one direction of colour is learnt very late
    return l + 2.0 * d.abs().mean() + 4.0 * (d - d.mean(1, keepdim=True)).abs().mean()


def colour_loss(z, x):
    """How far the latents are from saying each cell's mean colour linearly (best linear guess, solved for each batch).
    SD1's own latents do; left alone, a short training leaves out green."""
    y = F.avg_pool2d(x, 8).permute(0, 2, 3, 1).reshape(-1, 3)
    a = z.permute(0, 2, 3, 1).reshape(-1, 4).float() * 0.18215
    a = torch.cat([a, torch.ones_like(a[:, :1])], 1)
    w = torch.linalg.solve(a.T @ a + 1e-2 * torch.eye(5, device=a.device), a.T @ y)
    return (y - a @ w).pow(2).mean()


def main():
    ap = argparse.ArgumentParser()
    ap.add_argument("--data", default="out/train/data")
    ap.add_argument("--out", default="out/train/vae")
    ap.add_argument("--minutes", type=float, default=20, help="wall time of this run's schedule")
    ap.add_argument("--steps", type=int, default=0, help="this many steps instead of --minutes")
    ap.add_argument("--batch", type=int, default=16)
    ap.add_argument("--crop", type=int, default=64)
    ap.add_argument("--lr", type=float, default=2e-3)
    ap.add_argument("--seed", type=int, default=1)
    ap.add_argument("--decoder-only", action="store_true")
    ap.add_argument("--focus", action="store_true", help="mostly the drawings of names.txt")
    ap.add_argument("--fresh", action="store_true")
    a = ap.parse_args()
    dev, out = common.device(), common.out_dir(a.out)
    rank, world = common.start_workers()
    torch.manual_seed(a.seed)
    vae = build().to(dev)
    state_path = out / "state.pt"
    step, spent = 0, 0.0
    params = [p for n, p in vae.named_parameters() if not a.decoder_only or n.startswith(("decoder", "post_quant"))]
    opt = torch.optim.AdamW(params, lr=a.lr, betas=(0.9, 0.98), weight_decay=1e-3)
    if state_path.exists() and not a.fresh:
        s = torch.load(state_path, map_location=dev, weights_only=False)
        going = s["decoder_only"] == a.decoder_only and s["spent"] < s["minutes"] * 60 - 1
        vae.load_state_dict(s["vae"] if going else s["ema"])
        step = s["step"]
        if going:
            opt.load_state_dict(s["opt"])
            spent = s["spent"]
    ema = {k: v.detach().clone().float() for k, v in vae.state_dict().items()}
    pics = Pictures(a.data, a.seed + step + 7919 * rank, common.load_names() if a.focus else ())
    total, start, first = max(a.minutes * 60, 1e-6), time.time() - spent, step
    last_save = time.time()
    log = []

    def save():
        torch.save(dict(vae=vae.state_dict(), ema=ema, opt=opt.state_dict(), step=step, spent=time.time() - start,
                        minutes=a.minutes, decoder_only=a.decoder_only), str(state_path) + ".tmp")
        Path(str(state_path) + ".tmp").replace(state_path)

    while True:
        t = common.agree((step - first) / a.steps if a.steps else (time.time() - start) / total, world)
        if t >= 1:
            break
        crop = a.crop if t < 0.85 else 128
        n = a.batch if crop == a.crop else max(4, a.batch * a.crop * a.crop // (128 * 128))
        x = pics.batch(n, crop).to(dev)
        lr = float(a.lr * min(1, (step - first + 1) / 50) * (0.02 + 0.98 * 0.5 * (1 + np.cos(np.pi * t))))
        for g in opt.param_groups:
            g["lr"] = lr
        with torch.autocast(dev.type, torch.bfloat16):
            if a.decoder_only:
                with torch.no_grad():
                    z, kl = vae.encode(x).latent_dist.mode(), 0.0
            else:
                dist = vae.encode(x).latent_dist
                z, kl = dist.sample(), dist.kl().mean() / (4 * (crop // 8) ** 2)
            y = vae.decode(z).sample
        l = loss_fn(y.float(), x)
        colour = 0.0 if a.decoder_only else colour_loss(z, x)
        (l + 3.0 * colour + 2e-4 * kl).backward()
        common.average_gradients(params, world)
        torch.nn.utils.clip_grad_norm_(params, 1.0)
        opt.step()
        opt.zero_grad(set_to_none=True)
        step += 1
        decay = min(0.995, (1 + step - first) / (10 + step - first))
        with torch.no_grad():
            for k, v in vae.state_dict().items():
                ema[k].lerp_(v.float(), 1 - decay)
        log.append((float(l.detach()), float((y.detach().float() - x).pow(2).mean())))
        if step % 100 == 0 and rank == 0:
            m = np.mean(log, 0)
            print(f"step {step} t {t:.3f} crop {crop} loss {m[0]:.4f} psnr {10 * np.log10(4 / m[1]):.2f} kl {float(kl):.2f} "
                  f"colour {float(colour):.4f} {(time.time() - start):.0f}s", flush=True)
            log = []
        if rank == 0 and time.time() - last_save > 60:
            save()
            last_save = time.time()
    if rank:
        return
    save()
    vae.load_state_dict(ema)
    vae.eval()
    # scaling factor: unit deviation over plain and composed pictures
    pics = Pictures(a.data, 99)
    with torch.no_grad():
        if a.decoder_only and (out / "scale.txt").exists():
            scale = float((out / "scale.txt").read_text())
        else:
            x = torch.cat([pics.batch(8, 128) for _ in range(24)]).to(dev)
            q = [vae.encode(b).latent_dist for b in x.split(16)]
            whiten(vae, torch.cat([d.mean for d in q]), torch.cat([d.logvar for d in q]))
            z = torch.cat([vae.encode(b).latent_dist.mode() for b in x.split(16)])
            scale = float(1 / z.std())
            print("latent mean", z.mean((0, 2, 3)).tolist(), "std", z.std((0, 2, 3)).tolist())
            torch.save(dict(vae=vae.state_dict(), ema=vae.state_dict(), opt=None, step=step, spent=1e9, minutes=0, decoder_only=False), state_path)
            (out / "scale.txt").write_text(str(scale))
        vae.register_to_config(scaling_factor=scale)
        vae.save_pretrained(out / "vae")
        x = pics.batch(32, 128).to(dev)
        y = vae.decode(vae.encode(x).latent_dist.mode()).sample
        print("final psnr", 10 * np.log10(4 / float((y - x).pow(2).mean())), "scale", scale)
        sheet = [((i.permute(1, 2, 0).cpu().numpy() + 1) / 2) for pair in zip(x, y) for i in pair]
        common.save_sheet(sheet, out / "sheet.png", 16)


if __name__ == "__main__":
    main()
