"""Does the picture show what the prompt says?

python evaluate.py                                   200 seed/name pairs and compositions, drawn here with diffusers' modules
python evaluate.py --pictures DIR --prompts FILE     score PNGs 000.png, 001.png ... drawn by another program from the
                                                     prompts of FILE, one a line (names of names.txt)
python evaluate.py --write-prompts FILE              write the 200 prompts (line N goes with seed N) for that other program
python evaluate.py --check                           is the measure itself sane? (known pictures, disturbed)

The measure: nearest drawing among ALL Noto emoji (some 1,600, with their mirror images). A picture and every drawing become a
32x32 RGB thumbnail plus its gradients; the distance is the smallest squared difference over shifts of one thumbnail
pixel in each direction. No training, nothing learnt from what is being judged.
"""
import argparse
import json
import random
from pathlib import Path

import numpy as np
import torch

import common
from common import BACKGROUNDS, TINTS

GRADIENT = 0.7


def thumbs(x):
    """(N,128,128,3) 0..1 -> (N,C,32,32): softened colour and gradients"""
    t = torch.from_numpy(np.ascontiguousarray(x)).float().permute(0, 3, 1, 2)
    t = torch.nn.functional.avg_pool2d(t, 4)
    gx = torch.nn.functional.pad(t[..., 1:] - t[..., :-1], (0, 1)) * GRADIENT
    gy = torch.nn.functional.pad(t[..., 1:, :] - t[..., :-1, :], (0, 0, 0, 1)) * GRADIENT
    return torch.cat([t, gx, gy], 1)


class Ruler:
    def __init__(self, rgba_list, rows, background=(255, 255, 255), mirror=True):
        pics, self.rows = [], []
        for d, r in zip(rgba_list, rows):
            p = common.flatten(np.asarray(d), background)
            pics.append(p)
            self.rows.append(r)
            if mirror:
                pics.append(p[:, ::-1])
                self.rows.append(r)
        parts = [thumbs(np.stack(pics[k:k + 256])) for k in range(0, len(pics), 256)]
        self.bank = torch.cat(parts)
        self.flat = self.bank.flatten(1)
        self.norm = self.flat.pow(2).sum(1)
        self.rows = np.array(self.rows)

    def distances(self, pictures):
        """(N,128,128,3) -> (N, number of distinct rows) and the rows, smallest over mirror and shifts"""
        q = thumbs(pictures)
        best = None
        for dy in (-1, 0, 1):
            for dx in (-1, 0, 1):
                s = torch.roll(q, (dy, dx), (2, 3)).flatten(1)
                d = s.pow(2).sum(1, keepdim=True) + self.norm[None] - 2 * s @ self.flat.T
                best = d if best is None else torch.minimum(best, d)
        best = best.numpy()
        names = np.unique(self.rows)
        out = np.full((len(best), names.max() + 1), np.inf, np.float32)
        for k, r in enumerate(self.rows):
            out[:, r] = np.minimum(out[:, r], best[:, k])
        return out

    def ranks(self, pictures, targets):
        """how many drawings lie clearly nearer than the named one (two names may share a drawing)"""
        d = self.distances(pictures)
        t = d[np.arange(len(d)), targets]
        return (d < (t * 0.999)[:, None] - 1e-3).sum(1), d


def figures(ranks):
    ranks = np.asarray(ranks)
    return {"top1": float((ranks < 1).mean()), "top5": float((ranks < 5).mean()), "n": len(ranks)}


def pairs_200(names, count=200, seed=2026):
    """seed k goes with the k-th name of a fixed shuffle: every run and every program judges the same pairs"""
    order = names[:]
    random.Random(seed).shuffle(order)
    return [(k, order[k % len(order)]) for k in range(count)]


