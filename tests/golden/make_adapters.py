"""Adapter fixtures for models/sd1_tiny: four LoRA file formats, the weights they must give, and pictures of two at once.

The files hold synthetic values (synth.py). diffusers loads and fuses them; a second, independent computation in
f64 (W + weight * scale * up @ down) has to agree before anything is written.
"""

import json
import pathlib
import shutil

import torch
from diffusers import StableDiffusionPipeline
from diffusers.utils import convert_state_dict_to_diffusers
from peft import LoraConfig, PeftModel, get_peft_model, get_peft_model_state_dict
from peft.tuners.lora import LoraLayer

import make_models
import oracle
import store
import synth

HERE = pathlib.Path(__file__).parent
OUT = HERE / "adapters"
MODEL = HERE / "models" / "sd1_tiny"
WEIGHT = 0.8
TWO = (("kohya", 0.8), ("diffusers", 0.5))

DOWN = "down_blocks.0.attentions.0.transformer_blocks.0"
UP = "up_blocks.1.attentions.2.transformer_blocks.0"
MID = "mid_block.attentions.0.transformer_blocks.0"


def factors(seed: str, name: str, shape, rank: int) -> tuple[torch.Tensor, torch.Tensor]:
    """(down, up) in f16 for a weight of `shape`: a convolution's down carries its kernel, its up is 1x1."""
    fan_in = 1
    for n in shape[1:]:
        fan_in *= n
    down = synth.uniform(f"{seed}/{name}.down", (rank, *shape[1:]), 1.5 / fan_in**0.5)
    up = synth.uniform(f"{seed}/{name}.up", (shape[0], rank, *([1] * (len(shape) - 2))), 0.6 / rank**0.5)
    return down.half(), up.half()


def delta(down: torch.Tensor, up: torch.Tensor, shape) -> torch.Tensor:
    """up @ down in f64 at the weight's shape."""
    return (up.double().flatten(1) @ down.double().flatten(1)).reshape(tuple(shape))


# The modules of each file: (canonical weight name without ".weight", rank, alpha or None).
def te(layer, part):
    return f"text_encoder.text_model.encoder.layers.{layer}.{part}"


KOHYA = [
    (f"unet.{DOWN}.attn1.to_q", 4, 2.0),
    (f"unet.{DOWN}.attn1.to_k", 2, 4.0),
    (f"unet.{DOWN}.attn2.to_v", 3, 1.5),
    (f"unet.{DOWN}.attn2.to_out.0", 8, 8.0),
    (f"unet.{DOWN}.ff.net.0.proj", 4, 1.0),
    (f"unet.{DOWN}.ff.net.2", 4, 4.0),
    (f"unet.{UP}.attn2.to_k", 1, 1.0),
    (f"unet.{UP}.attn2.to_q", 5, None),
    (f"unet.{MID}.attn1.to_out.0", 4, 2.0),
    ("unet.down_blocks.0.attentions.1.proj_in", 4, 2.0),
    ("unet.up_blocks.1.attentions.0.proj_out", 4, 3.0),
    ("unet.down_blocks.0.resnets.0.conv1", 4, 2.0),
    ("unet.up_blocks.0.resnets.1.conv2", 3, 1.0),
    ("unet.up_blocks.0.resnets.0.conv_shortcut", 4, 4.0),
    ("unet.down_blocks.0.downsamplers.0.conv", 2, 1.0),
    ("unet.up_blocks.0.upsamplers.0.conv", 2, 1.0),
    ("unet.mid_block.resnets.0.time_emb_proj", 4, 2.0),
    (te(0, "self_attn.q_proj"), 4, 2.0),
    (te(0, "self_attn.out_proj"), 4, 4.0),
    (te(1, "mlp.fc1"), 3, 1.0),
    (te(2, "mlp.fc2"), 2, 2.0),
]

OLD = [
    *((f"unet.{DOWN}.attn1.{p}", 4, None) for p in ("to_q", "to_k", "to_v", "to_out.0")),
    *((f"unet.{UP}.attn2.{p}", 2, None) for p in ("to_q", "to_k", "to_v", "to_out.0")),
    *((te(1, f"self_attn.{p}"), 3, None) for p in ("q_proj", "k_proj", "v_proj", "out_proj")),
]


def weights(pipe) -> dict:
    """All weights of U-Net and text encoder by canonical name."""
    out = {f"unet.{k}": v for k, v in pipe.unet.state_dict().items()}
    return out | {f"text_encoder.text_model.{k}": v for k, v in pipe.text_encoder.state_dict().items()}


