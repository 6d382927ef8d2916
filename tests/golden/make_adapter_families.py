"""Adapter fixtures of every family, made by the libraries that define them: LyCORIS' modules and peft's tuners on models/sd1_tiny.

Parameters are random, rounded to f16 and then used, so that the stored file is what the library computed with. The truth is
what the library merges (peft) or runs (LyCORIS: an adapted layer must give, on a random input, what its weight gives here;
lycoris-lora 4.1.3 scales LoHa and LoKr twice when it merges, but not when it runs). `all.golden.safetensors` holds, for every
tensor that a fixture touches, the effective values: all of a small one, every k-th of a larger one; and the final latents
with every fixture.
"""

import json
import pathlib
import shutil
import warnings

import numpy as np
import peft
import torch
import torch.nn.functional as F
from lycoris.functional.general import weight_decompose
from lycoris.modules.boft import ButterflyOFTModule
from lycoris.modules.diag_oft import DiagOFTModule
from lycoris.modules.full import FullModule
from lycoris.modules.glora import GLoRAModule
from lycoris.modules.ia3 import IA3Module
from lycoris.modules.locon import LoConModule
from lycoris.modules.loha import LohaModule
from lycoris.modules.lokr import LokrModule
from lycoris.modules.norms import NormModule

import make_models
import oracle
import store

HERE = pathlib.Path(__file__).parent
OUT = HERE / "families"
MODEL = HERE / "models" / "sd1_tiny"
BLOCK = "down_blocks.0.attentions.0.transformer_blocks.0"
Q, K2, OUTER, FF, FF2 = (f"{BLOCK}.{p}" for p in ("attn1.to_q", "attn2.to_k", "attn1.to_out.0", "ff.net.0.proj", "ff.net.2"))
CONV, CONV2, PROJ = "down_blocks.0.resnets.0.conv1", "down_blocks.0.resnets.0.conv2", "down_blocks.0.attentions.0.proj_in"
NORM, LAYER_NORM = "down_blocks.0.resnets.0.norm1", f"{BLOCK}.norm1"
# Effective values kept of one tensor.
KEEP = 300

# LyCORIS: (module class, layer, arguments).
LYCORIS = {
    "loha": [
        (LohaModule, Q, {"lora_dim": 4, "alpha": 2}),
        (LohaModule, CONV, {"lora_dim": 3, "alpha": 1}),
        (LohaModule, CONV2, {"lora_dim": 2, "alpha": 2, "use_tucker": True}),
        (LohaModule, PROJ, {"lora_dim": 2, "alpha": 1}),
    ],
    "lokr": [
        (LokrModule, Q, {"lora_dim": 2, "alpha": 1, "factor": 4}),
        (LokrModule, K2, {"lora_dim": 1, "alpha": 0.5, "factor": 4, "decompose_both": True}),
        (LokrModule, OUTER, {"lora_dim": 4, "alpha": 3, "full_matrix": True}),
        (LokrModule, CONV, {"lora_dim": 2, "alpha": 1, "factor": 4}),
        (LokrModule, CONV2, {"lora_dim": 2, "alpha": 2, "factor": 2, "use_tucker": True}),
        (LokrModule, PROJ, {"lora_dim": 8, "alpha": 4, "factor": 2}),
    ],
    "dora": [
        (LoConModule, Q, {"lora_dim": 4, "alpha": 2, "weight_decompose": True}),
        (LoConModule, K2, {"lora_dim": 3, "alpha": 2, "weight_decompose": True, "wd_on_out": False}),
        (LoConModule, CONV, {"lora_dim": 2, "alpha": 1, "weight_decompose": True}),
        (LoConModule, "down_blocks.1.resnets.0.conv1", {"lora_dim": 2, "alpha": 1, "weight_decompose": True, "wd_on_out": False}),
        (LohaModule, OUTER, {"lora_dim": 2, "alpha": 1, "weight_decompose": True}),
        (LokrModule, FF2, {"lora_dim": 2, "alpha": 1, "factor": 4, "weight_decompose": True}),
        (LoConModule, CONV2, {"lora_dim": 2, "alpha": 1, "use_tucker": True}),
    ],
    "ia3": [
        (IA3Module, K2, {}),
        (IA3Module, Q, {"train_on_input": True}),
        (IA3Module, CONV, {}),
        (IA3Module, "down_blocks.1.resnets.0.conv1", {"train_on_input": True}),
    ],
    "full": [
        (FullModule, OUTER, {}),
        (FullModule, PROJ, {}),
        (FullModule, Q, {}),
        (NormModule, NORM, {}),
        (NormModule, LAYER_NORM, {}),
    ],
    "oft": [
        (DiagOFTModule, Q, {"lora_dim": 4}),
        (DiagOFTModule, FF, {"lora_dim": 8, "constraint": 1 / 512}),
        (DiagOFTModule, CONV, {"lora_dim": 4, "rescaled": True}),
    ],
    "boft": [
        (ButterflyOFTModule, Q, {"lora_dim": 4}),
        (ButterflyOFTModule, FF, {"lora_dim": 8, "constraint": 1 / 128}),
        (ButterflyOFTModule, CONV, {"lora_dim": 4, "rescaled": True}),
    ],
    "glora": [
        (GLoRAModule, K2, {"lora_dim": 3, "alpha": 2}),
        (GLoRAModule, CONV, {"lora_dim": 2, "alpha": 1}),
        (GLoRAModule, PROJ, {"lora_dim": 2, "alpha": 2}),
    ],
}
# The same files at another strength, where LyCORIS' own merging is what strength means here.
STRENGTH = {"oft": 0.6, "boft": 0.6, "ia3": 0.6, "full": 0.6, "glora": 0.6}