class Painter:
    def __init__(self, model, adapters=None, guidance=5.0, steps=20):
        from diffusers import AutoencoderKL, UNet2DConditionModel
        from transformers import CLIPTextModel
        import models
        m = Path(model)
        self.dev = common.device()
        self.unet = UNet2DConditionModel.from_pretrained(m / "unet", torch_dtype=torch.float32).to(self.dev).eval()
        self.vae = AutoencoderKL.from_pretrained(m / "vae", torch_dtype=torch.float32).to(self.dev).eval()
        self.text = CLIPTextModel.from_pretrained(m / "text_encoder", torch_dtype=torch.float32).to(self.dev).eval()
        self.tok = models.load_tokenizer(m / "tokenizer")
        self.guidance, self.steps = guidance, steps

    @torch.no_grad()
    def draw(self, prompts, seeds, batch=20):
        import models
        from diffusion import noise_for, sample
        out = []
        u = self.text(models.tokens(self.tok, [""]).to(self.dev))[0]
        for k in range(0, len(prompts), batch):
            c = self.text(models.tokens(self.tok, prompts[k:k + batch]).to(self.dev))[0]
            noise = torch.cat([noise_for(s) for s in seeds[k:k + batch]]).to(self.dev)
            z = sample(self.unet, c, u, noise, self.steps, self.guidance)
            x = self.vae.decode(z / self.vae.config.scaling_factor).sample
            out.append((x / 2 + 0.5).clamp(0, 1).permute(0, 2, 3, 1).float().cpu().numpy())
        return np.concatenate(out)