def kohya(base):
    """sd-scripts' layout: flattened names, `.alpha` scalars (one module has none: scale 1)."""
    tensors, modules = {}, {}
    for name, rank, alpha in KOHYA:
        down, up = factors("kohya", name, base[name + ".weight"].shape, rank)
        key = name.replace("text_encoder.", "lora_te.").replace("unet.", "lora_unet.", 1).replace(".", "_")
        tensors[f"{key}.lora_down.weight"], tensors[f"{key}.lora_up.weight"] = down, up
        if alpha is not None:
            tensors[f"{key}.alpha"] = torch.tensor(alpha, dtype=torch.float16)
        modules[name] = (down, up, 1.0 if alpha is None else alpha / rank)
    meta = {
        "ss_network_module": "networks.lora",
        "ss_network_dim": "8",
        "ss_network_alpha": "4",
        "ss_base_model_version": "sd_v1",
        "ss_tag_frequency": json.dumps({"10_ink": {"inkwash": 12, "paper": 3}}),
    }
    store.save(OUT / "kohya.safetensors", tensors, meta)
    return modules


def old_processor(base):
    """The layout diffusers wrote before peft: attention processors, text encoder `lora_linear_layer`; no alpha."""
    tensors, modules = {}, {}
    for name, rank, _ in OLD:
        down, up = factors("old", name, base[name + ".weight"].shape, rank)
        if name.startswith("unet."):
            block, part = name.split(".attn1.") if ".attn1." in name else name.split(".attn2.")
            attn = "attn1" if ".attn1." in name else "attn2"
            key = f"{block}.{attn}.processor.{part.replace('.0', '')}_lora"
        else:
            key = f"{name}.lora_linear_layer"
        tensors[f"{key}.down.weight"], tensors[f"{key}.up.weight"] = down, up
        modules[name] = (down, up, 1.0)
    store.save(OUT / "old_processor.safetensors", tensors, {"format": "pt"})
    return modules


def fill_peft(model, seed: str, prefix: str) -> dict:
    """Gives every LoRA factor of a peft model a synthetic f16 value; returns the modules."""
    modules = {}
    for path, layer in model.named_modules():
        if not hasattr(layer, "lora_A") or "default" not in layer.lora_A:
            continue
        name = prefix + path.removeprefix("base_model.model.")
        a, b = layer.lora_A["default"].weight, layer.lora_B["default"].weight
        down, up = factors(seed, name, layer.base_layer.weight.shape, a.shape[0])
        a.data.copy_(down)
        b.data.copy_(up)
        modules[name] = (down, up, layer.scaling["default"])
    return modules


def peft_folder(pipe):
    """What PeftModel.save_pretrained writes: rsLoRA (scale alpha / sqrt(rank)), rank and alpha patterns."""
    config = LoraConfig(
        r=4,
        lora_alpha=3,
        use_rslora=True,
        target_modules=r".*(attn1\.to_q|attn2\.to_v|attn2\.to_out\.0|ff\.net\.2|resnets\.0\.conv2|proj_in|conv_shortcut)",
        rank_pattern={"attn2.to_v": 6, "conv2": 2},
        alpha_pattern={"ff.net.2": 5},
        init_lora_weights=False,
    )
    model = get_peft_model(pipe.unet, config)
    modules = fill_peft(model, "peft", "unet.")
    folder = OUT / "peft_rslora"
    shutil.rmtree(folder, ignore_errors=True)
    model.save_pretrained(folder)
    model.unload()
    store.rewrite(folder / "adapter_model.safetensors", torch.float16)
    (folder / "README.md").unlink(missing_ok=True)
    config = folder / "adapter_config.json"
    data = json.loads(config.read_text())
    data["base_model_name_or_path"] = None
    data["target_modules"] = data["target_modules"] if isinstance(data["target_modules"], str) else sorted(data["target_modules"])
    config.write_text(json.dumps(data, indent=2, sort_keys=True) + "\n")
    return modules