LINEAR = [Q, K2, OUTER, FF2]
COMMON = {"target_modules": LINEAR}
PEFT = {
    "loha": peft.LoHaConfig(r=3, alpha=2, init_weights=False, use_effective_conv2d=True, target_modules=[Q, CONV, PROJ], alpha_pattern={"proj_in": 5}),
    "loha_flat": peft.LoHaConfig(r=2, alpha=1, init_weights=False, target_modules=[CONV]),
    "lokr": peft.LoKrConfig(r=2, alpha=3, init_weights=False, decompose_both=True, target_modules=[Q, FF, CONV]),
    "lokr_full": peft.LoKrConfig(r=16, alpha=4, init_weights=False, decompose_factor=4, target_modules=[Q, CONV]),
    "lokr_effective": peft.LoKrConfig(r=2, alpha=2, init_weights=False, use_effective_conv2d=True, decompose_factor=2, target_modules=[CONV, K2]),
    "dora": peft.LoraConfig(r=3, lora_alpha=4, use_dora=True, init_lora_weights=False, target_modules=[Q, K2, CONV, PROJ]),
    "lora_bias": peft.LoraConfig(r=2, lora_alpha=3, lora_bias=True, init_lora_weights=False, target_modules=[OUTER, FF2]),
    "lora_saved": peft.LoraConfig(
        r=2, lora_alpha=3, bias="lora_only", modules_to_save=["conv_out", NORM], init_lora_weights=False, target_modules=[FF2, CONV]
    ),
    "ia3": peft.IA3Config(target_modules=[K2, OUTER, FF2, CONV, CONV2], feedforward_modules=[FF2, CONV2], init_ia3_weights=False),
    "oft": peft.OFTConfig(oft_block_size=4, r=0, init_weights=False, **COMMON),
    "oft_exact": peft.OFTConfig(oft_block_size=8, r=0, init_weights=False, use_cayley_neumann=False, block_share=True, target_modules=[Q, K2, CONV]),
    "oft_constrained": peft.OFTConfig(oft_block_size=8, r=0, init_weights=False, coft=True, eps=0.05, num_cayley_neumann_terms=7, target_modules=[Q, PROJ]),
    "boft": peft.BOFTConfig(boft_block_size=4, boft_n_butterfly_factor=3, init_weights=False, target_modules=[Q, K2, CONV]),
    "boft_plain": peft.BOFTConfig(boft_block_size=8, boft_n_butterfly_factor=1, init_weights=False, target_modules=[Q, OUTER]),
    "hra": peft.HRAConfig(r=4, init_weights=False, target_modules=[Q, K2, CONV]),
    "hra_orthogonal": peft.HRAConfig(r=3, apply_GS=True, init_weights=False, target_modules=[Q, FF2]),
    "road_1": peft.RoadConfig(variant="road_1", group_size=8, init_weights=False, target_modules=[Q, OUTER]),
    "road_2": peft.RoadConfig(variant="road_2", group_size=16, init_weights=False, target_modules=[Q, OUTER, FF2]),
    "road_4": peft.RoadConfig(variant="road_4", group_size=4, init_weights=False, target_modules=[K2, FF]),
    "vera": peft.VeraConfig(r=5, init_weights=False, target_modules=[Q, K2, FF2]),
    "shira": peft.ShiraConfig(r=2, init_weights=False, target_modules=[Q, K2], random_seed=7),
}


