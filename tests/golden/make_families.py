"""Model fixtures beyond Stable Diffusion 1 and 2: SDXL, its refiner, LCM, inpainting, SD-Turbo and SDXL-Turbo. As make_models.py, but all synthetic:
models/NAME (configs), models/NAME.weights.json and models/NAME.golden.safetensors."""

import copy
import json
import pathlib
import sys
import tempfile

import torch
from diffusers import StableDiffusionPipeline, StableDiffusionXLImg2ImgPipeline, StableDiffusionXLPipeline

import configs
import make_ldm
import oracle
import store
import synth

OUT = pathlib.Path(__file__).parent / "models"
TIMESTEPS = (981, 17)
# What SDXL is told in the single pass: nothing that equals another, so that no order can be confused. (top, left)
SCORES = (6.0, 2.5)
SIZES = {"original_size": (72, 90), "crops_coords_top_left": (5, 3), "target_size": (80, 112)}


def pipeline(parts: dict, scheduler):
    """A pipeline without tokenizers around the given components."""
    if "text_encoder_2" in parts and "text_encoder" not in parts:
        parts = {"text_encoder": None, "tokenizer": None, "tokenizer_2": None, **parts}
        pipe = StableDiffusionXLImg2ImgPipeline(
            **parts,
            scheduler=scheduler,
            requires_aesthetics_score=True,
            force_zeros_for_empty_prompt=False,
            add_watermarker=False,
        )
    elif "text_encoder_2" in parts:
        pipe = StableDiffusionXLPipeline(**parts, tokenizer=None, tokenizer_2=None, scheduler=scheduler, add_watermarker=False)
    else:
        pipe = StableDiffusionPipeline(
            **parts,
            tokenizer=None,
            scheduler=scheduler,
            safety_checker=None,
            feature_extractor=None,
            requires_safety_checker=False,
        )
    return oracle.quiet(pipe)


def doubled(pipe):
    """The same pipeline in f64."""
    parts = {k: copy.deepcopy(getattr(pipe, k)).double() for k in make_ldm.parts_of(pipe)}
    return pipeline(parts, pipe.scheduler)


def build(name: str, c: dict, dtype=torch.float16):
    """The pipeline with synthetic weights (`dtype` values held in f32) and the list of those weights."""
    parts = {"unet": c["unet"]().eval(), "vae": c["vae"]().eval()}
    if "text" in c:
        parts["text_encoder"] = c["text"]()
    if "text_2" in c:
        parts["text_encoder_2"] = c["text_2"]()
    rows = []
    for component, module in parts.items():
        keys = module.state_dict()
        prefix = "text_model." if component.startswith("text") and not any(k.startswith("text_model.") for k in keys) else ""
        rows += synth.fill(module, component, name, dtype, prefix)
    return pipeline(parts, c["scheduler"]()), rows


def save_folder(pipe, folder: pathlib.Path, dtype=torch.float16) -> None:
    """A diffusers folder, its tensors in this project's byte order and under canonical names."""
    pipe.save_pretrained(folder, safe_serialization=True)
    for part in make_ldm.parts_of(pipe):
        file = "model" if part.startswith("text") else "diffusion_pytorch_model"
        tensors = {k.split(".", 1)[1]: v.to(dtype) for k, v in make_ldm.canonical(pipe, part).items()}
        store.save(folder / part / f"{file}.safetensors", tensors)
        config = folder / part / "config.json"
        data = json.loads(config.read_text())
        data.pop("_name_or_path", None)
        if part.startswith("text"):
            data["dtype"] = str(dtype).removeprefix("torch.")
        config.write_text(json.dumps(data, indent=2) + "\n")


def xl_embeds(pipe, ids: torch.Tensor, ids_2: torch.Tensor, clip_skip: int = 2):
    """(joined states [n, tokens, dim], pooled [n, dim]) as StableDiffusionXLPipeline.encode_prompt takes them from its
    encoders; clip_skip counts as people do, 2 (the last layer but one) being what the model was trained on."""
    second = pipe.text_encoder_2(ids_2, output_hidden_states=True)
    states = [second.hidden_states[-clip_skip]]
    if pipe.text_encoder is not None:
        states.insert(0, pipe.text_encoder(ids, output_hidden_states=True).hidden_states[-clip_skip])
    return torch.cat(states, dim=-1), second.text_embeds