def diffusers_file(pipe):
    """What StableDiffusionPipeline.save_lora_weights writes, alpha in the metadata `lora_adapter_metadata`."""
    common = {"init_lora_weights": False}
    unet_config = LoraConfig(r=4, lora_alpha=8, target_modules=["to_q", "to_k", "to_v", "to_out.0", "conv1"], **common)
    text_config = LoraConfig(r=2, lora_alpha=1, target_modules=["q_proj", "v_proj", "fc2"], **common)
    unet, text = get_peft_model(pipe.unet, unet_config), get_peft_model(pipe.text_encoder, text_config)
    modules = fill_peft(unet, "diffusers", "unet.") | fill_peft(text, "diffusers", "text_encoder.text_model.")
    state = {}
    for part, model in (("unet", unet), ("text_encoder", text)):
        layers = {
            k.replace("base_model.model.", ""): v for k, v in get_peft_model_state_dict(model).items()
        }
        if part == "text_encoder":
            layers = {f"text_model.{k}": v for k, v in layers.items()}
        state[part] = convert_state_dict_to_diffusers(layers)
    tmp = OUT / "tmp"
    StableDiffusionPipeline.save_lora_weights(
        tmp,
        unet_lora_layers=state["unet"],
        text_encoder_lora_layers=state["text_encoder"],
        unet_lora_adapter_metadata=plain(unet_config),
        text_encoder_lora_adapter_metadata=plain(text_config),
    )
    unet.unload()
    text.unload()
    shutil.move(tmp / "pytorch_lora_weights.safetensors", OUT / "diffusers.safetensors")
    shutil.rmtree(tmp)
    store.rewrite(OUT / "diffusers.safetensors", torch.float16)
    return modules


def plain(config: LoraConfig) -> dict:
    """The config as sorted JSON-able data (peft keeps sets, whose order changes from run to run)."""
    data = {k: sorted(v) if isinstance(v, set) else v for k, v in config.to_dict().items()}
    data["base_model_name_or_path"] = None
    return {k: data[k] for k in sorted(data)}


def kohya_names(file) -> dict:
    """The kohya file as diffusers translates it: {canonical name: alpha or None}, to hold the key names against an
    outside reading. (Its later stage loses alphas that differ from module to module, in attention and text encoder,
    with a warning; what is fused here goes through peft.)"""
    state, alphas = StableDiffusionPipeline.lora_state_dict(str(file))

    def canonical(key: str) -> str:
        for tail in (".alpha", ".weight", ".down", ".up", ".lora_A", ".lora_B", ".lora", ".lora_linear_layer"):
            key = key.removesuffix(tail)
        if ".processor." in key:
            key = key.replace(".processor.", ".").removesuffix("_lora")
            key = key + ".0" if key.endswith("to_out") else key
        for part, lora in (("q_proj", "to_q"), ("k_proj", "to_k"), ("v_proj", "to_v"), ("out_proj", "to_out")):
            key = key.replace(f".self_attn.{lora}_lora", f".self_attn.{part}")
        return key

    named = {canonical(k): float(v) for k, v in (alphas or {}).items()}
    return {canonical(k): named.get(canonical(k)) for k in state}


def attach(pipe, name: str, modules: dict, weight: float) -> None:
    """Folds one adapter into pipe's weights: files that diffusers reads rightly through its own loader, the others
    through peft with the rank and alpha of every module stated."""
    if name in ("diffusers", "old_processor"):
        pipe.load_lora_weights(str(OUT / f"{name}.safetensors"), adapter_name=name)
        pipe.set_adapters([name], [weight])
        pipe.fuse_lora(adapter_names=[name])
        pipe.unload_lora_weights()
        return
    if name == "peft_rslora":
        model = PeftModel.from_pretrained(pipe.unet, OUT / "peft_rslora")
        merge(pipe, "unet", model, weight)
        return
    for component, prefix in (("unet", "unet."), ("text_encoder", "text_encoder.text_model.")):
        part = {n.removeprefix(prefix): m for n, m in modules.items() if n.startswith(prefix)}
        config = LoraConfig(
            r=1,
            lora_alpha=1,
            target_modules=list(part),
            rank_pattern={f"^{n}": m[0].shape[0] for n, m in part.items()},
            alpha_pattern={f"^{n}": m[2] * m[0].shape[0] for n, m in part.items()},
        )
        model = get_peft_model(getattr(pipe, component), config)
        for n, (down, up, _) in part.items():
            layer = model.base_model.model.get_submodule(n)
            layer.lora_A["default"].weight.data.copy_(down)
            layer.lora_B["default"].weight.data.copy_(up)
        merge(pipe, component, model, weight)


