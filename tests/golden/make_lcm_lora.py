"""An LCM-LoRA for models/sd1_tiny: adapters/lcm_lora.safetensors with the keys of latent-consistency/lcm-lora-sdv1-5 (kohya's, U-Net only, every
layer that its training adapts, one rank and alpha), and adapters/lcm_lora.golden.safetensors: final latents of diffusers' pipeline with LCMScheduler
and that file, few steps, no guidance, and no guidance embedding: the U-Net has none.

Noise is torch's CPU generator at SEED, one stream: the initial noise, then what the scheduler draws between steps.
"""

import json

import torch
from diffusers import LCMScheduler

import make_adapters
import make_models
import oracle
import store

NAME, RANK, SEED, STEPS = "lcm_lora", 4, 7, (1, 4, 8)
# Endings of what the training script of LCM-LoRA adapts.
ENDINGS = (
    *("to_q", "to_k", "to_v", "to_out.0", "proj_in", "proj_out", "ff.net.0.proj", "ff.net.2"),
    *("conv1", "conv2", "conv_shortcut", "downsamplers.0.conv", "upsamplers.0.conv", "time_emb_proj"),
)


def main() -> None:
    pipe = make_models.load_folder(make_adapters.MODEL)
    base = {k: v.clone() for k, v in pipe.unet.state_dict().items()}
    tensors, want = {}, {}
    for key, w in base.items():
        path = key.removesuffix(".weight")
        if not key.endswith(".weight") or not path.endswith(ENDINGS):
            continue
        down, up = make_adapters.factors(NAME, path, w.shape, RANK)
        # Every layer at once: a tenth of what moves a single one visibly.
        up = up * 0.1
        lora = "lora_unet_" + path.replace(".", "_")
        tensors |= {f"{lora}.lora_down.weight": down, f"{lora}.lora_up.weight": up}
        tensors[f"{lora}.alpha"] = down.new_tensor(RANK)
        want[key] = w.double() + make_adapters.delta(down, up, w.shape)
    file = make_adapters.OUT / f"{NAME}.safetensors"
    store.save(file, tensors)

    pipe.load_lora_weights(str(file))
    pipe.fuse_lora(components=["unet"])
    pipe.unload_lora_weights()
    for key, w in pipe.unet.state_dict().items():
        far = oracle.rel(w, want.get(key, base[key]))
        assert far < 1e-6, (key, far)
    pipe.scheduler = LCMScheduler.from_config(pipe.scheduler.config)
    golden, _ = store.load(make_adapters.HERE / "models" / "sd1_tiny.golden.safetensors")
    h, w = golden["noise"].shape[2:]
    f = pipe.vae_scale_factor
    out = {}
    for steps in STEPS:
        out[f"latents.{steps}"] = pipe(
            prompt_embeds=golden["cond"],
            num_inference_steps=steps,
            guidance_scale=1.0,
            generator=torch.Generator("cpu").manual_seed(SEED),
            height=h * f,
            width=w * f,
            output_type="latent",
        ).images
        print(steps, [int(t) for t in pipe.scheduler.timesteps], f"{out[f'latents.{steps}'].std():.3f}")
    about = {"model": "models/sd1_tiny", "seed": SEED, "width": w * f, "height": h * f, "modules": len(want)}
    store.save(make_adapters.OUT / f"{NAME}.golden.safetensors", out, {"admix_golden": json.dumps(about)})


if __name__ == "__main__":
    main()