def refine(pipe, name, x, embeds, steps, cfg, size, original=None, crop=(0, 0)) -> torch.Tensor:
    """diffusers' img2img loop for the refiner from pure noise: its pipeline has no way to be given the noise."""
    scheduler = oracle.scheduler(pipe, name)
    scheduler.set_timesteps(steps)
    x = x * scheduler.init_noise_sigma
    more = pipe._get_add_time_ids(
        original or size, crop, size, *SCORES, original or size, crop, size, x.dtype, embeds["pooled_cond"].shape[1]
    )
    ids = torch.cat(more[::-1]).to(x.dtype)
    hidden = torch.cat([embeds["uncond"], embeds["cond"]])
    added = {"text_embeds": torch.cat([embeds["pooled_uncond"], embeds["pooled_cond"]]), "time_ids": ids}
    for t in scheduler.timesteps:
        both = scheduler.scale_model_input(torch.cat([x, x]), t)
        uncond, cond = pipe.unet(both, t, hidden, added_cond_kwargs=added).sample.chunk(2)
        x = scheduler.step(uncond + cfg * (cond - uncond), t, x).prev_sample
    return x


def sample(pipe, name, noise, embeds, steps=20, cfg=7.5, **sizes) -> torch.Tensor:
    """Final latents of text to picture. `embeds` has cond and uncond, and pooled_* where the model reads them."""
    f = pipe.vae_scale_factor
    if isinstance(pipe, StableDiffusionXLImg2ImgPipeline):
        size = (noise.shape[2] * f, noise.shape[3] * f)
        return refine(
            pipe, name, noise, embeds, steps, cfg, size, sizes.get("original_size"), sizes.get("crops_coords_top_left", (0, 0))
        )
    old, pipe.scheduler = pipe.scheduler, oracle.scheduler(pipe, name)
    arguments = {"prompt_embeds": embeds["cond"], "negative_prompt_embeds": embeds["uncond"]}
    if "pooled_cond" in embeds:
        arguments |= {"pooled_prompt_embeds": embeds["pooled_cond"], **sizes}
        arguments |= {"negative_pooled_prompt_embeds": embeds["pooled_uncond"]}
    out = pipe(
        **arguments,
        latents=noise,
        num_inference_steps=steps,
        guidance_scale=cfg,
        height=noise.shape[2] * f,
        width=noise.shape[3] * f,
        output_type="latent",
    ).images
    pipe.scheduler = old
    return out


def with_extra(pipe, extra):
    """Lets the U-Net read `extra` after whatever latents it is given."""
    return pipe.unet.conv_in.register_forward_pre_hook(
        lambda _, x: (torch.cat([x[0], extra.to(x[0].dtype).expand(len(x[0]), -1, -1, -1)], dim=1),)
    )


def inputs(pipe, name: str, c: dict) -> dict:
    """Everything that goes in, embeddings included."""
    h, w = c["latent"]
    config = (pipe.text_encoder or pipe.text_encoder_2).config
    vocab = config.vocab_size
    ids = lambda pad: oracle.token_ids(name, vocab, (9, 0), pad, vocab - 2, vocab - 1)
    t = {
        "text.ids": ids(config.pad_token_id),
        "noise": synth.normal(f"{name}/noise", (1, 4, h, w)),
        "unet.in.sample": synth.normal(f"{name}/sample", (2, 4, h, w)),
        "vae.in.latent": synth.normal(f"{name}/latent", (1, 4, h, w)) * 4,
    }
    if pipe.unet.config.in_channels > 4:
        t["extra"] = synth.normal(f"{name}/extra", (1, pipe.unet.config.in_channels - 4, h, w))
    return t


