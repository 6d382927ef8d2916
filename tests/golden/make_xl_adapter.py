"""A kohya LoRA for models/sdxl_tiny with sgm names, as SDXL's trainers write it: U-Net and both text encoders.

diffusers translates and fuses it; a second computation in f64 (W + scale * up @ down) has to agree. adapters/xl.safetensors is
the file, adapters/xl.golden.safetensors every k-th effective value of each tensor it touches and the final latents with it.
"""

import json

import configs
import make_adapters
import make_families
import make_ldm
import oracle
import store

NAME, RANK, ALPHA, KEEP = "xl", 4, 2.0, 300
BLOCK, DEEP = "down_blocks.1.attentions.0.transformer_blocks.0", "up_blocks.0.attentions.2.transformer_blocks.1"
UNET = [
    f"{BLOCK}.attn1.to_q",
    f"{BLOCK}.attn2.to_v",
    f"{BLOCK}.ff.net.0.proj",
    f"{DEEP}.attn1.to_out.0",
    f"{DEEP}.ff.net.2",
    "down_blocks.1.attentions.0.proj_in",
    "up_blocks.1.attentions.1.proj_out",
    "mid_block.attentions.0.transformer_blocks.1.attn2.to_k",
    "down_blocks.0.resnets.0.conv1",
    "up_blocks.2.resnets.1.conv2",
    "up_blocks.0.resnets.0.conv_shortcut",
    "mid_block.resnets.0.time_emb_proj",
]
TEXT = ["encoder.layers.0.self_attn.q_proj", "encoder.layers.1.self_attn.out_proj", "encoder.layers.2.mlp.fc1"]


def weights(pipe) -> dict:
    """All weights by canonical name."""
    return {k: v for part in make_ldm.parts_of(pipe) for k, v in make_ldm.canonical(pipe, part).items()}


def kohya_name(name: str, pipe) -> str:
    """As sd-scripts spells a module of SDXL."""
    component, rest = name.split(".", 1)
    if component == "unet":
        sgm = make_ldm.unet_name(f"{rest}.weight", pipe.unet.config).removesuffix(".weight")
        return "lora_unet_" + sgm.removeprefix("model.diffusion_model.").replace(".", "_")
    number = "2" if component.endswith("_2") else "1"
    return f"lora_te{number}_{rest.replace('.', '_')}"


def main() -> None:
    pipe, _ = make_families.build("sdxl_tiny", configs.FAMILIES["sdxl_tiny"])
    base = {k: v.clone() for k, v in weights(pipe).items()}
    names = [f"unet.{n}" for n in UNET]
    names += [f"{part}.text_model.{n}" for part in ("text_encoder", "text_encoder_2") for n in TEXT]
    tensors, want = {}, {}
    for name in names:
        w = base[f"{name}.weight"]
        down, up = make_adapters.factors(NAME, name, w.shape, RANK)
        key = kohya_name(name, pipe)
        tensors |= {f"{key}.lora_down.weight": down, f"{key}.lora_up.weight": up}
        tensors[f"{key}.alpha"] = down.new_tensor(ALPHA)
        want[f"{name}.weight"] = w.double() + ALPHA / RANK * make_adapters.delta(down, up, w.shape)
    file = make_adapters.OUT / f"{NAME}.safetensors"
    store.save(file, tensors, {"ss_network_module": "networks.lora", "ss_base_model_version": "sdxl_base_v1-0"})

    pipe.load_lora_weights(str(file))
    pipe.fuse_lora(components=["unet", "text_encoder", "text_encoder_2"])
    pipe.unload_lora_weights()
    for name, w in weights(pipe).items():
        if name in want:
            far = oracle.rel(w, want[name])
            assert far < 1e-6, (name, far)
        else:
            assert w.equal(base[name]), f"{name} changed"

    t, info = store.load(make_families.OUT / "sdxl_tiny.golden.safetensors")
    embeds = {k: t[k] for k in ("cond", "uncond", "pooled_cond", "pooled_uncond")}
    out = {"latents.euler_normal": make_families.sample(pipe, "euler_normal", t["noise"], embeds)}
    print(f"latents against those without, {oracle.rel(out['latents.euler_normal'], t['latents.euler_normal']):.2f}")
    steps = {}
    for name, w in sorted(want.items()):
        flat = w.float().flatten()
        step = max(1, -(-flat.numel() // KEEP))
        # Not a multiple of a width or a kernel, so that every row and tap is met.
        step += step > 1 and step % 2 == 0
        out[f"effective.{name}"], steps[name] = flat[::step].clone(), step
    store.save(make_adapters.OUT / f"{NAME}.golden.safetensors", out, {"admix_golden": json.dumps({"model": "models/sdxl_tiny", "steps": steps})})


if __name__ == "__main__":
    main()
