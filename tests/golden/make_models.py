"""Model fixtures: models/NAME (folder) or models/NAME.weights.json (synthetic), and models/NAME.golden.safetensors."""

import json
import pathlib
import shutil
import sys
import tempfile

import torch
from diffusers import StableDiffusionPipeline

import configs
import oracle
import store
import synth
import tiny_tokenizer

HERE = pathlib.Path(__file__).parent
OUT = HERE / "models"
TIMESTEPS = (981, 17)
STRENGTH = 0.6


def build(name: str):
    """The pipeline with its synthetic weights (f16 values held in f32) and the list of those weights."""
    c = configs.MODELS[name]
    parts = {"unet": c["unet"]().eval(), "vae": c["vae"]().eval(), "text_encoder": c["text"]()}
    rows = []
    for component, module in parts.items():
        prefix = "text_model." if component == "text_encoder" else ""
        rows += synth.fill(module, component, name, prefix=prefix)
    pipe = StableDiffusionPipeline(
        **parts,
        tokenizer=None,
        scheduler=c["scheduler"](),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
    return oracle.quiet(pipe), rows


def save_folder(pipe, name: str, folder: pathlib.Path) -> None:
    """A diffusers folder in f16, saved by diffusers, then put into this project's byte order."""
    c = configs.MODELS[name]
    shutil.rmtree(folder, ignore_errors=True)
    pipe.save_pretrained(folder, safe_serialization=True)
    for part, file in (
        ("unet", "diffusion_pytorch_model"),
        ("vae", "diffusion_pytorch_model"),
        ("text_encoder", "model"),
    ):
        # Text encoders on hubs have `text_model.` before every key; those that transformers 5 writes do not.
        prefix = c["text_prefix"] if part == "text_encoder" else ""
        store.rewrite(folder / part / f"{file}.safetensors", torch.float16, lambda k, p=prefix: p + k)
        config = folder / part / "config.json"
        data = json.loads(config.read_text())
        data.pop("_name_or_path", None)
        if part == "text_encoder":
            data["dtype"] = "float16"
        config.write_text(json.dumps(data, indent=2) + "\n")
    if c["tokenizer"]:
        save_tokenizer(c["tokenizer"], folder)
    if c.get("plain_scheduler"):
        thin_scheduler(folder)


def thin_scheduler(folder: pathlib.Path) -> None:
    """Leaves in scheduler_config.json only what the file of Stable Diffusion 1.x says."""
    file = folder / "scheduler" / "scheduler_config.json"
    data = json.loads(file.read_text())
    keep = [
        "_class_name",
        "beta_end",
        "beta_schedule",
        "beta_start",
        "num_train_timesteps",
        "set_alpha_to_one",
        "skip_prk_steps",
        "steps_offset",
    ]
    # That file also says clip_sample false: PNDM ignores it, DDIM made from this config needs it.
    file.write_text(json.dumps({"clip_sample": False} | {k: data[k] for k in keep}, indent=2) + "\n")


def save_tokenizer(kind: str, folder: pathlib.Path) -> None:
    """"files": vocab.json and merges.txt, as hubs hold them. "json": the one tokenizer.json that transformers 5 saves,
    padding with "!" as SD2 does."""
    target = folder / "tokenizer"
    if kind == "files":
        tiny_tokenizer.write(target, "<|endoftext|>")
    else:
        with tempfile.TemporaryDirectory() as tmp:
            tiny_tokenizer.write(pathlib.Path(tmp), "!")
            tiny_tokenizer.load(tmp).save_pretrained(target)
        for file in sorted(target.glob("*.json")):
            file.write_text(json.dumps(json.loads(file.read_text()), ensure_ascii=False) + "\n")
    index = folder / "model_index.json"
    data = json.loads(index.read_text())
    data["tokenizer"] = ["transformers", "CLIPTokenizer"]
    index.write_text(json.dumps(data, indent=2) + "\n")


def load_folder(folder):
    """The folder as diffusers reads it, in f32."""
    return oracle.quiet(
        StableDiffusionPipeline.from_pretrained(
            folder, dtype=torch.float32, tokenizer=None, safety_checker=None, feature_extractor=None
        )
    )


def golden(pipe, name: str) -> None:
    """Runs everything once in f32 and once in f64 and writes NAME.golden.safetensors and the pictures."""
    c = configs.MODELS[name]
    h, w = c["latent"]
    f = pipe.vae_scale_factor
    tc = pipe.text_encoder.config
    ids = oracle.token_ids(name, tc.vocab_size, (9, 0), tc.pad_token_id, tc.vocab_size - 2, tc.vocab_size - 1)
    long = oracle.token_ids(name + "/long", tc.vocab_size, (75,), 0, tc.vocab_size - 2, tc.vocab_size - 1)
    t = {
        "text.ids": torch.cat([ids, long]),
        "noise": synth.normal(f"{name}/noise", (1, 4, h, w)),
        "unet.in.sample": synth.normal(f"{name}/sample", (2, 4, h, w)),
        "vae.in.latent": synth.normal(f"{name}/latent", (1, 4, h, w)) * 4,
        "vae.in.image": synth.uniform(f"{name}/image", (1, 3, h * f, w * f)),
    }
    info = {"f64_rel": {}, "trace": {}, "runs": {}}
    if c["tokenizer"]:
        t["prompt.ids"] = torch.tensor(tiny_tokenizer.ids(tiny_tokenizer.load(OUT / name / "tokenizer")))
        info["prompts"] = tiny_tokenizer.PROMPTS
    double = oracle.doubled(pipe)

    def keep(key, run):
        """run(pipe, cast) in both precisions."""
        t[key] = run(pipe, lambda x: x).float().contiguous()
        assert torch.isfinite(t[key]).all(), key
        info["f64_rel"][key] = oracle.rel(t[key], run(double, lambda x: x.double()))
        return t[key]

    for skip in (1, 2):
        keep(f"text.out.clip_skip_{skip}", lambda p, _: oracle.embeds(p.text_encoder, t["text.ids"], skip))
    out = t["text.out.clip_skip_1"]
    t["cond"], t["uncond"] = out[0:1].clone(), out[1:2].clone()

    hidden = torch.cat([t["uncond"], t["cond"]])
    for step in TIMESTEPS:
        keep(f"unet.out.t{step}", lambda p, d: p.unet(d(t["unet.in.sample"]), step, d(hidden)).sample)
    _, info["trace"]["unet"] = oracle.traced(
        pipe.unet, lambda: pipe.unet(t["unet.in.sample"], TIMESTEPS[0], hidden).sample
    )
    keep("vae.out.image", lambda p, d: p.vae.decode(d(t["vae.in.latent"])).sample)
    keep("vae.out.latent_mean", lambda p, d: p.vae.encode(d(t["vae.in.image"])).latent_dist.mean)
    _, info["trace"]["vae.decode"] = oracle.traced(pipe.vae, lambda: pipe.vae.decode(t["vae.in.latent"]).sample)
    _, info["trace"]["vae.encode"] = oracle.traced(pipe.vae, lambda: pipe.vae.encode(t["vae.in.image"]))

    for sampler in oracle.SAMPLERS:
        z = keep(
            f"latents.{sampler}",
            lambda p, d: oracle.sample(p, sampler, d(t["noise"]), d(t["cond"]), d(t["uncond"])),
        )
        info["runs"][f"latents.{sampler}"] = {"steps": 20, "cfg": 7.5, **pipe.last_schedule}
        if sampler in ("euler_normal", "dpmpp_2m_karras"):
            oracle.picture(pipe, z).save(OUT / f"{name}.{sampler}.png", optimize=False, compress_level=9)

    z0 = pipe.vae.config.scaling_factor * t["vae.out.latent_mean"]
    keep(
        "latents.img2img_euler_normal",
        lambda p, d: oracle.img2img(p, "euler_normal", d(t["noise"]), d(z0), d(t["cond"]), d(t["uncond"]), STRENGTH),
    )
    info["runs"]["latents.img2img_euler_normal"] = {
        "steps": 20,
        "cfg": 7.5,
        "strength": STRENGTH,
        "init": "vae.in.image, VAE mean times scaling_factor",
        **pipe.last_schedule,
    }
    info.update(
        {
            "model": name,
            "vae_scale_factor": f,
            "width": w * f,
            "height": h * f,
            "unet_timesteps": list(TIMESTEPS),
            "unet_hidden": "rows 1 and 0 of text.out.clip_skip_1: batch entry 0 is uncond, 1 is cond",
            "weights_sha256": {
                part: store.digest({k: v.half() for k, v in getattr(pipe, part).state_dict().items()})
                for part in ("unet", "vae", "text_encoder")
            },
        }
    )
    store.save(OUT / f"{name}.golden.safetensors", t, {"admix_golden": json.dumps(info)})
    report(name, t, info)


def report(name, t, info):
    print(f"{name}:")
    for key, v in info["f64_rel"].items():
        print(f"  {key:32} {list(t[key].shape)!s:20} std {float(t[key].std()):8.3f}  f32 against f64 {v:.1e}")


def make(name: str) -> None:
    pipe, rows = build(name)
    OUT.mkdir(exist_ok=True)
    if configs.MODELS[name]["committed"]:
        save_folder(pipe, name, OUT / name)
        pipe = load_folder(OUT / name)
    else:
        import make_ldm

        with tempfile.TemporaryDirectory() as tmp:
            folder = pathlib.Path(tmp) / name
            save_folder(pipe, name, folder)
            make_ldm.describe(pipe, name, rows, folder, OUT)
            pipe = load_folder(folder)
    golden(pipe, name)


if __name__ == "__main__":
    for name in sys.argv[1:] or configs.MODELS:
        make(name)
