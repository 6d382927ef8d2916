"""Train the U-Net and the text encoder together on cached latents.

OMP_NUM_THREADS=1 torchrun --nproc_per_node 2 train_unet.py --cache out/train/cache/noto.pt --out out/train/unet --minutes 60
On a GPU: python train_unet.py --batch 256
"""
import argparse
import math
import random
import time
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F

import common
import models
from diffusion import ALPHAS, noise_for, noise_levels, sample, weights

EXTRA = ["pixel art", "line art", "neon", "watercolour", "at night", "sketch", "halftone", "sepia", "blueprint", "twemoji style",
         "fluent style", "3d style", "photo", "cute", "drawing"]
SHARE = {"plain": 0.82, "tint": 0.06, "background": 0.06, "pair": 0.06}


class Compact(torch.nn.Module):
    """Only the embedding rows that the prompts use are trained; the rest of the 49,408 wait."""

    def __init__(self, embedding, used):
        super().__init__()
        self.used = used
        self.where = torch.full((embedding.num_embeddings,), 0, dtype=torch.long)
        self.where[used] = torch.arange(len(used))
        self.weight = torch.nn.Parameter(embedding.weight.detach()[used].clone())

    def forward(self, ids):
        return F.embedding(self.where.to(ids.device)[ids], self.weight)


class Feed:
    def __init__(self, cache, tokenizer, seed, hand_share=None, drop=0.1, extra=0.06):
        c = torch.load(cache, weights_only=False)
        self.z, self.drop, self.extra = c["latents"], drop, extra
        self.rng = random.Random(seed)
        self.by_kind = {}
        names = set(common.load_names())
        for i, (k, args) in enumerate(zip(c["kinds"], c["args"])):
            if args[0] in names and (k != "pair" or args[1] in names):
                self.by_kind.setdefault(k, []).append(i)
        # of the plain ones: one in ten mirrored
        self.upright = [i for i in self.by_kind["plain"] if not c["args"][i][1]]
        self.flipped = [i for i in self.by_kind["plain"] if c["args"][i][1]]
        share = hand_share or SHARE
        self.kinds = [k for k in share if k in self.by_kind]
        self.weights = [share[k] for k in self.kinds]
        self.prompts = c["prompts"]
        self.tokenizer = tokenizer
        self.cached = {}
        self.order = []

    def ids(self, text):
        if text not in self.cached:
            self.cached[text] = models.tokens(self.tokenizer, [text])[0]
        return self.cached[text]

    def all_prompts(self):
        out = [""]
        for i, p in enumerate(self.prompts):
            out += p
        return out + [f"{self.prompts[i][0]}, {e}" for i in self.upright[:3] for e in EXTRA]

    def batch(self, n):
        r, index, ids = self.rng, [], []
        for _ in range(n):
            k = r.choices(self.kinds, self.weights)[0]
            if k == "plain":
                if not self.order:  # every name equally often
                    self.order = self.upright * 9 + self.flipped
                    r.shuffle(self.order)
                i = self.order.pop()
            else:
                i = r.choice(self.by_kind[k])
            p = self.prompts[i]
            text = p[0] if len(p) == 1 else r.choices(p, (5, 3.5, 1.5))[0]
            if k == "plain" and r.random() < self.extra:
                text = f"{text}, {r.choice(EXTRA)}"
            if r.random() < self.drop:
                text = ""
            index.append(i)
            ids.append(self.ids(text))
        return self.z[index].float(), torch.stack(ids)


def encode(text, ids):
    """Prompts repeat in a batch: encode each once."""
    uniq, back = torch.unique(ids, dim=0, return_inverse=True)
    return text(uniq)[0][back]


