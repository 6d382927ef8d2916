"""Write a peft LoRA in the two formats people meet: diffusers/peft and kohya."""
import json

import torch
from safetensors.torch import save_file


def collect(model):
    """peft model -> {module path: (down, up)} with plain module names"""
    out = {}
    for name, module in model.named_modules():
        if hasattr(module, "lora_A") and "default" in module.lora_A:
            plain = name.removeprefix("base_model.model.")
            out[plain] = (module.lora_A["default"].weight.detach().float().cpu(), module.lora_B["default"].weight.detach().float().cpu())
    return out


def _text_path(path):
    return path if path.startswith("text_model.") else "text_model." + path


def save_peft(path, unet, text, rank, alpha, extra=None):
    tensors, targets = {}, {"unet": set(), "text_encoder": set()}
    for part, mods in (("unet", unet), ("text_encoder", text)):
        for name, (a, b) in (mods or {}).items():
            name = _text_path(name) if part == "text_encoder" else name
            tensors[f"{part}.{name}.lora_A.weight"] = a.half().contiguous()
            tensors[f"{part}.{name}.lora_B.weight"] = b.half().contiguous()
            targets[part].add(name)
    meta = {}
    for part, names in targets.items():
        if names:
            meta |= {f"{part}.r": rank, f"{part}.lora_alpha": alpha, f"{part}.target_modules": sorted(names),
                     f"{part}.peft_type": "LORA", f"{part}.use_rslora": False, f"{part}.use_dora": False,
                     f"{part}.bias": "none", f"{part}.lora_dropout": 0.0, f"{part}.rank_pattern": {},
                     f"{part}.alpha_pattern": {}}
    save_file(tensors, path, {"format": "pt", "lora_adapter_metadata": json.dumps(meta, sort_keys=True), **(extra or {})})


def save_kohya(path, unet, text, rank, alpha, title, triggers, module="networks.lora", extra=None):
    tensors = {}
    for prefix, mods in (("lora_unet_", unet), ("lora_te_", text)):
        for name, (a, b) in (mods or {}).items():
            name = _text_path(name) if prefix == "lora_te_" else name
            key = prefix + name.replace(".", "_")
            tensors[key + ".lora_down.weight"] = a.half().contiguous()
            tensors[key + ".lora_up.weight"] = b.half().contiguous()
            tensors[key + ".alpha"] = torch.tensor(float(alpha)).half()
    conv = any(a.dim() == 4 and a.shape[-1] == 3 for a, _ in (unet or {}).values())
    args = {"conv_dim": str(rank), "conv_alpha": str(alpha)} if conv else {}
    meta = {"ss_network_module": module, "ss_network_dim": str(rank), "ss_network_alpha": str(alpha),
            "ss_network_args": json.dumps(args), "ss_base_model_version": "sd_v1", "ss_sd_model_name": "admix-mini",
            "ss_output_name": title, "ss_tag_frequency": json.dumps({f"1_{title}": {t: n for t, n in triggers.items()}}),
            "modelspec.architecture": "stable-diffusion-v1/lora", "modelspec.title": title,
            "modelspec.trigger_phrase": ", ".join(triggers), "ss_resolution": "(128, 128)"}
    save_file(tensors, path, meta | (extra or {}))