def golden(pipe, name: str, c: dict) -> None:
    """Runs everything once in f32 and once in f64 and writes NAME.golden.safetensors."""
    t = inputs(pipe, name, c)
    info, double = {"f64_rel": {}, "model": name}, doubled(pipe)
    if "extra" in t:
        for p in (pipe, double):
            with_extra(p, t["extra"])

    def keep(key, run):
        """run(pipe, cast) in both precisions."""
        t[key] = run(pipe, lambda x: x).float().contiguous()
        assert torch.isfinite(t[key]).all(), key
        info["f64_rel"][key] = oracle.rel(t[key], run(double, lambda x: x.double()))

    xl = "text_2" in c
    if xl:
        vocab = pipe.text_encoder_2.config.vocab_size
        t["text_2.ids"] = oracle.token_ids(name, vocab, (9, 0), 0, vocab - 2, vocab - 1)
        for skip in (2, 3):
            keep(f"text.out.clip_skip_{skip}", lambda p, _: xl_embeds(p, t["text.ids"], t["text_2.ids"], skip)[0])
        keep("text.out.pooled", lambda p, _: xl_embeds(p, t["text.ids"], t["text_2.ids"])[1])
        states, pooled = t["text.out.clip_skip_2"], t["text.out.pooled"]
        t["pooled_cond"], t["pooled_uncond"] = pooled[0:1].clone(), pooled[1:2].clone()
    else:
        states = oracle.embeds(pipe.text_encoder, t["text.ids"], 1)
    t["cond"], t["uncond"] = states[0:1].clone(), states[1:2].clone()

    hidden = torch.cat([t["uncond"], t["cond"]])
    if pipe.config.get("requires_aesthetics_score"):
        rows = [[*SIZES["original_size"], *SIZES["crops_coords_top_left"], score] for score in SCORES[::-1]]
    else:
        rows = [sum(map(list, SIZES.values()), [])] * 2
    ids = torch.tensor(rows, dtype=torch.float32)

    def one_pass(p, d, step):
        more = {}
        if xl:
            both = torch.cat([t["pooled_uncond"], t["pooled_cond"]])
            more["added_cond_kwargs"] = {"text_embeds": d(both), "time_ids": d(ids)}
        if width := p.unet.config.time_cond_proj_dim:
            w = p.get_guidance_scale_embedding(torch.tensor([7.5 - 1] * 2), embedding_dim=width)
            more["timestep_cond"] = d(w)
        return p.unet(d(t["unet.in.sample"]), step, d(hidden), **more).sample

    for step in TIMESTEPS:
        keep(f"unet.out.t{step}", lambda p, d: one_pass(p, d, step))
    keep("vae.out.image", lambda p, d: p.vae.decode(d(t["vae.in.latent"])).sample)
    embeds = {k: t[k] for k in ("cond", "uncond", "pooled_cond", "pooled_uncond") if k in t}
    for sampler in ("euler_normal", "euler_karras", "dpmpp_2m_karras"):
        run = lambda p, d, **sizes: sample(p, sampler, d(t["noise"]), {k: d(v) for k, v in embeds.items()}, **sizes)
        keep(f"latents.{sampler}", run)
        if sampler == "dpmpp_2m_karras":
            oracle.picture(pipe, t[f"latents.{sampler}"]).save(OUT / f"{name}.{sampler}.png", optimize=False, compress_level=9)
        elif sampler == "euler_normal" and xl:
            keep(f"sized.{sampler}", lambda p, d: run(p, d, **SIZES))
    for sampler, steps in c.get("few", ()):
        run = lambda p, d: sample(p, sampler, d(t["noise"]), {k: d(v) for k, v in embeds.items()}, steps=steps, cfg=0.0)
        keep(f"few.{sampler}.{steps}", run)
    h, w = c["latent"]
    info |= {"width": w * pipe.vae_scale_factor, "height": h * pipe.vae_scale_factor, "sizes": SIZES, "unet_timesteps": TIMESTEPS}
    store.save(OUT / f"{name}.golden.safetensors", t, {"admix_golden": json.dumps(info)})
    print(f"{name}:")
    for key, far in info["f64_rel"].items():
        print(f"  {key:32} {list(t[key].shape)!s:20} std {float(t[key].std()):8.3f}  f32 against f64 {far:.1e}")


def make(name: str) -> None:
    c = configs.FAMILIES[name]
    pipe, rows = build(name, c)
    OUT.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as tmp:
        folder = pathlib.Path(tmp) / name
        save_folder(pipe, folder)
        make_ldm.describe(pipe, name, rows, folder, OUT)
        # As read from the file: a scheduler made in memory forgets its defaults when another is made from it.
        pipe.scheduler = type(pipe.scheduler).from_pretrained(folder, subfolder="scheduler")
    golden(pipe, name, c)


if __name__ == "__main__":
    for name in sys.argv[1:] or configs.FAMILIES:
        make(name)
