"""Editing by diffusers' own pipelines: inpainting with a plain U-Net (sd1_tiny) and with one that reads mask and masked picture (inpaint_tiny),
InstructPix2Pix (pix2pix_tiny), and hires-fix as text to picture, an enlargement by torch or PIL, and picture to picture (sd1_tiny).

Writes editing.golden.safetensors: `image.MODEL` u8 [h, w, 3], `mask.MODEL` u8 [h, w], `noise.MODEL`, and the final latents: `MODEL.STRENGTH` of inpainting,
`pix2pix_tiny.GUIDANCE` by image guidance, `hires.UPSCALER`; `hires.enlarged.UPSCALER` is what the second pass starts from; `pil.FILTER.WIDTH` u8 are sizes of the picture by PIL. Embeddings are those of the
model's own golden file. The picture's latents are the mean of the VAE's distribution, not a draw.
"""

import json
import pathlib
import sys

import numpy as np
import torch
from diffusers import (
    EulerDiscreteScheduler,
    StableDiffusionInpaintPipeline,
    StableDiffusionInstructPix2PixPipeline,
    StableDiffusionPipeline,
)
from diffusers.pipelines.stable_diffusion import pipeline_stable_diffusion_inpaint as module
from PIL import Image
from safetensors.torch import load_file, save_file

import configs
import make_families
import oracle
import synth

HERE = pathlib.Path(__file__).parent
STEPS, CFG = 8, 5.0
# Hires-fix: from 16 x 16 cells to 24 x 24, the second pass with noise of torch's generator at this seed.
LARGER, STRENGTH, SEED = 24, 0.6, 11


def pipelines():
    yield "sd1_tiny", StableDiffusionPipeline.from_pretrained(HERE / "models" / "sd1_tiny", torch_dtype=torch.float32, safety_checker=None), (32, 32)
    pipe, _ = make_families.build("inpaint_tiny", configs.FAMILIES["inpaint_tiny"])
    h, w = configs.FAMILIES["inpaint_tiny"]["latent"]
    yield "inpaint_tiny", pipe, (h * pipe.vae_scale_factor, w * pipe.vae_scale_factor)