def main():
    ap = argparse.ArgumentParser()
    ap.add_argument("--data", default="out/train/data")
    ap.add_argument("--model", default=str(common.HERE.parent / "models" / "mini"))
    ap.add_argument("--names", default=None)
    ap.add_argument("--pictures")
    ap.add_argument("--prompts")
    ap.add_argument("--write-prompts")
    ap.add_argument("--check", action="store_true")
    ap.add_argument("--count", type=int, default=200)
    ap.add_argument("--compositions", type=int, default=60, help="of each kind")
    ap.add_argument("--guidance", type=float, default=5.0)
    ap.add_argument("--steps", type=int, default=20)
    ap.add_argument("--sheet", default=None)
    ap.add_argument("--results", default=None, help="write figures as Markdown here")
    a = ap.parse_args()
    names = common.load_names(a.names)
    pairs = pairs_200(names, a.count)
    if a.write_prompts:
        Path(a.write_prompts).write_text("\n".join(n for _, n in pairs) + "\n")
        return
    common.device()
    index = common.load_index(a.data)
    row = {r["name"]: i for i, r in enumerate(index)}
    noto = common.load_drawings(a.data, "noto")
    ruler = Ruler(noto, range(len(index)))
    result = {}

    if a.check:
        rng = np.random.default_rng(0)
        pick = [row[n] for _, n in pairs]
        clean = np.stack([common.flatten(np.asarray(noto[i])) for i in pick])
        from scipy import ndimage as nd
        tests = {"the drawing itself": clean,
                 "mirrored": clean[:, :, ::-1],
                 "blurred (sigma 2)": nd.gaussian_filter(clean, (0, 2, 2, 0)),
                 "noise 0.15": np.clip(clean + 0.15 * rng.standard_normal(clean.shape), 0, 1).astype(np.float32),
                 "moved 3 pixels": np.roll(clean, (3, -3), (1, 2)),
                 "contrast 0.8": clean * 0.8 + 0.1,
                 "another drawing (should fail)": np.roll(clean, 1, 0)}
        for k, x in tests.items():
            result["check: " + k] = figures(ruler.ranks(x, pick)[0])
    elif a.pictures:
        from PIL import Image
        prompts = [p.strip() for p in Path(a.prompts).read_text().splitlines() if p.strip()] if a.prompts else [n for _, n in pairs]
        files = [Path(a.pictures) / f"{k:03d}.png" for k in range(len(prompts))]
        x = np.stack([np.asarray(Image.open(f).convert("RGB").resize((128, 128))).astype(np.float32) / 255 for f in files])
        r, d = ruler.ranks(x, [row[p] for p in prompts])
        result["names"] = figures(r)
        wrong = [(p, index[int(np.argmin(d[k]))]["name"]) for k, p in enumerate(prompts) if r[k] > 0]
        print("taken for another:", "; ".join(f"{p} -> {q}" for p, q in wrong[:40]))
    else:
        p = Painter(a.model, guidance=a.guidance, steps=a.steps)
        x = p.draw([n for _, n in pairs], [s for s, _ in pairs])
        r, d = ruler.ranks(x, [row[n] for _, n in pairs])
        result["names"] = figures(r)
        wrong = [(n, index[int(np.argmin(d[k]))]["name"]) for k, (_, n) in enumerate(pairs) if r[k] > 0]
        print("taken for another:", "; ".join(f"{n} -> {q}" for n, q in wrong[:60]))
        print(json.dumps(result), flush=True)
        sheet = list(x)
        rng = random.Random(7)
        n = a.compositions
        if n:
            # background: which colour are the corners; which drawing, on that colour
            todo = [(rng.choice(names), rng.choice(list(BACKGROUNDS))) for _ in range(n)]
            x = p.draw([common.background_prompt(*t) for t in todo], range(1000, 1000 + n))
            sheet += list(x)
            corner = np.concatenate([x[:, :6, :6].reshape(n, -1, 3), x[:, :6, -6:].reshape(n, -1, 3)], 1)
            corner = np.median(corner, 1)
            table = np.array(list(BACKGROUNDS.values())) / 255
            table = np.concatenate([table, [[1, 1, 1]]])
            got = np.argmin(((corner[:, None] - table) ** 2).sum(-1), 1)
            colour_ok = [list(BACKGROUNDS)[g] == c if g < len(BACKGROUNDS) else False for g, (_, c) in zip(got, todo)]
            ranks = np.zeros(n, int)
            for c in BACKGROUNDS:
                ks = [k for k, t in enumerate(todo) if t[1] == c]
                if ks:
                    ranks[ks] = Ruler(noto, range(len(index)), BACKGROUNDS[c]).ranks(x[ks], [row[todo[k][0]] for k in ks])[0]
            result["background: the colour is right"] = {"top1": float(np.mean(colour_ok)), "n": n}
            result["background: the drawing, among all on that colour"] = figures(ranks)
            # tint: the drawing among all drawings of that tint; the colour among all tints of that drawing
            # (only things that have colour to change: the tints of a zebra are alike)
            todo = [(rng.choice(names), rng.choice(list(TINTS))) for _ in range(n)]
            x = p.draw([common.tint_prompt(c, m) for m, c in todo], range(2000, 2000 + n))
            sheet += list(x)
            ranks, colour_ok = np.zeros(n, int), []
            for c, h in TINTS.items():
                ks = [k for k, t in enumerate(todo) if t[1] == c]
                if ks:
                    bank = Ruler([common.tint(np.asarray(i), h) for i in noto], range(len(index)))
                    ranks[ks] = bank.ranks(x[ks], [row[todo[k][0]] for k in ks])[0]
            for k, (m, c) in enumerate(todo):
                bank = Ruler([common.tint(np.asarray(noto[row[m]]), h) for h in TINTS.values()], range(len(TINTS)))
                d = bank.distances(x[k:k + 1])[0]
                colour_ok.append(list(TINTS)[int(np.argmin(d))] == c)
            result["tint: the colour is right"] = {"top1": float(np.mean(colour_ok)), "n": n}
            result["tint: the drawing, among all of that tint"] = figures(ranks)
            # pairs: each half among all drawings
            todo = [rng.sample(names, 2) for _ in range(n)]
            x = p.draw([common.pair_prompt(*t) for t in todo], range(3000, 3000 + n))
            sheet += list(x)
            blank = np.zeros((128, 128, 4), np.uint8)
            res = {}
            for side in (0, 1):
                bank = Ruler([common.pair(*((np.asarray(i), blank) if side == 0 else (blank, np.asarray(i)))) for i in noto],
                             range(len(index)), mirror=False)
                y = x.copy()
                y[:, :, 66:] = 1 if side == 0 else y[:, :, 66:]
                if side == 1:
                    y[:, :, :62] = 1
                res[side] = bank.ranks(y, [row[t[side]] for t in todo])[0]
            result["pair: the left one"] = figures(res[0])
            result["pair: the right one"] = figures(res[1])
            result["pair: both"] = figures(np.maximum(res[0], res[1]))
        if a.sheet:
            common.save_sheet([i[::1, ::1] for i in sheet], a.sheet, 20)
    for k, v in result.items():
        print(f"{k}: " + ", ".join(f"{q} {w:.1%}" if q != "n" else f"of {w}" for q, w in v.items()))
    if a.results:
        lines = ["| what | nearest | within five | of |", "|---|---|---|---|"]
        for k, v in result.items():
            lines.append(f"| {k} | {v['top1']:.1%} | {v['top5']:.1%} | {v['n']} |" if "top5" in v else f"| {k} | {v['top1']:.1%} | - | {v['n']} |")
        Path(a.results).write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