def f16(t: torch.Tensor) -> torch.Tensor:
    """Rounded to f16, kept in f32."""
    return t.half().float()


def lycoris(name: str, pipe) -> tuple[dict, dict, dict]:
    """(tensors of the file, effective tensors by canonical name, effective at STRENGTH)."""
    tensors, effective, weaker = {}, {}, {}
    for i, (cls, path, arguments) in enumerate(LYCORIS[name]):
        torch.manual_seed(1000 + i)
        layer = pipe.unet.get_submodule(path)
        lora = "lora_unet_" + path.replace(".", "_")
        module = cls(lora, layer, **arguments)
        for key, p in module.named_parameters():
            # Around what training starts from: 1 for lengths and factors, 0 for everything else.
            spread = {"dora_scale": 0.2, "rescale": 0.2, "w_norm": 0.2, "b_norm": 0.2}.get(key.split(".")[0], 0.35)
            start = p.data if key in ("dora_scale", "rescale") else torch.zeros_like(p)
            p.data = f16(start + spread * torch.randn_like(p))
        whole, bias = merged(module, layer, 1.0)
        probe(module, layer, whole, bias)
        effective[f"unet.{path}.weight"] = whole
        if bias is not None:
            effective[f"unet.{path}.bias"] = bias
        # LyCORIS applies the rows' factors whole at any strength; here strength 0 gives the model's own weight.
        if name in STRENGTH and not arguments.get("rescaled"):
            whole, bias = merged(module, layer, STRENGTH[name])
            weaker[f"unet.{path}.weight"] = whole
            if bias is not None:
                weaker[f"unet.{path}.bias"] = bias
        if cls is FullModule:
            # It holds the whole weight once it runs, and stores what that has more than the model's.
            forward = layer.forward
            module.apply_to()
        stored = module.custom_state_dict() or module.state_dict()
        if cls is FullModule:
            module.restore()
            layer.forward = forward
        for key, value in stored.items():
            tensors[f"{lora}.{key}"] = value.detach().half() if value.is_floating_point() else value.detach()
        if cls is FullModule and layer.bias is None:
            tensors.pop(f"{lora}.diff_b", None)
    return tensors, effective, weaker


def merged(module, layer, strength: float):
    """Weight and bias of the adapted layer, as the module runs it."""
    base = layer.weight.detach()
    if isinstance(module, (LohaModule, LokrModule)):
        delta = module.get_weight(base.shape)
        if module.wd:
            return weight_decompose(base + delta, module.dora_scale, strength, module.wd_on_out), None
        return base + strength * delta, None
    if isinstance(module, FullModule):
        return base + strength * module.weight, None if layer.bias is None else layer.bias + strength * module.bias
    weight, bias = module.get_merged_weight(strength, base.shape)
    return weight, bias


def probe(module, layer, weight, bias) -> None:
    """The adapted layer gives what a layer of that weight gives."""
    if isinstance(module, (NormModule, FullModule)):
        return
    torch.manual_seed(7)
    own = layer.bias if bias is None else bias
    if isinstance(layer, torch.nn.Linear):
        x = torch.randn(5, layer.in_features)
        expected = F.linear(x, weight, own)
    else:
        x = torch.randn(2, layer.in_channels, 6, 6)
        expected = F.conv2d(x, weight, own, layer.stride, layer.padding)
    module.eval()
    forward = layer.forward
    module.apply_to()
    got = layer(x)
    module.restore()
    layer.forward = forward
    assert oracle.rel(got, expected) < 2e-6, (type(module).__name__, oracle.rel(got, expected))


