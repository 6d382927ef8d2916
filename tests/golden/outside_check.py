"""Holds `admix render` against diffusers on pipelines that no fixture has: each seed draws a new configuration.

    python tests/golden/outside_check.py --admix PATH --seeds 0-9 [--img2img | --xl] [--keep FOLDER] [--only-oracle]

Drawn per seed: levels, widths, layers, heads (one number or one per level), groups, cross-attention width, linear or
convolution projection, transformers' or hubs' text-encoder keys, VAE depth and widths, picture size, eps or v, step
spacing, sampler, schedule, steps, CFG, f16 or f32 files, folder or single ldm file, torch's own initialisation or
synthetic weights, embeddings given or prompts through a tokenizer with a clip-skip. Final latents must agree to 1e-3
(relative L2), pictures to 45 dB. A configuration on which torch's own f32 and f64 differ by more than 5e-5 says
nothing and is reported as such. Exit 0 when all that was compared agrees.

With --xl the pipelines are SDXL's: drawn are also depths per level, pooled width and width of the size embeddings, the
two text encoders, a shape of the micro-conditioning, shards and variants of the files, prompts through two tokenizers.
"""

import argparse
import json
import pathlib
import random
import shutil
import subprocess
import sys
import tempfile
import warnings

import numpy as np
import torch
from diffusers import DDIMScheduler, StableDiffusionPipeline
from PIL import Image

import configs
import make_families
import make_ldm
import make_models
import oracle
import store
import synth
import tiny_tokenizer

LATENTS, PSNR, CONDITION = 1e-3, 45.0, 5e-5