def merge(pipe, component: str, model, weight: float) -> None:
    """peft's merge_and_unload at `weight`."""
    for layer in model.modules():
        if isinstance(layer, LoraLayer):
            layer.scale_layer(weight)
    setattr(pipe, component, model.merge_and_unload())


def fused(files: dict, chosen) -> StableDiffusionPipeline:
    """sd1_tiny with the adapters [(name, weight)] folded into its weights, one after another."""
    pipe = make_models.load_folder(MODEL)
    for name, weight in chosen:
        attach(pipe, name, files[name], weight)
    return pipe


def expected(base, parts) -> dict:
    """f64 weights after adding [(modules, weight)]: the independent computation."""
    out = {}
    for modules, weight in parts:
        for name, (down, up, scale) in modules.items():
            key = name + ".weight"
            out[key] = out.get(key, base[key].double()) + weight * scale * delta(down, up, base[key].shape)
    return out


def check(pipe, base, want) -> float:
    """Worst relative distance of diffusers' fused weights from the f64 ones; nothing else may have changed."""
    got, worst = weights(pipe), 0.0
    assert got.keys() == base.keys()
    for name, w in got.items():
        if name in want:
            d = oracle.rel(w, want[name])
            assert d < 1e-6, (name, d)
            worst = max(worst, d)
        else:
            assert torch.equal(w, base[name]), f"{name} changed"
    return worst


def make() -> None:
    OUT.mkdir(exist_ok=True)
    base = {k: v.clone() for k, v in weights(make_models.load_folder(MODEL)).items()}
    files = {"kohya": kohya(base), "old_processor": old_processor(base)}
    files["peft_rslora"] = peft_folder(make_models.load_folder(MODEL))
    files["diffusers"] = diffusers_file(make_models.load_folder(MODEL))
    said = kohya_names(OUT / "kohya.safetensors")
    assert said.keys() == files["kohya"].keys(), said.keys() ^ files["kohya"].keys()
    for name, rank, alpha in KOHYA:
        assert said[name] == alpha, (name, said[name], alpha)
    for name, modules in files.items():
        pipe = fused(files, [(name, WEIGHT)])
        want = expected(base, [(modules, WEIGHT)])
        worst = check(pipe, base, want)
        print(f"{name}: {len(modules)} modules, fused weights against f64 {worst:.1e}")
        keep = sorted(want)[:: max(1, len(want) - 1)][:2]
        info = {
            "model": "models/sd1_tiny",
            "weight": WEIGHT,
            "modules": {
                n: {"rank": d.shape[0], "scale": s, "delta_rel": oracle.rel(want[n + ".weight"], base[n + ".weight"])}
                for n, (d, u, s) in sorted(modules.items())
            },
            "effective": {n: store.checksum(w) for n, w in sorted(want.items())},
            "full": keep,
        }
        tensors = {f"effective.{n}": want[n].float() for n in keep}
        store.save(OUT / f"{name}.golden.safetensors", tensors, {"admix_golden": json.dumps(info)})

    two = fused(files, TWO)
    want = expected(base, [(files[n], w) for n, w in TWO])
    print(f"two at once: fused weights against f64 {check(two, base, want):.1e}")
    t, _ = store.load(HERE / "models" / "sd1_tiny.golden.safetensors")
    plain_latents = t["latents.euler_normal"]
    out = {k: t[k] for k in ("text.ids", "noise", "unet.in.sample")}
    out["text.out.clip_skip_1"] = oracle.embeds(two.text_encoder, t["text.ids"], 1)
    out["cond"], out["uncond"] = (out["text.out.clip_skip_1"][i : i + 1].clone() for i in (0, 1))
    hidden = torch.cat([out["uncond"], out["cond"]])
    out["unet.out.t981"] = two.unet(t["unet.in.sample"], 981, hidden).sample
    for s in ("euler_normal", "dpmpp_2m_karras"):
        out[f"latents.{s}"] = oracle.sample(two, s, t["noise"], out["cond"], out["uncond"])
    print(f"two at once: latents against those without, {oracle.rel(out['latents.euler_normal'], plain_latents):.2f}")
    info = {
        "model": "models/sd1_tiny",
        "adapters": [{"file": f"adapters/{n}.safetensors", "weight": w} for n, w in TWO],
        "effective": {n: store.checksum(w) for n, w in sorted(want.items())},
        "runs": {"steps": 20, "cfg": 7.5},
    }
    store.save(OUT / "two.golden.safetensors", out, {"admix_golden": json.dumps(info)})


if __name__ == "__main__":
    make()