def peft_folder(name: str) -> dict:
    """Saves the tuner as peft does; returns the merged tensors."""
    torch.manual_seed(hash_of(name))
    pipe = make_models.load_folder(MODEL)
    base = {k: v.clone() for k, v in pipe.unet.state_dict().items()}
    model = peft.get_peft_model(pipe.unet, PEFT[name])
    model.eval()
    for key, p in model.named_parameters():
        if any(part in key for part in ("lora_", "hada_", "lokr_", "ia3_", "oft_", "boft_", "hra_", "road_", "vera_", "shira_")):
            if "magnitude" in key:
                p.data = p.data * (1 + 0.2 * torch.randn_like(p))
            elif "ia3_" in key or "boft_s" in key or "road_alpha" in key:
                p.data = 1 + 0.3 * torch.randn_like(p)
            elif "oft_R" in key or "boft_R" in key:
                p.data = 0.15 * torch.randn_like(p)
            else:
                p.data = 0.4 * torch.randn_like(p)
            p.data = f16(p.data)
        elif p.requires_grad:
            # `modules_to_save` and trained biases: whole layers.
            p.data = f16(p.data + 0.3 * torch.randn_like(p))
    for module in model.modules():
        for shared in ("vera_A", "vera_B"):
            if isinstance(getattr(module, shared, None), torch.nn.Module):
                for key in getattr(module, shared).keys():
                    getattr(module, shared)[key] = f16(getattr(module, shared)[key])
    folder = OUT / f"peft_{name}"
    shutil.rmtree(folder, ignore_errors=True)
    model.save_pretrained(folder)
    (folder / "README.md").unlink(missing_ok=True)
    store.rewrite(folder / "adapter_model.safetensors", torch.float16)
    config = folder / "adapter_config.json"
    data = json.loads(config.read_text())
    data["base_model_name_or_path"] = None
    data["target_modules"] = sorted(data["target_modules"])
    config.write_text(json.dumps(data, indent=1, sort_keys=True) + "\n")
    out = model.merge_and_unload().state_dict()
    assert out.keys() == base.keys(), out.keys() ^ base.keys()
    return {f"unet.{k}": v for k, v in out.items() if not torch.equal(v, base[k])}


def hash_of(name: str) -> int:
    return sum((i + 1) * b for i, b in enumerate(name.encode()))


def bitdelta(base: dict) -> tuple[dict, dict, dict]:
    """Our own layout, packed and unpacked here by numpy (Liu et al. 2024: signs, and the mean magnitude)."""
    tensors, effective = {}, {}
    for i, path in enumerate([Q, K2, CONV]):
        torch.manual_seed(50 + i)
        w = base[f"{path}.weight"]
        change = 0.05 * torch.randn_like(w)
        signs = (change > 0).reshape(w.shape[0], -1).numpy()
        scale = change.abs().mean()
        tensors[f"unet.{path}.mask"] = torch.from_numpy(np.packbits(signs, axis=1, bitorder="little").copy())
        tensors[f"unet.{path}.coeff"] = scale.reshape(())
        effective[f"unet.{path}.weight"] = w + scale * torch.where(change > 0, 1.0, -1.0)
    tensors[f"unet.{NORM}.diff"], tensors[f"unet.{NORM}.diff_b"] = f16(torch.randn(16)).half(), f16(torch.randn(16)).half()
    effective[f"unet.{NORM}.weight"] = base[f"{NORM}.weight"] + tensors[f"unet.{NORM}.diff"].float()
    effective[f"unet.{NORM}.bias"] = base[f"{NORM}.bias"] + tensors[f"unet.{NORM}.diff_b"].float()
    return tensors, effective, {"admix_bitdelta": "1"}


def resadapter(base: dict) -> dict:
    """ResAdapter's two files: diffusers' LoRA on the residual convolutions, and plain normalisations."""
    torch.manual_seed(99)
    lora, effective = {}, {}
    for path in (CONV, CONV2):
        w = base[f"{path}.weight"]
        down, up = 0.3 * torch.randn(2, *w.shape[1:]), 0.3 * torch.randn(w.shape[0], 2, 1, 1)
        down, up = f16(down), f16(up)
        lora[f"unet.{path}.lora.down.weight"], lora[f"unet.{path}.lora.up.weight"] = down.half(), up.half()
        effective[f"unet.{path}.weight"] = w + (up.flatten(1) @ down.flatten(1)).reshape(w.shape)
    norms = {f"{NORM}.{p}": f16(base[f"{NORM}.{p}"] + 0.2 * torch.randn(16)).half() for p in ("weight", "bias")}
    effective |= {f"unet.{k}": v.float() for k, v in norms.items()}
    store.save(OUT / "resadapter" / "pytorch_lora_weights.safetensors", lora, {"format": "pt"})
    store.save(OUT / "resadapter" / "diffusion_pytorch_model.safetensors", norms, {"format": "pt"})
    return effective