def draw(seed: int) -> dict:
    """A configuration as plain data."""
    r = random.Random(f"admix outside check {seed}")
    c = {"seed": seed, "source": r.choice(["folder", "folder", "ldm"])}
    if c["source"] == "ldm":
        # What a single file does not say is SD1's: 8 heads, groups of 32, two layers, four levels.
        c |= {"widths": r.choice([(32, 64, 96, 96), (32, 32, 64, 64), (64, 64, 96, 128)]), "layers": 2, "heads": 8}
        c |= {"groups": 32, "linear": False, "vae": r.choice([(32, 32, 64, 64), (32, 64, 64, 96)]), "vae_layers": 2}
        c |= {"vae_groups": 32, "spacing": None, "v": False, "f": 8, "text_layers": 12, "hidden": r.choice([32, 48])}
    else:
        groups = r.choice([2, 4, 8, 16])
        levels = r.choice([2, 3, 3, 4])
        widths = tuple(sorted(groups * r.randint(max(1, 16 // groups), max(2, 112 // groups)) for _ in range(levels)))
        each = [r.choice([h for h in (1, 2, 3, 4, 5, 6, 8) if w % h == 0]) for w in widths]
        common = [h for h in (1, 2, 4, 8) if all(w % h == 0 for w in widths)]
        depth = r.choice([2, 3, 4, 4])
        vae_groups = r.choice([2, 4, 8])
        c |= {"widths": widths, "groups": groups, "layers": r.choice([1, 1, 2]), "linear": r.random() < 0.5}
        c |= {"heads": each if r.random() < 0.5 else r.choice(common), "f": 2 ** (depth - 1)}
        c |= {"vae": tuple(sorted(vae_groups * r.randint(2, 6) for _ in range(depth))), "vae_layers": r.choice([1, 2])}
        c |= {"vae_groups": vae_groups, "spacing": r.choice([None, "leading", "trailing", "linspace"])}
        c |= {"v": r.random() < 0.4, "text_layers": r.choice([2, 3]), "hidden": r.choice([24, 32, 40, 64])}
    most = {2: 48, 4: 80, 8: 136}[c["f"]]
    c |= {"width": 8 * r.randint(4, most // 8), "height": 8 * r.randint(4, most // 8)}
    c |= {"sampler": r.choice(list(oracle.SAMPLERS)), "steps": r.randint(6, 20), "cfg": r.choice([1.0, 4.0, 7.5])}
    c |= {"dtype": r.choice(["f16", "f32"]), "act": r.choice(["quick_gelu", "gelu"]) if c["source"] == "folder" else "quick_gelu"}
    c |= {"init": r.choice(["torch", "synthetic"]), "prefix": r.choice(["text_model.", ""])}
    c |= {"prompts": r.random() < 0.4 and c["source"] == "folder", "clip_skip": r.choice([1, 2])}
    c |= {"scaling": r.choice([0.18215, 0.13025, 0.3]) if c["source"] == "folder" else 0.18215, "strength": r.choice([0.4, 0.75])}
    return c


def draw_xl(seed: int) -> dict:
    """An SDXL configuration as plain data."""
    r = random.Random(f"admix outside check xl {seed}")
    c = {"seed": seed, "xl": True, "source": r.choice(["folder", "folder", "ldm"]), "layers": r.choice([1, 2])}
    c |= {"pooled": r.choice([18, 32, 40]), "size_dim": r.choice([4, 8, 10]), "hidden": 32, "hidden_2": r.choice([48, 64])}
    if c["source"] == "ldm":
        # What shapes do not say is as in SDXL: heads of size 64, groups of 32; encoders too narrow for that have 8 and 12 or 1.
        c |= {"widths": r.choice([(32, 64, 128), (32, 128, 128)]), "groups": 32, "vae": (32, 32, 64, 64), "vae_groups": 32}
        c |= {"heads": [8, c["widths"][1] // 64, c["widths"][2] // 64], "vae_layers": 2, "scaling": 0.13025, "v": False}
        c |= {"text_heads": 8, "text_heads_2": 12 if c["hidden_2"] == 48 else 1, "spacing": "leading", "variant": None, "shards": False}
    else:
        groups = r.choice([2, 4, 8])
        widths = tuple(sorted(groups * r.randint(max(1, 16 // groups), 64 // groups) for _ in range(r.choice([2, 3, 4]))))
        c |= {"widths": widths, "groups": groups, "heads": [r.choice([h for h in (1, 2, 4) if w % h == 0]) for w in widths]}
        c |= {"vae": tuple(sorted(4 * r.randint(2, 6) for _ in range(4))), "vae_groups": 4, "vae_layers": r.choice([1, 2])}
        c |= {"scaling": r.choice([0.13025, 0.3]), "v": r.random() < 0.3, "spacing": r.choice(["leading", "trailing"])}
        c |= {"text_heads": 4, "text_heads_2": 4, "variant": r.choice([None, "fp16"]), "shards": r.random() < 0.3}
    c |= {"depths": tuple(r.randint(1, 3) for _ in c["widths"]), "text_layers": (r.randint(2, 4), r.randint(2, 4))}
    c |= {"width": 8 * r.randint(4, 14), "height": 8 * r.randint(4, 14), "steps": r.randint(6, 20), "cfg": r.choice([1.0, 5.0, 7.5])}
    c |= {"sampler": r.choice(["euler_normal", "euler_karras", "dpmpp_2m_karras"]), "dtype": r.choice(["f16", "f32"])}
    c |= {"prompts": r.random() < 0.5 and c["source"] == "folder", "clip_skip": r.choice([2, 3]), "f": 8}
    odd = lambda: (r.randint(20, 200), r.randint(20, 200))
    c["sizes"] = {"original_size": odd(), "crops_coords_top_left": odd(), "target_size": odd()} if r.random() < 0.5 else {}
    return c


def build_xl(c, folder: pathlib.Path):
    """Writes an SDXL pipeline as `admix` gets it and returns (path, pipeline in f32)."""
    torch.manual_seed(c["seed"])
    lat = max(c["height"], c["width"]) // 8
    widths, cross = c["widths"], c["hidden"] + c["hidden_2"]
    spelled = {
        "unet": lambda: configs.xl_unet(
            widths, c["layers"], c["depths"], cross, c["heads"], c["groups"], lat, c["pooled"], c["size_dim"]
        ),
        "vae": lambda: configs.vae(c["vae"], c["vae_layers"], c["vae_groups"], 8 * lat, c["scaling"]),
        "text": lambda: configs.text(c["hidden"], 50, c["text_layers"][0], c["text_heads"]),
        "text_2": lambda: configs.text(
            c["hidden_2"], 70, c["text_layers"][1], c["text_heads_2"], act="gelu", pad=0, projection=c["pooled"]
        ),
        "scheduler": lambda: DDIMScheduler(
            **configs.BETAS,
            clip_sample=False,
            set_alpha_to_one=False,
            steps_offset=1,
            prediction_type="v_prediction" if c["v"] else "epsilon",
            timestep_spacing=c["spacing"],
        ),
    }
    dtype = torch.float16 if c["dtype"] == "f16" else torch.float32
    pipe, _ = make_families.build(f"outside_xl{c['seed']}", spelled, dtype)
    make_families.save_folder(pipe, folder, dtype)
    pipe.scheduler = DDIMScheduler.from_pretrained(folder, subfolder="scheduler")
    if c["prompts"]:
        tiny_tokenizer.write(folder / "tokenizer", "<|endoftext|>")
        tiny_tokenizer.write(folder / "tokenizer_2", "!")
    if c["source"] == "ldm":
        path = folder.parent / "single.safetensors"
        store.save(path, make_ldm.single_file(pipe, dtype))
        return path, pipe
    if c["shards"] or c["variant"]:
        pipe.unet.to(dtype).save_pretrained(
            folder / "unet", variant=c["variant"], max_shard_size="200KB" if c["shards"] else "5GB"
        )
        pipe.unet.float()
        (folder / "unet" / "diffusion_pytorch_model.safetensors").unlink(missing_ok=not c["variant"])
    return folder, pipe


def one_xl(c, args, tmp: pathlib.Path) -> tuple[str, str]:
    """As `one`, for SDXL."""
    model, pipe = build_xl(c, tmp / "model")
    h, w = c["height"] // 8, c["width"] // 8
    noise = synth.normal(f"outside_xl{c['seed']}/noise", (1, 4, h, w))
    prompts = ("a red apple and a cat, sharp focus", "broken clock") if c["prompts"] else ("given", "")
    if c["prompts"]:
        ids = []
        for part in ("tokenizer", "tokenizer_2"):
            tokenizer = tiny_tokenizer.load(tmp / "model" / part)
            rows = tokenizer(list(prompts), padding="max_length", max_length=77, truncation=True).input_ids
            ids.append(torch.tensor(rows))
    else:
        ids = [oracle.token_ids(f"outside_xl{c['seed']}", 1000, (12, 0), pad, 998, 999) for pad in (999, 0)]
    states, pooled = make_families.xl_embeds(pipe, *ids, c["clip_skip"])
    embeds = {"cond": states[0:1], "uncond": states[1:2], "pooled_cond": pooled[0:1], "pooled_uncond": pooled[1:2]}
    embeds = {k: v.contiguous() for k, v in embeds.items()}

    def run(p, d):
        inputs = {k: d(v) for k, v in embeds.items()}
        return make_families.sample(p, c["sampler"], d(noise), inputs, c["steps"], c["cfg"], **c["sizes"])

    want, exact = run(pipe, lambda x: x), run(make_families.doubled(pipe), lambda x: x.double())
    own = oracle.rel(want, exact)
    if not torch.isfinite(want).all() or own > CONDITION:
        return "skip", f"torch f32 against f64 {own:.1e}"
    picture = np.asarray(oracle.picture(pipe, want))
    if args.only_oracle:
        return "ok", f"std {float(want.std()):.2f}, torch f32 against f64 {own:.1e}, picture std {picture.std():.1f}"
    store.save(tmp / "embeds.safetensors", embeds)
    more = ["--clip-skip", c["clip_skip"]] if c["prompts"] else ["--embeds", tmp / "embeds.safetensors"]
    for knob, (top, left) in c["sizes"].items():
        more += ["--set", f"{'crop' if knob.startswith('crop') else knob}={left}x{top}"]
    return compare(c, args, tmp, model, prompts, noise, want, picture, own, more)


def scheduler(c):
    """SD1's own (the file is thinned out later) or a DDIM config that spells everything out."""
    if c["spacing"] is None and not c["v"]:
        return configs.pndm()
    return DDIMScheduler(
        **configs.BETAS,
        clip_sample=False,
        set_alpha_to_one=False,
        steps_offset=1,
        prediction_type="v_prediction" if c["v"] else "epsilon",
        timestep_spacing=c["spacing"] or "leading",
    )


def build(c, folder: pathlib.Path):
    """Writes the model as `admix` gets it and returns (path, pipeline in f32)."""
    torch.manual_seed(c["seed"])
    lat = (c["height"] // c["f"], c["width"] // c["f"])
    text_heads = 4 if c["hidden"] % 4 == 0 else 2
    parts = {
        "unet": configs.unet(c["widths"], c["layers"], c["hidden"], c["heads"], c["groups"], max(lat), c["linear"]).eval(),
        "vae": configs.vae(c["vae"], c["vae_layers"], c["vae_groups"], max(c["width"], c["height"]), c["scaling"]).eval(),
        "text_encoder": configs.text(c["hidden"], 2 * c["hidden"] + 5, c["text_layers"], text_heads, c["act"]),
    }
    dtype = torch.float16 if c["dtype"] == "f16" else torch.float32
    for part, module in parts.items():
        if c["init"] == "synthetic":
            prefix = "text_model." if part == "text_encoder" else ""
            synth.fill(module, part, f"outside{c['seed']}", dtype, prefix)
        else:
            with torch.no_grad():
                for p in module.parameters():
                    p.copy_(p.to(dtype).float())
    pipe = StableDiffusionPipeline(
        **parts,
        tokenizer=None,
        scheduler=scheduler(c),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
    oracle.quiet(pipe).save_pretrained(folder)
    for part, file in (("unet", "diffusion_pytorch_model"), ("vae", "diffusion_pytorch_model"), ("text_encoder", "model")):
        prefix = c["prefix"] if part == "text_encoder" else ""
        store.rewrite(folder / part / f"{file}.safetensors", dtype, lambda k, p=prefix: p + k)
    if c["spacing"] is None and not c["v"]:
        make_models.thin_scheduler(folder)
    if c["prompts"]:
        make_models.save_tokenizer("files", folder)
    pipe = make_models.load_folder(folder)
    if c["source"] == "folder":
        return folder, pipe
    path = folder.parent / "single.safetensors"
    store.save(path, make_ldm.single_file(pipe, dtype))
    return path, pipe


def psnr(a: np.ndarray, b: np.ndarray) -> float:
    mse = float(((a.astype(np.float64) - b.astype(np.float64)) ** 2).mean())
    return float("inf") if mse == 0 else 10 * np.log10(255.0**2 / mse)


def one(c, args, tmp: pathlib.Path) -> tuple[str, str]:
    """("ok" | "bad" | "skip", what happened)."""
    model, pipe = build(c, tmp / "model")
    h, w = c["height"] // c["f"], c["width"] // c["f"]
    noise = synth.normal(f"outside{c['seed']}/noise", (1, 4, h, w))
    prompts = ("a red apple and a cat, sharp focus", "broken clock") if c["prompts"] else ("given", "")
    vocab = pipe.text_encoder.config.vocab_size
    if c["prompts"]:
        tokenizer = tiny_tokenizer.load(tmp / "model" / "tokenizer")
        ids = torch.tensor(tokenizer(list(prompts), padding="max_length", max_length=77, truncation=True).input_ids)
    else:
        ids = oracle.token_ids(f"outside{c['seed']}", vocab, (12, 0), vocab - 1, vocab - 2, vocab - 1)
    cond, uncond = (e[None] for e in oracle.embeds(pipe.text_encoder, ids, c["clip_skip"]))
    double = oracle.doubled(pipe)
    d = lambda *xs: [x.double() for x in xs]
    cls_name = c["sampler"]
    if args.img2img:
        # The picture as the program gets it: whole u8 values.
        u8 = ((synth.uniform(f"outside{c['seed']}/init", (c["height"], c["width"], 3)) + 1) * 127.5).round().to(torch.uint8)
        Image.fromarray(u8.numpy()).save(tmp / "init.png")
        x = (u8.float() / 255 * 2 - 1).permute(2, 0, 1)[None]
        z0 = pipe.vae.encode(x).latent_dist.mean * pipe.vae.config.scaling_factor
        run = lambda p, n, z, a, b: oracle.img2img(p, cls_name, n, z, a, b, c["strength"], c["steps"], c["cfg"])
        want, exact = run(pipe, noise, z0, cond, uncond), run(double, *d(noise, z0, cond, uncond))
    else:
        run = lambda p, n, a, b: oracle.sample(p, cls_name, n, a, b, c["steps"], c["cfg"])
        want, exact = run(pipe, noise, cond, uncond), run(double, *d(noise, cond, uncond))
    own = oracle.rel(want, exact)
    if not torch.isfinite(want).all() or own > CONDITION:
        return "skip", f"torch f32 against f64 {own:.1e}"
    picture = np.asarray(oracle.picture(pipe, want))
    if args.only_oracle:
        return "ok", f"std {float(want.std()):.2f}, torch f32 against f64 {own:.1e}, picture std {picture.std():.1f}"

    store.save(tmp / "embeds.safetensors", {"cond": cond, "uncond": uncond})
    more = ["--clip-skip", c["clip_skip"]] if c["prompts"] else ["--embeds", tmp / "embeds.safetensors"]
    if args.img2img:
        more += ["--init", tmp / "init.png", "--strength", c["strength"]]
    return compare(c, args, tmp, model, prompts, noise, want, picture, own, more)


def compare(c, args, tmp, model, prompts, noise, want, picture, own, more) -> tuple[str, str]:
    """Runs `admix render` and holds its latents and picture against the oracle's."""
    store.save(tmp / "noise.safetensors", {"noise": noise})
    sampler, schedule = c["sampler"].rsplit("_", 1)
    command = [args.admix, "render", "--model", model, "--prompt", prompts[0], "--negative", prompts[1]]
    command += ["--sampler", sampler, "--schedule", schedule, "--steps", c["steps"], "--cfg", c["cfg"]]
    command += ["--width", c["width"], "--height", c["height"], "--noise", tmp / "noise.safetensors"]
    command += ["--latents-out", tmp / "latents.safetensors", "--out", tmp / "out.png", "--json"]
    command += more
    done = subprocess.run([str(x) for x in command], capture_output=True, text=True)
    if done.returncode != 0:
        return "bad", f"exit {done.returncode}: {done.stderr.strip()[-400:]}"
    try:
        json.loads(done.stdout)
    except json.JSONDecodeError:
        return "bad", f"--json printed {done.stdout[:200]!r}"
    got = store.load(tmp / "latents.safetensors")[0]["latents"]
    if got.shape != want.shape:
        return "bad", f"latents {list(got.shape)}, expected {list(want.shape)}"
    far = oracle.rel(got, want)
    mine = np.asarray(Image.open(tmp / "out.png").convert("RGB"))
    if mine.shape != picture.shape:
        return "bad", f"picture {mine.shape}, expected {picture.shape}"
    db = psnr(mine, picture)
    fine = far <= LATENTS and db >= PSNR
    return "ok" if fine else "bad", f"latents {far:.1e}, picture {db:.1f} dB, torch itself {own:.1e}"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--admix", help="the executable")
    parser.add_argument("--seeds", default="0-9", help="such as 0-9 or 3,7")
    parser.add_argument("--img2img", action="store_true", help="picture to picture, from a drawn picture")
    parser.add_argument("--xl", action="store_true", help="SDXL pipelines")
    parser.add_argument("--keep", type=pathlib.Path, help="leave the files of failing seeds here")
    parser.add_argument("--only-oracle", action="store_true", help="run diffusers only")
    args = parser.parse_args()
    if not args.admix and not args.only_oracle:
        parser.error("--admix is needed")
    warnings.filterwarnings("ignore")
    seeds = []
    for part in args.seeds.split(","):
        a, _, b = part.partition("-")
        seeds += range(int(a), int(b or a) + 1)
    count = {"ok": 0, "bad": 0, "skip": 0}
    for seed in seeds:
        c = draw_xl(seed) if args.xl else draw(seed)
        with tempfile.TemporaryDirectory() as tmp:
            verdict, why = (one_xl if args.xl else one)(c, args, pathlib.Path(tmp))
            if verdict == "bad" and args.keep:
                shutil.copytree(tmp, args.keep / str(seed), dirs_exist_ok=True)
        count[verdict] += 1
        print(f"{seed:4} {verdict:4} {why}\n     {json.dumps({k: v for k, v in c.items() if k != 'seed'})}", flush=True)
    print(", ".join(f"{n} {k}" for k, n in count.items()))
    return 1 if count["bad"] else 0


if __name__ == "__main__":
    sys.exit(main())
