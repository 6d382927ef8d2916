"""diffusers names -> the names of a single-file Stable Diffusion 1 (ldm) or XL (sgm) checkpoint, and back by diffusers'
converter.

Synthetic fixtures are not committed as weights: models/NAME.weights.json lists every tensor with its shape, its ldm
name and the two numbers its values are made from (README.md, "Synthetic weights")."""

import json
import pathlib
import re
import shutil

import torch
from diffusers.loaders.single_file_utils import (
    convert_ldm_clip_checkpoint,
    convert_ldm_unet_checkpoint,
    convert_ldm_vae_checkpoint,
    convert_open_clip_checkpoint,
)

import store

RESNET = {
    "norm1": "in_layers.0",
    "conv1": "in_layers.2",
    "time_emb_proj": "emb_layers.1",
    "norm2": "out_layers.0",
    "conv2": "out_layers.3",
    "conv_shortcut": "skip_connection",
}
OUTER = {
    "conv_in": "input_blocks.0.0",
    "time_embedding.linear_1": "time_embed.0",
    "time_embedding.linear_2": "time_embed.2",
    "conv_norm_out": "out.0",
    "conv_out": "out.2",
    "add_embedding.linear_1": "label_emb.0.0",
    "add_embedding.linear_2": "label_emb.0.2",
}
VAE_ATTENTION = {"group_norm": "norm", "to_q": "q", "to_k": "k", "to_v": "v", "to_out.0": "proj_out"}


def unet_name(key: str, config) -> str:
    """`key` without the component; layers_per_block and number of levels give the flat block numbers."""
    layers = config.layers_per_block
    stem, tail = key.rsplit(".", 1)
    prefix = "model.diffusion_model."
    if stem in OUTER:
        return f"{prefix}{OUTER[stem]}.{tail}"
    side, rest = stem.split("_block", 1)
    if side == "mid":
        kind, i, inner = re.fullmatch(r"\.(resnets|attentions)\.(\d+)\.(.+)", rest).groups()
        place = f"middle_block.{2 * int(i) if kind == 'resnets' else 1}"
    else:
        level, kind, i, inner = re.fullmatch(r"s\.(\d+)\.(\w+)\.(\d+)\.(.+)", rest).groups()
        level, i = int(level), int(i)
        if side == "down":
            # One input block per layer, one more per downsampler, after conv_in.
            n = 1 + level * (layers + 1) + (layers if kind == "downsamplers" else i)
            place = f"input_blocks.{n}." + {"resnets": "0", "attentions": "1", "downsamplers": "0.op"}[kind]
        else:
            # layers + 1 output blocks a level; the upsampler sits last in the level's last one, after the
            # attention where there is one.
            n = level * (layers + 1) + (layers if kind == "upsamplers" else i)
            behind = "2" if config.up_block_types[level].startswith("CrossAttn") else "1"
            slot = {"resnets": "0", "attentions": "1", "upsamplers": behind + ".conv"}[kind]
            place = f"output_blocks.{n}.{slot}"
    if kind == "resnets":
        return f"{prefix}{place}.{RESNET[inner]}.{tail}"
    if kind == "attentions":
        return f"{prefix}{place}.{inner}.{tail}"
    return f"{prefix}{place}.{tail}"


def vae_name(key: str, levels: int) -> tuple[str, bool]:
    """(name, is an attention matrix: stored as a 1x1 convolution)."""
    stem, tail = key.rsplit(".", 1)
    stem = stem.replace("conv_norm_out", "norm_out").replace("conv_shortcut", "nin_shortcut")
    matrix = False
    if m := re.fullmatch(r"(.+)\.mid_block\.attentions\.0\.(.+)", stem):
        stem = f"{m[1]}.mid.attn_1.{VAE_ATTENTION[m[2]]}"
        matrix = tail == "weight" and m[2] != "group_norm"
    stem = re.sub(r"mid_block\.resnets\.(\d)", lambda m: f"mid.block_{int(m[1]) + 1}", stem)
    stem = re.sub(r"down_blocks\.(\d+)\.resnets", r"down.\1.block", stem)
    stem = re.sub(r"down_blocks\.(\d+)\.downsamplers\.0", r"down.\1.downsample", stem)
    # The decoder's levels are counted from the picture's side in ldm, from the latent's in diffusers.
    stem = re.sub(r"up_blocks\.(\d+)", lambda m: f"up.{levels - 1 - int(m[1])}", stem)
    stem = re.sub(r"(up\.\d+)\.resnets", r"\1.block", stem).replace("upsamplers.0", "upsample")
    return f"first_stage_model.{stem}.{tail}", matrix


OPEN_CLIP = {
    "text_model.embeddings.position_embedding.weight": "positional_embedding",
    "text_model.embeddings.token_embedding.weight": "token_embedding.weight",
    "text_projection.weight": "text_projection",
}
OPEN_CLIP_MODULES = {
    "self_attn.out_proj": "attn.out_proj",
    "layer_norm1": "ln_1",
    "layer_norm2": "ln_2",
    "mlp.fc1": "mlp.c_fc",
    "mlp.fc2": "mlp.c_proj",
}


def open_clip_name(key: str) -> str:
    """OpenCLIP's spelling. q, k and v of a layer share one name: they stand one below another in that order."""
    prefix = "conditioner.embedders.1.model."
    if key in OPEN_CLIP:
        return prefix + OPEN_CLIP[key]
    if m := re.fullmatch(r"text_model\.final_layer_norm\.(\w+)", key):
        return f"{prefix}ln_final.{m[1]}"
    n, inner, tail = re.fullmatch(r"text_model\.encoder\.layers\.(\d+)\.(.+)\.(\w+)", key).groups()
    base = f"{prefix}transformer.resblocks.{n}."
    if re.fullmatch(r"self_attn\.[qkv]_proj", inner):
        return f"{base}attn.in_proj_{tail}"
    return f"{base}{OPEN_CLIP_MODULES[inner]}.{tail}"


