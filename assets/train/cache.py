"""Encode pictures once: drawings, tints, backgrounds and pairs become scaled latents with their prompts.

python cache.py --data out/train/data --vae out/train/vae/vae --out out/train/cache/noto.pt
--hand twemoji for another hand; --style neon for a styled copy; --names FILE for other names.
"""
import argparse
import random
from pathlib import Path

import numpy as np
import torch

import common
from common import BACKGROUNDS, TINTS


def specs(names, pairs, rng, tints=True, backgrounds=True, colours=4):
    """(kind, args, prompt variants)"""
    for n in names:
        for flip in (False, True):
            yield "plain", (n, flip), [n, common.article(n), f"an emoji of {common.article(n)}"]
    if tints:
        for n in names:
            for c in rng.sample(list(TINTS), colours):
                yield "tint", (n, c), [common.tint_prompt(c, n)]
    if backgrounds:
        for n in names:
            for c in rng.sample(list(BACKGROUNDS), colours):
                yield "background", (n, c), [common.background_prompt(n, c)]
    seen = set()
    while len(seen) < pairs:
        a, b = rng.sample(names, 2)
        if (a, b) not in seen:
            seen.add((a, b))
            yield "pair", (a, b), [common.pair_prompt(a, b)]


def draw(kind, args, get):
    """spec -> RGBA drawing and background colour"""
    white = (255, 255, 255)
    if kind == "plain":
        d = get(args[0])
        return (d[:, ::-1] if args[1] else d), white
    if kind == "tint":
        return common.tint(get(args[0]), TINTS[args[1]]), white
    if kind == "background":
        return get(args[0]), BACKGROUNDS[args[1]]
    return common.pair(get(args[0]), get(args[1])), white


def main():
    ap = argparse.ArgumentParser()
    ap.add_argument("--data", default="out/train/data")
    ap.add_argument("--vae", default="out/train/vae/vae")
    ap.add_argument("--out", default="out/train/cache/noto.pt")
    ap.add_argument("--hand", default="noto")
    ap.add_argument("--style", default=None)
    ap.add_argument("--names", default=None)
    ap.add_argument("--pairs", type=int, default=2000)
    ap.add_argument("--colours", type=int, default=4, help="tints and backgrounds for each name")
    ap.add_argument("--plain-only", action="store_true")
    ap.add_argument("--seed", type=int, default=3)
    a = ap.parse_args()
    from diffusers import AutoencoderKL
    dev = common.device()
    rank, world = common.start_workers()
    vae = AutoencoderKL.from_pretrained(a.vae).to(dev).eval()
    scale = vae.config.scaling_factor
    rows = {r["name"]: i for i, r in enumerate(common.load_index(a.data)) if a.hand in r["hands"]}
    drawings = common.load_drawings(a.data, a.hand)
    names = [n for n in common.load_names(a.names) if n in rows]
    rng = random.Random(a.seed)
    items = list(specs(names, 0 if a.plain_only else a.pairs, rng, not a.plain_only, not a.plain_only, a.colours))
    mine = items[rank::world]
    latents = []
    for k in range(0, len(mine), 16):
        pics = []
        for kind, args, _ in mine[k:k + 16]:
            d, bg = draw(kind, args, lambda n: np.asarray(drawings[rows[n]]))
            if a.style:
                from styles import apply_style
                pics.append(apply_style(a.style, d))
            else:
                pics.append(common.flatten(d, bg))
        x = torch.from_numpy(np.ascontiguousarray(np.stack(pics))).float().permute(0, 3, 1, 2).to(dev) * 2 - 1
        with torch.no_grad(), torch.autocast(dev.type, torch.bfloat16, enabled=True):
            z = vae.encode(x).latent_dist.mode().float()
        latents.append((z * scale).half().cpu())
        if k % 1600 == 0:
            print(k, "of", len(mine), flush=True)
    Path(a.out).parent.mkdir(parents=True, exist_ok=True)
    z = torch.cat(latents)
    if world > 1:
        import torch.distributed as dist
        parts = [None] * world
        dist.all_gather_object(parts, z)
        z = torch.empty(len(items), *z.shape[1:], dtype=z.dtype)
        for r, p in enumerate(parts):
            z[r::world] = p
        if rank:
            return
    torch.save(dict(latents=z, kinds=[i[0] for i in items], args=[i[1] for i in items], prompts=[i[2] for i in items], names=names), a.out)
    print("latents", tuple(z.shape), "std", float(z.float().std()), "mean", z.float().mean((0, 2, 3)).tolist())


if __name__ == "__main__":
    main()
