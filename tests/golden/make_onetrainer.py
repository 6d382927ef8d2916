"""A LoRA for models/sdxl_tiny as OneTrainer names its modules: `lora_unet_`, `lora_te1_` and `lora_te2_` before diffusers' own paths (not sgm's), and
the projection of the second text encoder, which kohya's trainers leave alone.

peft adapts and merges the three networks; a second computation in f64 (W + scale * up @ down) has to agree. adapters/onetrainer.safetensors is
the file; adapters/onetrainer.golden.safetensors has every k-th effective value of each tensor it touches, what both text encoders then say of
sdxl_tiny's ids, and the final latents that follow from that.
"""

import json

import peft
import torch

import configs
import make_adapters
import make_families
import make_xl_adapter
import oracle
import store

NAME, MODEL, RANK, ALPHA = "onetrainer", "sdxl_tiny", 3, 2.0
BLOCK = "down_blocks.1.attentions.0.transformer_blocks.0"
MODULES = {
    "unet": [f"{BLOCK}.attn1.to_q", f"{BLOCK}.attn2.to_k", f"{BLOCK}.ff.net.0.proj", "up_blocks.1.attentions.1.proj_out", "down_blocks.0.resnets.0.conv1"],
    "text_encoder": ["encoder.layers.0.self_attn.q_proj", "encoder.layers.1.mlp.fc1"],
    "text_encoder_2": ["encoder.layers.0.self_attn.v_proj", "encoder.layers.1.mlp.fc2", "text_projection"],
}
PREFIX = {"unet": "lora_unet_", "text_encoder": "lora_te1_", "text_encoder_2": "lora_te2_"}


def canonical(component: str, path: str) -> str:
    """The tensor's name here, without `.weight`."""
    body = "text_model." if component.startswith("text") and path != "text_projection" else ""
    return f"{component}.{body}{path}"


def adapt(module, component: str, tensors: dict, base: dict, want: dict):
    """The merged module; its factors go to `tensors`, what its weights must be to `want`."""
    config = peft.LoraConfig(r=RANK, lora_alpha=ALPHA, target_modules=MODULES[component])
    model = peft.get_peft_model(module, config)
    found = 0
    for path, layer in model.named_modules():
        if not hasattr(layer, "lora_A") or "default" not in layer.lora_A:
            continue
        path = path.removeprefix("base_model.model.").removeprefix("text_model.")
        name = canonical(component, path)
        w = base[f"{name}.weight"]
        down, up = make_adapters.factors(NAME, name, w.shape, RANK)
        layer.lora_A["default"].weight.data.copy_(down)
        layer.lora_B["default"].weight.data.copy_(up)
        key = PREFIX[component] + name.split(".", 1)[1].replace(".", "_")
        tensors |= {f"{key}.lora_down.weight": down, f"{key}.lora_up.weight": up}
        tensors[f"{key}.alpha"] = down.new_tensor(ALPHA)
        want[f"{name}.weight"] = w.double() + ALPHA / RANK * make_adapters.delta(down, up, w.shape)
        found += 1
    assert found == len(MODULES[component]), (component, found)
    return model.merge_and_unload()


def main() -> None:
    pipe, _ = make_families.build(MODEL, configs.FAMILIES[MODEL])
    base = {k: v.clone() for k, v in make_xl_adapter.weights(pipe).items()}
    tensors, want = {}, {}
    for component in MODULES:
        setattr(pipe, component, adapt(getattr(pipe, component), component, tensors, base, want).eval())
    for name, w in make_xl_adapter.weights(pipe).items():
        far = oracle.rel(w, want.get(name, base[name]))
        assert far < 1e-6, (name, far)
    meta = {"ot_branch": "master", "modelspec.architecture": "stable-diffusion-xl-v1-base/lora"}
    store.save(make_adapters.OUT / f"{NAME}.safetensors", tensors, meta)

    t, _ = store.load(make_families.OUT / f"{MODEL}.golden.safetensors")
    with torch.no_grad():
        states, pooled = make_families.xl_embeds(pipe, t["text.ids"], t["text_2.ids"])
    embeds = {"cond": states[0:1], "uncond": states[1:2], "pooled_cond": pooled[0:1], "pooled_uncond": pooled[1:2]}
    out = {"text.out.clip_skip_2": states, "text.out.pooled": pooled}
    out["latents.euler_normal"] = make_families.sample(pipe, "euler_normal", t["noise"], embeds)
    print(f"pooled text against that without, {oracle.rel(pooled, t['text.out.pooled']):.2f}")
    print(f"latents against those without, {oracle.rel(out['latents.euler_normal'], t['latents.euler_normal']):.2f}")
    steps = {}
    for name, w in sorted(want.items()):
        flat = w.float().flatten()
        step = max(1, -(-flat.numel() // make_xl_adapter.KEEP))
        step += step > 1 and step % 2 == 0
        out[f"effective.{name}"], steps[name] = flat[::step].clone(), step
    out = {k: v.contiguous() for k, v in out.items()}
    about = {"model": f"models/{MODEL}", "steps": steps}
    store.save(make_adapters.OUT / f"{NAME}.golden.safetensors", out, {"admix_golden": json.dumps(about)})


if __name__ == "__main__":
    main()
