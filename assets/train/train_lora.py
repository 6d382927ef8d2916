"""Train the adapters of adapters.json (peft LoRA) and write them as kohya or peft files with a catalogue.

OMP_NUM_THREADS=1 python train_lora.py --part 0/2 --minutes 2.5 &  OMP_NUM_THREADS=1 python train_lora.py --part 1/2 --minutes 2.5
Adapters that exist are skipped, so a stopped run goes on. --only a,b for some; --catalogue writes catalogue.json alone.
"""
import argparse
import json
import math
import random
import time
from pathlib import Path

import numpy as np
import torch

import common
import models
from cache import draw
from common import BACKGROUNDS, TINTS
from diffusion import ALPHAS, noise_for, sample
from lora_io import collect, save_kohya, save_peft
from train_finetune import Remember, diffusion_loss, load_base

TARGETS = {
    "attention": ["to_q", "to_k", "to_v", "to_out.0"],
    "conv": ["conv1", "conv2", "to_v", "to_out.0"],
    "values": ["to_v", "to_out.0"],
}


def adapt(unet, text, job):
    from peft import LoraConfig, get_peft_model
    unet.requires_grad_(False)
    u = get_peft_model(unet, LoraConfig(r=job["rank"], lora_alpha=job["alpha"], target_modules=TARGETS[job["targets"]]))
    t = get_peft_model(text, LoraConfig(r=job["rank"], lora_alpha=job["alpha"], target_modules=["q_proj", "k_proj", "v_proj", "out_proj"])) if job["text"] else None
    return u, t


def pictures(job, a, rng):
    """[(picture, prompts)] of this adapter"""
    index = common.load_index(a.data)
    hand = job.get("hand", "noto")
    row = {r["name"]: i for i, r in enumerate(index) if hand in r["hands"]}
    art = common.load_drawings(a.data, hand)
    names = [n for n in common.load_names() if n in row]
    get = lambda n: np.asarray(art[row[n]])  # noqa: E731
    out = []
    if job["kind"] == "style":
        from styles import apply_style
        for n in rng.sample(names, min(len(names), a.style_names)):
            d = get(n)
            p = apply_style(job["style"], d) if job.get("style") else common.flatten(d)
            out.append((p, [f"{n}, {job['trigger']}", f"{common.article(n)}, {job['trigger']}", n], 1.0))
        return out
    for n in job["names"]:
        todo = [("plain", (n, False), [n, common.article(n), f"an emoji of {common.article(n)}"], 14.0),
                ("plain", (n, True), [n, common.article(n), f"an emoji of {common.article(n)}"], 5.0)]
        todo += [("tint", (n, c), [common.tint_prompt(c, n)], 1.0) for c in TINTS]
        todo += [("background", (n, c), [common.background_prompt(n, c)], 1.0) for c in BACKGROUNDS]
        for other in rng.sample(names, 12):
            todo += [("pair", (n, other), [common.pair_prompt(n, other)], 0.5), ("pair", (other, n), [common.pair_prompt(other, n)], 0.5)]
        for kind, args, prompts, w in todo:
            d, bg = draw(kind, args, get)
            out.append((common.flatten(d, bg), prompts, w))
        for other in rng.sample(names, 60):  # what it must not forget
            out.append((common.flatten(get(other)), [other, common.article(other)], 0.3))
    return out