def old_glora(tensors: dict) -> dict:
    """The layout before LyCORIS 2: every factor the other way round (linear layers), told by its shapes."""
    out = {}
    lora = "lora_unet_" + K2.replace(".", "_")
    for new, old in (("a1", "a2"), ("a2", "a1"), ("b1", "b2"), ("b2", "b1")):
        out[f"{lora}.{old}.weight"] = tensors[f"{lora}.{new}.weight"]
    out[f"{lora}.alpha"] = tensors[f"{lora}.alpha"]
    return out


def shira_columns(folder) -> None:
    """peft keeps the indices as they are, int32: nothing to do but to look."""
    tensors, _ = store.load(folder / "adapter_model.safetensors")
    assert any("shira_indices" in k for k in tensors), tensors.keys()


def main() -> None:
    warnings.filterwarnings("ignore")
    shutil.rmtree(OUT, ignore_errors=True)
    pipe = make_models.load_folder(MODEL)
    base = {k: v.clone() for k, v in pipe.unet.state_dict().items()}
    golden, about, merged = {}, {}, {}

    def keep(name: str, effective: dict, strength: float = 1.0) -> None:
        entry = {"weight": strength, "tensors": {}}
        if strength == 1.0:
            merged[name] = {k.removeprefix("unet."): v.detach().float() for k, v in effective.items()}
        case = name if strength == 1.0 else f"{name}@{strength}"
        for key, value in sorted(effective.items()):
            flat = value.detach().float().flatten()
            step = max(1, -(-flat.numel() // KEEP))
            # Not a multiple of a width or a kernel, so that every row and tap is met.
            step += step > 1 and step % 2 == 0
            golden[f"{case}/{key}"] = flat[::step].clone()
            entry["tensors"][key] = {"step": step, "l2": float(flat.double().norm()), "shape": list(value.shape)}
        about[case] = entry

    for name in LYCORIS:
        tensors, effective, weaker = lycoris(name, pipe)
        file = f"lycoris_{name}"
        store.save(OUT / f"{file}.safetensors", tensors, {"ss_network_module": "lycoris.kohya", "ss_base_model_version": "sd_v1"})
        keep(file, effective)
        if weaker:
            keep(file, weaker, STRENGTH[name])
        if name == "glora":
            store.save(OUT / "glora_old.safetensors", old_glora(tensors))
            keep("glora_old", {f"unet.{K2}.weight": effective[f"unet.{K2}.weight"]})
    # Whatever LyCORIS did to the layers is gone.
    for key, value in pipe.unet.state_dict().items():
        assert torch.equal(value, base[key]), key
    for name in PEFT:
        keep(f"peft_{name}", peft_folder(name))
    shira_columns(OUT / "peft_shira")
    tensors, effective, metadata = bitdelta(base)
    store.save(OUT / "bitdelta.safetensors", tensors, metadata)
    keep("bitdelta", effective)
    keep("resadapter", resadapter(base))

    t, _ = store.load(HERE / "models" / "sd1_tiny.golden.safetensors")
    golden |= {k: t[k] for k in ("noise", "cond", "uncond")}
    plain = t["latents.euler_normal"]
    for name, weights in merged.items():
        pipe = make_models.load_folder(MODEL)
        pipe.unet.load_state_dict(pipe.unet.state_dict() | weights)
        golden[f"latents.{name}"] = oracle.sample(pipe, "euler_normal", t["noise"], t["cond"], t["uncond"])
        far = oracle.rel(golden[f"latents.{name}"], plain)
        print(f"{name}: its picture is {far:.3f} away from the plain one")
        # Ten times what the program may differ by: a file that is not applied must not pass.
        assert far > 0.01
    store.save(OUT / "all.golden.safetensors", golden, {"admix_golden": json.dumps({"model": "models/sd1_tiny", "cases": about})})


if __name__ == "__main__":
    main()