def ldm_name(name: str, pipe) -> tuple[str, bool]:
    """Canonical name -> (ldm name, gets two trailing dimensions of one)."""
    component, key = name.split(".", 1)
    if component == "unet":
        return unet_name(key, pipe.unet.config), False
    if component == "vae":
        return vae_name(key, len(pipe.vae.config.block_out_channels))
    if component == "text_encoder_2":
        return open_clip_name(key), False
    xl = getattr(pipe, "text_encoder_2", None) is not None
    return ("conditioner.embedders.0.transformer." if xl else "cond_stage_model.transformer.") + key, False


def parts_of(pipe) -> list[str]:
    """The components that hold weights."""
    return [p for p in ("unet", "vae", "text_encoder", "text_encoder_2") if getattr(pipe, p, None) is not None]


def canonical(pipe, part: str) -> dict:
    """A component's weights under canonical names."""
    text = part.startswith("text_encoder")
    named = getattr(pipe, part).state_dict().items()
    # transformers 5 leaves `text_model.` away where the model is nothing but it.
    body = lambda k: "text_model." if text and not k.startswith(("text_model.", "text_projection.")) else ""
    return {f"{part}.{body(k)}{k}": v for k, v in named}


def single_file(pipe, dtype=torch.float16) -> dict:
    """The pipeline's weights as one ldm state dict."""
    out, stacks = {}, {}
    for component in parts_of(pipe):
        for canonical_name, value in canonical(pipe, component).items():
            name, matrix = ldm_name(canonical_name, pipe)
            value = value.to(dtype)
            if name.rpartition(".")[2].startswith("in_proj_"):
                which = "qkv".index(re.search(r"\.([qkv])_proj\.", canonical_name)[1])
                stacks.setdefault(name, {})[which] = value
            elif name.endswith(".text_projection"):
                out[name] = value.T.contiguous()
            else:
                out[name] = value[..., None, None] if matrix else value
    out |= {name: torch.cat([rows[i] for i in range(3)]) for name, rows in stacks.items()}
    # Old text encoders also carry this buffer; a reader has to leave it out.
    n = pipe.text_encoder.config.max_position_embeddings
    prefix = "conditioner.embedders.0" if "text_encoder_2" in parts_of(pipe) else "cond_stage_model"
    out[f"{prefix}.transformer.text_model.embeddings.position_ids"] = torch.arange(n)[None]
    return out


def verify(pipe, ldm: dict) -> None:
    """diffusers' own converter must give back every tensor bit for bit, and only those."""
    xl = "text_encoder_2" in parts_of(pipe)
    unet = convert_ldm_unet_checkpoint(ldm, dict(pipe.unet.config))
    vae = convert_ldm_vae_checkpoint(ldm, dict(pipe.vae.config))
    text = convert_ldm_clip_checkpoint(ldm, "conditioner.embedders.0.transformer." if xl else None)
    text = {k: v for k, v in text.items() if not k.endswith("position_ids")}
    found = [("unet", unet), ("vae", vae), ("text_encoder", text)]
    if xl:
        prefix = "conditioner.embedders.1.model."
        found.append(("text_encoder_2", convert_open_clip_checkpoint(pipe.text_encoder_2, ldm, prefix)))
    plain = lambda k: k.removeprefix("text_model.")
    for part, got in found:
        want = {plain(k): v for k, v in getattr(pipe, part).state_dict().items()}
        got = {plain(k): v for k, v in got.items()}
        assert got.keys() == want.keys(), (part, sorted(got.keys() ^ want.keys())[:6])
        for k, v in want.items():
            assert torch.equal(got[k], v.half()), (part, k)


def describe(pipe, name: str, rows: list, folder: pathlib.Path, out: pathlib.Path) -> None:
    """Writes NAME/ (every file of the folder but the weights) and NAME.weights.json."""
    target = out / name
    shutil.rmtree(target, ignore_errors=True)
    shutil.copytree(folder, target, ignore=shutil.ignore_patterns("*.safetensors"))
    config = pipe.unet.config
    xl = "text_encoder_2" in parts_of(pipe)
    # The refiner's names differ from the base's in one prefix.
    refiner = xl and pipe.text_encoder is None
    ldm = not refiner and config.in_channels == 4 and config.layers_per_block == 2 and len(config.block_out_channels) == (3 if xl else 4)
    if ldm:
        verify(pipe, single_file(pipe))
        print(f"{name}: ldm names verified by diffusers' converter, bit for bit")
    listed = []
    for key, shape, scale, offset in rows:
        row = {"name": key, "shape": shape, "scale": scale, "offset": offset}
        if ldm:
            row["ldm"], matrix = ldm_name(key, pipe)
            if matrix:
                row["ldm_shape"] = [*shape, 1, 1]
            if row["ldm"].endswith(".text_projection"):
                row["ldm_transposed"] = True
        listed.append(row)
    tensors = {k: v.half() for c in parts_of(pipe) for k, v in canonical(pipe, c).items()}
    data = {"seed": name, "dtype": "F16", "sha256": store.digest(tensors), "tensors": listed}
    lines = ",\n".join(json.dumps(r, separators=(",", ":")) for r in data.pop("tensors"))
    text = json.dumps(data)[:-1] + ',"tensors":[\n' + lines + "\n]}\n"
    (out / f"{name}.weights.json").write_text(text)