def train(job, a):
    from diffusers import AutoencoderKL
    dev = common.device()
    torch.manual_seed(a.seed)
    rng = random.Random(a.seed)
    vae = AutoencoderKL.from_pretrained(a.vae).to(dev).eval()
    pics = pictures(job, a, rng)
    z = []
    with torch.no_grad(), torch.autocast(dev.type, torch.bfloat16):
        for k in range(0, len(pics), 16):
            x = torch.from_numpy(np.ascontiguousarray(np.stack([p[0] for p in pics[k:k + 16]]))).float().permute(0, 3, 1, 2).to(dev) * 2 - 1
            z.append(vae.encode(x).latent_dist.mode().float() * vae.config.scaling_factor)
    z = torch.cat(z)
    unet, text, _ = load_base(a.weights, dev)
    unet, tuned = adapt(unet, text, job)
    tok = models.load_tokenizer(Path(a.work) / f"tokenizer-{job['name']}")
    say, alphas = Remember(text), ALPHAS.to(dev)
    params = [p for m in (unet, tuned) if m is not None for p in m.parameters() if p.requires_grad]
    opt = torch.optim.AdamW(params, lr=a.lr, betas=(0.9, 0.98), weight_decay=1e-4)
    weights = [p[2] for p in pics]
    start, total, step, losses = time.time(), a.minutes * 60, 0, []
    ids_of = {}
    while (t := step / a.steps if a.steps else (time.time() - start) / total) < 1:
        for g in opt.param_groups:
            g["lr"] = float(a.lr * min(1, (step + 1) / 15) * (0.03 + 0.485 * (1 + math.cos(math.pi * t))))
        pick = rng.choices(range(len(pics)), weights, k=a.batch)
        prompts = ["" if rng.random() < 0.06 and job["kind"] == "style" else rng.choice(pics[i][1]) for i in pick]
        for p in prompts:
            if p not in ids_of:
                ids_of[p] = models.tokens(tok, [p])[0]
        ids = torch.stack([ids_of[p] for p in prompts]).to(dev)
        cond = say(ids).to(dev) if tuned is None else tuned(ids)[0]
        l = diffusion_loss(unet, z[pick], cond, alphas)
        l.backward()
        torch.nn.utils.clip_grad_norm_(params, 1.0)
        opt.step()
        opt.zero_grad(set_to_none=True)
        step += 1
        losses.append(float(l.detach()))
        if step % 50 == 0:
            print(job["name"], f"step {step} t {t:.2f} loss {np.mean(losses[-50:]):.4f}", flush=True)
    out = common.out_dir(a.out)
    u, t5 = collect(unet), collect(tuned) if tuned is not None else None
    path = out / f"{job['name']}.safetensors"
    if job["format"] == "kohya":
        save_kohya(path, u, t5, job["rank"], job["alpha"], job["name"], {job["trigger"]: len(pics)})
    else:
        save_peft(path, u, t5, job["rank"], job["alpha"])
    path.chmod(0o644)
    print(job["name"], "done", step, "steps", path.stat().st_size, "bytes", f"loss {np.mean(losses[-50:]):.4f}", flush=True)
    if a.no_sheet:
        return
    with torch.no_grad():
        prompts = examples(job)
        enc = tuned if tuned is not None else text
        c, un = enc(models.tokens(tok, prompts).to(dev))[0], enc(models.tokens(tok, [""]).to(dev))[0]
        zz = sample(unet, c, un, torch.cat([noise_for(k) for k in range(len(prompts))]).to(dev))
        x = vae.decode(zz / vae.config.scaling_factor).sample
    common.save_sheet([i.permute(1, 2, 0).cpu().numpy() / 2 + 0.5 for i in x], Path(a.work) / f"{job['name']}.png", 8)


def examples(job):
    if job["kind"] == "style":
        return [f"{n}, {job['trigger']}" for n in ("cat face", "red apple", "rocket", "hamburger", "rose", "penguin", "automobile", "house")]
    n = job["names"][0]
    return [n, common.article(n), common.background_prompt(n, "pink"), common.tint_prompt("blue", n), common.pair_prompt(n, "rocket"),
            common.pair_prompt("red apple", n), "cat face", "rocket"]


def catalogue(jobs, out):
    rows = []
    for j in jobs:
        if (Path(out) / f"{j['name']}.safetensors").exists():
            rows.append({k: j[k] for k in ("name", "title", "kind", "format", "weight", "description")} |
                        {"file": f"{j['name']}.safetensors", "triggers": [j["trigger"]], "examples": examples(j)[:3]})
    (Path(out) / "catalogue.json").write_text(json.dumps(rows, indent=1) + "\n")


def main():
    ap = argparse.ArgumentParser()
    ap.add_argument("--data", default="out/train/data")
    ap.add_argument("--vae", default="out/train/vae/vae")
    ap.add_argument("--weights", default="out/train/unet/weights.pt")
    ap.add_argument("--out", default="out/train/adapters")
    ap.add_argument("--work", default="out/train/lora")
    ap.add_argument("--jobs", default=str(common.HERE / "adapters.json"))
    ap.add_argument("--part", default="0/1")
    ap.add_argument("--only")
    ap.add_argument("--no-sheet", action="store_true")
    ap.add_argument("--backwards", action="store_true")
    ap.add_argument("--minutes", type=float, default=2.5)
    ap.add_argument("--steps", type=int, default=0, help="this many steps instead of --minutes")
    ap.add_argument("--style-names", type=int, default=400, help="at most so many names teach a style")
    ap.add_argument("--batch", type=int, default=24)
    ap.add_argument("--lr", type=float, default=3e-3)
    ap.add_argument("--seed", type=int, default=41)
    ap.add_argument("--catalogue", action="store_true")
    a = ap.parse_args()
    common.out_dir(a.work)
    jobs = json.loads(Path(a.jobs).read_text())
    if not a.catalogue:
        part, parts = map(int, a.part.split("/"))
        for k, job in list(enumerate(jobs))[::-1 if a.backwards else 1]:
            if k % parts != part or (a.only and job["name"] not in a.only.split(",")):
                continue
            if (Path(a.out) / f"{job['name']}.safetensors").exists():
                continue
            try:  # two runs may share one list
                (Path(a.work) / f"{job['name']}.lock").touch(exist_ok=False)
            except FileExistsError:
                continue
            try:
                train(job, a)
            finally:
                (Path(a.work) / f"{job['name']}.lock").unlink()
    catalogue(jobs, a.out)


if __name__ == "__main__":
    main()