def main():
    ap = argparse.ArgumentParser()
    ap.add_argument("--cache", default="out/train/cache/noto.pt")
    ap.add_argument("--out", default="out/train/unet")
    ap.add_argument("--minutes", type=float, default=60)
    ap.add_argument("--batch", type=int, default=32, help="per process")
    ap.add_argument("--lr", type=float, default=1e-3)
    ap.add_argument("--meet", type=int, default=8, help="steps between averaging the processes' weights")
    ap.add_argument("--warmup", type=int, default=150)
    ap.add_argument("--ema", type=float, default=0.995)
    ap.add_argument("--seed", type=int, default=11)
    ap.add_argument("--sheet-every", type=float, default=15, help="minutes")
    ap.add_argument("--vae", default="out/train/vae/vae")
    ap.add_argument("--init", help="a model folder to go on from, such as ../models/mini (only its weights are known, not the optimiser's state)")
    ap.add_argument("--compile", action="store_true", help="torch.compile the U-Net (needs g++)")
    a = ap.parse_args()
    dev, out = common.device(), common.out_dir(a.out)
    rank, world = common.start_workers()
    tok = models.load_tokenizer(out.parent / f"tokenizer{rank}")
    torch.manual_seed(a.seed)
    unet, text = models.build_unet(), models.build_text_encoder()
    with torch.no_grad():  # start as the identity: faster at first
        unet.conv_out.weight.zero_()
        for n, m in unet.named_modules():
            if n.endswith(("conv2", "proj_out")):
                m.weight.mul_(0.1)
    if a.init:
        models.load_weights(unet, Path(a.init) / "unet")
        models.load_weights(text, Path(a.init) / "text_encoder")
    feed = Feed(a.cache, tok, a.seed + 1000 * rank)
    inner = getattr(text, "text_model", text)
    whole = inner.embeddings.token_embedding
    used = torch.unique(models.tokens(tok, feed.all_prompts()))
    inner.embeddings.token_embedding = Compact(whole, used)
    unet.to(dev), text.to(dev)
    unet.to(memory_format=torch.channels_last)
    params = list(unet.parameters()) + list(text.parameters())
    words = [inner.embeddings.token_embedding.weight]  # a word is seldom seen: it moves faster
    speak = [p for p in text.parameters() if p is not words[0]]
    groups = [dict(params=list(unet.parameters()), rate=1.0), dict(params=speak, rate=1.5), dict(params=words, rate=3.0)]
    opt = torch.optim.AdamW(groups, lr=a.lr, betas=(0.9, 0.98), weight_decay=1e-4, fused=True)
    ema = [p.detach().clone() for p in params]
    step, spent = 0, 0.0
    state_path = out / "state.pt"
    if state_path.exists():
        s = torch.load(state_path, map_location=dev, weights_only=False)
        with torch.no_grad():
            for p, v, e, w in zip(params, s["params"], ema, s["ema"]):
                p.copy_(v)
                e.copy_(w)
        if s.get("opt") and len(s["opt"]["param_groups"]) == len(groups):
            opt.load_state_dict(s["opt"])
        step, spent = s["step"], s["spent"]
        print("resumed at", step, spent, flush=True)
    first = step
    torch.manual_seed(a.seed + step + 1000 * rank)
    feed.rng.seed(a.seed + step + 1000 * rank)
    total, start = a.minutes * 60, time.time() - spent
    alphas = ALPHAS.to(dev)
    last_save = last_sheet = time.time()
    losses = []

    def save():
        torch.save(dict(params=[p.detach() for p in params], ema=ema, opt=opt.state_dict(), step=step, spent=time.time() - start),
                   str(state_path) + ".tmp")
        Path(str(state_path) + ".tmp").replace(state_path)

    def swap():
        with torch.no_grad():
            for p, e in zip(params, ema):
                t = p.clone()
                p.copy_(e)
                e.copy_(t)

    def export():
        """EMA weights as plain state dicts with the whole vocabulary."""
        swap()
        emb = inner.embeddings.token_embedding
        full = whole.weight.detach().clone()
        full[used] = emb.weight.detach().cpu()
        t = {k: v.detach().cpu().clone() for k, v in text.state_dict().items() if "token_embedding" not in k}
        t[[k for k in t if "position_embedding" in k][0].replace("position", "token")] = full
        u = {k: v.detach().cpu().clone() for k, v in unet.state_dict().items()}
        swap()
        torch.save(dict(unet=u, text=t, step=step), str(out / "weights.pt") + ".tmp")
        (out / "weights.pt.tmp").replace(out / "weights.pt")

    def sheet():
        from diffusers import AutoencoderKL
        vae = AutoencoderKL.from_pretrained(a.vae).to(dev).eval()
        names = common.load_names()
        pick = names[:: max(1, len(names) // 32)][:32]
        prompts = pick + ["a blue apple", "a cat face, neon", "a green cat face", "a cat face on a pink background",
                          "a rocket and a crescent moon", "a dog face and a pizza", "a fox on a blue background", "a purple frog"]
        swap()
        with torch.no_grad(), torch.autocast(dev.type, torch.bfloat16):
            c = text(models.tokens(tok, prompts).to(dev))[0].float()
            u = text(models.tokens(tok, [""]).to(dev))[0].float()
            noise = torch.cat([noise_for(k) for k in range(len(prompts))]).to(dev)
            z = sample(unet, c, u, noise)
            x = vae.decode(z / vae.config.scaling_factor).sample.float()
        swap()
        common.save_sheet([i.permute(1, 2, 0).cpu().numpy() / 2 + 0.5 for i in x], out / f"sheet_{step:06d}.png", 8)

    t_run = common.agree((time.time() - start) / total, world)
    while t_run < 1:
        x, ids = feed.batch(a.batch)
        x, ids = x.to(dev), ids.to(dev)
        lr = float(a.lr * min(1, (step + 1) / a.warmup, (step - first + 1) / 40) * (0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * t_run))))
        for g in opt.param_groups:
            g["lr"] = lr * g["rate"]
        t = noise_levels(len(x)).to(dev)
        noise = torch.randn_like(x)
        at = alphas[t].view(-1, 1, 1, 1)
        noisy = (at.sqrt() * x + (1 - at).sqrt() * noise).contiguous(memory_format=torch.channels_last)
        # float32 is faster than bfloat16 on a CPU at these widths
        with torch.autocast(dev.type, torch.bfloat16, enabled=dev.type == "cuda"):
            e = unet(noisy, t, encode(text, ids)).sample
        l = (weights(at) * (e.float() - noise).pow(2)).mean()
        l.backward()
        torch.nn.utils.clip_grad_norm_(params, 1.0)
        opt.step()
        opt.zero_grad(set_to_none=True)
        step += 1
        if step % a.meet == 0:  # processes walk alone and meet now and then: nobody waits at every step
            common.average(params, world)
            t_run = common.agree((time.time() - start) / total, world)
        torch._foreach_lerp_(ema, [p.detach() for p in params], 1 - min(a.ema, (1 + step) / (10 + step)))
        losses.append(float(l.detach()))
        if rank == 0:
            if step % 50 == 0:
                print(f"step {step} t {t_run:.4f} lr {lr:.2e} loss {np.mean(losses):.4f} {time.time() - start:.0f}s", flush=True)
                losses = []
            if time.time() - last_save > 120:
                save()
                export()
                last_save = time.time()
            if time.time() - last_sheet > a.sheet_every * 60:
                sheet()
                last_sheet = time.time()
    if rank == 0:
        save()
        export()
        sheet()
        print("done", step)


if __name__ == "__main__":
    main()
