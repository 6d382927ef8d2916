"""Inpainting by diffusers' own pipeline: with a plain U-Net (sd1_tiny) and with one that reads mask and masked picture (inpaint_tiny).

Writes editing.golden.safetensors: `image.MODEL` u8 [h, w, 3], `mask.MODEL` u8 [h, w], `noise.MODEL`, and the final latents `MODEL.STRENGTH`.
Embeddings are those of the model's own golden file. The picture's latents are the mean of the VAE's distribution, not a draw.
"""

import json
import pathlib
import sys

import numpy as np
import torch
from diffusers import EulerDiscreteScheduler, StableDiffusionInpaintPipeline, StableDiffusionPipeline
from diffusers.pipelines.stable_diffusion import pipeline_stable_diffusion_inpaint as module
from PIL import Image
from safetensors.torch import load_file, save_file

import configs
import make_families
import oracle
import synth

HERE = pathlib.Path(__file__).parent
STEPS, CFG = 8, 5.0


def pipelines():
    yield "sd1_tiny", StableDiffusionPipeline.from_pretrained(HERE / "models" / "sd1_tiny", torch_dtype=torch.float32, safety_checker=None), (32, 32)
    pipe, _ = make_families.build("inpaint_tiny", configs.FAMILIES["inpaint_tiny"])
    h, w = configs.FAMILIES["inpaint_tiny"]["latent"]
    yield "inpaint_tiny", pipe, (h * pipe.vae_scale_factor, w * pipe.vae_scale_factor)


def main() -> int:
    tensors = {}
    for name, base, (h, w) in pipelines():
        # As the folder has it: what is written out there counts.
        scheduler = EulerDiscreteScheduler.from_pretrained(HERE / "models" / name, subfolder="scheduler")
        parts = {k: getattr(base, k) for k in ("vae", "text_encoder", "unet")}
        pipe = StableDiffusionInpaintPipeline(**parts, tokenizer=None, scheduler=scheduler, safety_checker=None, feature_extractor=None, requires_safety_checker=False)
        oracle.quiet(pipe)
        y, x = np.mgrid[0:h, 0:w]
        image = np.stack([(x * 255 // w), (y * 255 // h), ((x * y) % 256)], -1).astype(np.uint8)
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
    save_file(tensors, HERE / "editing.golden.safetensors", {"admix_golden": json.dumps({"steps": STEPS, "cfg": CFG})})
    print({k: list(v.shape) for k, v in tensors.items()})
    return 0


if __name__ == "__main__":
    sys.exit(main())
