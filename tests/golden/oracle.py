"""Runs a diffusers pipeline on given inputs and records what came out.

All golden numbers are torch f32 on one thread; the same runs in f64 give the distance that the oracle
itself has from exact arithmetic, written beside each result as `f64_rel`.
"""

import copy

import diffusers
import numpy as np
import torch
import transformers
from diffusers import (
    DDIMScheduler,
    DPMSolverMultistepScheduler,
    EulerAncestralDiscreteScheduler,
    EulerDiscreteScheduler,
    StableDiffusionImg2ImgPipeline,
    StableDiffusionPipeline,
)

import store
import synth

for library in (diffusers, transformers):
    library.logging.set_verbosity_error()
    library.logging.disable_progress_bar()
torch.set_num_threads(1)
torch.use_deterministic_algorithms(True)
torch.set_grad_enabled(False)

# Names on Admix's command line -> the diffusers class and what is changed in the pipeline's own scheduler config.
SAMPLERS = {
    "euler_normal": (EulerDiscreteScheduler, {}),
    "euler_karras": (EulerDiscreteScheduler, {"use_karras_sigmas": True}),
    "ddim_normal": (DDIMScheduler, {}),
    "dpmpp_2m_normal": (DPMSolverMultistepScheduler, {}),
    "dpmpp_2m_karras": (DPMSolverMultistepScheduler, {"use_karras_sigmas": True}),
}
# Draws noise in every step but the last: for runs of one step, whose result does not depend on it.
ANCESTRAL = {"euler_ancestral_normal": (EulerAncestralDiscreteScheduler, {})}


def rel(a: torch.Tensor, b: torch.Tensor) -> float:
    """Relative L2 distance of a from b."""
    a, b = a.double(), b.double()
    return float((a - b).norm() / b.norm())


def scheduler(pipe, name: str):
    """The scheduler of that name, configured from the pipeline's."""
    cls, change = (SAMPLERS | ANCESTRAL)[name]
    return cls.from_config(pipe.scheduler.config, **change)


def quiet(pipe):
    pipe.set_progress_bar_config(disable=True)
    return pipe


def doubled(pipe):
    """The same pipeline in f64."""
    parts = {k: copy.deepcopy(getattr(pipe, k)).double() for k in ("unet", "vae", "text_encoder")}
    return quiet(
        StableDiffusionPipeline(
            **parts,
            tokenizer=None,
            scheduler=pipe.scheduler,
            safety_checker=None,
            feature_extractor=None,
            requires_safety_checker=False,
        )
    )


def embeds(text_encoder, ids: torch.Tensor, clip_skip: int) -> torch.Tensor:
    """Hidden states [n, tokens, dim] after the final layer norm; clip_skip counts as people do (1 = the last
    layer, 2 = the last but one: diffusers' `clip_skip=1`)."""
    out = text_encoder(ids, output_hidden_states=True)
    body = getattr(text_encoder, "text_model", text_encoder)
    h = body.final_layer_norm(out.hidden_states[-clip_skip])
    if clip_skip == 1:
        assert rel(h, out.last_hidden_state) < 1e-6
    return h


def traced(model, run, depth_of=lambda name: name.count(".") <= 2) -> tuple[torch.Tensor, dict]:
    """The result of run(), and a checksum of what each block put out (batch included)."""
    trace, hooks = {}, []
    for name, m in model.named_modules():
        if name and depth_of(name) and not isinstance(m, (torch.nn.ModuleList, torch.nn.Dropout)):

            def hook(_, __, out, name=name):
                out = out[0] if isinstance(out, tuple) else getattr(out, "sample", out)
                if isinstance(out, torch.Tensor) and out.is_floating_point():
                    c = store.checksum(out)
                    trace[name] = {"shape": c["shape"], "first": c["first"][:4], "l2": c["l2"]}

            hooks.append(m.register_forward_hook(hook))
    result = run()
    for h in hooks:
        h.remove()
    return result, trace


def sample(pipe, name, noise, cond, uncond, steps=20, cfg=7.5) -> torch.Tensor:
    """Final latents of text to picture, as StableDiffusionPipeline computes them."""
    old, pipe.scheduler = pipe.scheduler, scheduler(pipe, name)
    f = pipe.vae_scale_factor
    out = pipe(
        prompt_embeds=cond,
        negative_prompt_embeds=uncond,
        latents=noise,
        num_inference_steps=steps,
        guidance_scale=cfg,
        height=noise.shape[2] * f,
        width=noise.shape[3] * f,
        output_type="latent",
    ).images
    used = pipe.scheduler
    pipe.scheduler = old
    pipe.last_schedule = {
        "timesteps": [float(t) for t in used.timesteps],
        "sigmas": [float(s) for s in getattr(used, "sigmas", [])],
        "init_noise_sigma": float(used.init_noise_sigma),
    }
    return out


def img2img(pipe, name, noise, z0, cond, uncond, strength, steps=20, cfg=7.5) -> torch.Tensor:
    """Final latents of picture to picture from the init picture's scaled latent `z0` (VAE mean, not a draw).

    StableDiffusionImg2ImgPipeline's own loop: it takes 4-channel "images" for latents and draws the noise
    itself, so its draw is replaced by the given one."""
    from diffusers.pipelines.stable_diffusion import pipeline_stable_diffusion_img2img as module

    p = quiet(
        StableDiffusionImg2ImgPipeline(
            vae=pipe.vae,
            text_encoder=pipe.text_encoder,
            tokenizer=None,
            unet=pipe.unet,
            scheduler=scheduler(pipe, name),
            safety_checker=None,
            feature_extractor=None,
            requires_safety_checker=False,
        )
    )
    # The VAE's size factor is read from the config; tell the processor that 4-channel input needs no resize.
    p.image_processor.preprocess = lambda image, **_: image
    drawn, module.randn_tensor = module.randn_tensor, lambda shape, **_: noise.clone()
    try:
        out = p(
            prompt_embeds=cond,
            negative_prompt_embeds=uncond,
            image=z0,
            strength=strength,
            num_inference_steps=steps,
            guidance_scale=cfg,
            output_type="latent",
        ).images
    finally:
        module.randn_tensor = drawn
    used = p.scheduler
    pipe.last_schedule = {
        "timesteps": [float(t) for t in used.timesteps],
        "sigmas": [float(s) for s in getattr(used, "sigmas", [])],
        "steps_run": min(int(steps * strength), steps),
    }
    return out


def picture(pipe, latents: torch.Tensor) -> np.ndarray:
    """Decoded u8 [h, w, 3]: (x / 2 + 0.5) clamped to [0, 1], times 255, rounded half to even."""
    x = pipe.vae.decode(latents / pipe.vae.config.scaling_factor).sample
    return pipe.image_processor.numpy_to_pil(pipe.image_processor.postprocess(x, output_type="np"))[0]


def token_ids(seed: str, vocab: int, lengths, pad: int, bos: int, eos: int, width: int = 77) -> torch.Tensor:
    """i64 [len(lengths), 77]: bos, that many random words, eos, padding."""
    rows = []
    for i, n in enumerate(lengths):
        w = (synth.words(f"{seed}/ids/{i}", n) % np.uint64(min(bos, eos))).astype(np.int64).tolist() if n else []
        row = [bos, *w, eos]
        rows.append(row + [pad] * (width - len(row)))
    return torch.tensor(rows, dtype=torch.int64)