def picture(h, w):
    y, x = np.mgrid[0:h, 0:w]
    return np.stack([(x * 255 // w), (y * 255 // h), ((x * y) % 256)], -1).astype(np.uint8)


def scheduler_of(name):
    """As the folder has it: what is written out there counts."""
    return EulerDiscreteScheduler.from_pretrained(HERE / "models" / name, subfolder="scheduler")


def pix2pix() -> dict:
    """Text guidance and two strengths of the picture's own."""
    name = "pix2pix_tiny"
    base, _ = make_families.build(name, configs.FAMILIES[name])
    h, w = configs.FAMILIES[name]["latent"]
    f = base.vae_scale_factor
    parts = {k: getattr(base, k) for k in ("vae", "text_encoder", "unet")}
    pipe = StableDiffusionInstructPix2PixPipeline(
        **parts, tokenizer=None, scheduler=scheduler_of(name), safety_checker=None, feature_extractor=None, requires_safety_checker=False
    )
    oracle.quiet(pipe)
    image, noise = picture(h * f, w * f), synth.normal(f"{name}/editing", (1, 4, h, w))
    golden = load_file(HERE / "models" / f"{name}.golden.safetensors")
    tensors = {f"image.{name}": torch.from_numpy(image), f"noise.{name}": noise.contiguous()}
    for guidance in (1.5, 3.0):
        out = pipe(
            image=Image.fromarray(image), latents=noise.clone(), prompt_embeds=golden["cond"], negative_prompt_embeds=golden["uncond"],
            num_inference_steps=STEPS, guidance_scale=CFG, image_guidance_scale=guidance, output_type="latent",
        ).images
        assert torch.isfinite(out).all()
        tensors[f"{name}.{guidance}"] = out.float().contiguous()
    return tensors


def resized() -> dict:
    """PIL's own sizes of a picture, up and down."""
    image = Image.fromarray(picture(32, 32))
    sizes, filters = ((48, 48), (20, 13)), {"lanczos": Image.Resampling.LANCZOS, "bicubic": Image.Resampling.BICUBIC, "nearest": Image.Resampling.NEAREST}
    return {f"pil.{name}.{w}": torch.from_numpy(np.asarray(image.resize((w, h), how)).copy()) for name, how in filters.items() for w, h in sizes}


def hires() -> dict:
    """Text to picture, enlarged, and picture to picture on top."""
    name = "sd1_tiny"
    pipe = StableDiffusionPipeline.from_pretrained(HERE / "models" / name, torch_dtype=torch.float32, safety_checker=None)
    oracle.quiet(pipe)
    golden = load_file(HERE / "models" / f"{name}.golden.safetensors")
    steps = {"steps": STEPS, "cfg": CFG}
    first = oracle.sample(pipe, "euler_normal", golden["noise"], golden["cond"], golden["uncond"], **steps)
    edge = LARGER * pipe.vae_scale_factor

    def by_picture(how):
        larger = oracle.picture(pipe, first).resize((edge, edge), how)
        x = torch.from_numpy(np.asarray(larger).astype(np.float32) / 127.5 - 1).permute(2, 0, 1)[None]
        return pipe.vae.encode(x).latent_dist.mode() * pipe.vae.config.scaling_factor

    def by_latent(mode):
        return torch.nn.functional.interpolate(first, size=(LARGER, LARGER), mode=mode)

    larger = {
        "latent_bilinear": by_latent("bilinear"), "latent_bicubic": by_latent("bicubic"), "latent_nearest_exact": by_latent("nearest-exact"),
        "picture_lanczos": by_picture(Image.Resampling.LANCZOS), "picture_bicubic": by_picture(Image.Resampling.BICUBIC),
    }
    noise = torch.randn((1, 4, LARGER, LARGER), generator=torch.Generator("cpu").manual_seed(SEED))
    tensors = {}
    for how, start in larger.items():
        out = oracle.img2img(pipe, "euler_normal", noise, start, golden["cond"], golden["uncond"], STRENGTH, **steps)
        assert torch.isfinite(out).all()
        tensors |= {f"hires.enlarged.{how}": start.contiguous(), f"hires.{how}": out.float().contiguous()}
    return tensors


def main() -> int:
    tensors = pix2pix() | hires() | resized()
    for name, base, (h, w) in pipelines():
        scheduler = scheduler_of(name)
        parts = {k: getattr(base, k) for k in ("vae", "text_encoder", "unet")}
        pipe = StableDiffusionInpaintPipeline(**parts, tokenizer=None, scheduler=scheduler, safety_checker=None, feature_extractor=None, requires_safety_checker=False)
        oracle.quiet(pipe)
        y, x = np.mgrid[0:h, 0:w]
        image = picture(h, w)
        # An odd shape: edges in the middle of latent cells.
        mask = (((x - w * 0.6) ** 2 + (y - h * 0.4) ** 2 < (h * 0.31) ** 2) * 255).astype(np.uint8)
        f = pipe.vae_scale_factor
        noise = synth.normal(f"{name}/editing", (1, 4, h // f, w // f))
        module.randn_tensor = lambda *_, **__: noise
        module.retrieve_latents = lambda out, **_: out.latent_dist.mode()
        golden = load_file(HERE / "models" / f"{name}.golden.safetensors")
        for strength in (0.6, 1.0):
            out = pipe(
                image=Image.fromarray(image), mask_image=Image.fromarray(mask), height=h, width=w, strength=strength,
                prompt_embeds=golden["cond"], negative_prompt_embeds=golden["uncond"],
                num_inference_steps=STEPS, guidance_scale=CFG, output_type="latent",
            ).images
            tensors[f"{name}.{strength}"] = out.float().contiguous()
            assert torch.isfinite(out).all()
        tensors |= {f"image.{name}": torch.from_numpy(image), f"mask.{name}": torch.from_numpy(mask), f"noise.{name}": noise.contiguous()}
    save_file(tensors, HERE / "editing.golden.safetensors", {"admix_golden": json.dumps({"steps": STEPS, "cfg": CFG, "strength": STRENGTH, "seed": SEED, "larger": LARGER})})
    print({k: list(v.shape) for k, v in tensors.items()})
    return 0


if __name__ == "__main__":
    sys.exit(main())
