"""diffusers names -> the names of a single-file (ldm) Stable Diffusion 1 checkpoint, and back by diffusers' converter.

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
}
VAE_ATTENTION = {"group_norm": "norm", "to_q": "q", "to_k": "k", "to_v": "v", "to_out.0": "proj_out"}


def unet_name(key: str, layers: int, levels: int) -> str:
    """`key` without the component; layers_per_block and number of levels give the flat block numbers."""
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
            # attention where there is one (the first level, lowest in the net, has none).
            n = level * (layers + 1) + (layers if kind == "upsamplers" else i)
            slot = {"resnets": "0", "attentions": "1", "upsamplers": ("1" if level == 0 else "2") + ".conv"}[kind]
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


def ldm_name(name: str, pipe) -> tuple[str, bool]:
    """Canonical name -> (ldm name, gets two trailing dimensions of one)."""
    component, key = name.split(".", 1)
    if component == "unet":
        c = pipe.unet.config
        return unet_name(key, c.layers_per_block, len(c.block_out_channels)), False
    if component == "vae":
        return vae_name(key, len(pipe.vae.config.block_out_channels))
    return f"cond_stage_model.transformer.{key}", False


def single_file(pipe, dtype=torch.float16) -> dict:
    """The pipeline's weights as one ldm state dict."""
    out = {}
    for component in ("unet", "vae", "text_encoder"):
        prefix = "text_model." if component == "text_encoder" else ""
        for key, value in getattr(pipe, component).state_dict().items():
            name, matrix = ldm_name(f"{component}.{prefix}{key}", pipe)
            value = value.to(dtype)
            out[name] = value[..., None, None] if matrix else value
    # Old text encoders also carry this buffer; a reader has to leave it out.
    n = pipe.text_encoder.config.max_position_embeddings
    out["cond_stage_model.transformer.text_model.embeddings.position_ids"] = torch.arange(n)[None]
    return out


def verify(pipe, ldm: dict) -> None:
    """diffusers' own converter must give back every tensor bit for bit, and only those."""
    unet = convert_ldm_unet_checkpoint(ldm, dict(pipe.unet.config))
    vae = convert_ldm_vae_checkpoint(ldm, dict(pipe.vae.config))
    text = convert_ldm_clip_checkpoint(ldm)
    text = {k.removeprefix("text_model."): v for k, v in text.items() if not k.endswith("position_ids")}
    for part, got in (("unet", unet), ("vae", vae), ("text_encoder", text)):
        want = getattr(pipe, part).state_dict()
        assert got.keys() == want.keys(), (part, sorted(got.keys() ^ want.keys())[:6])
        for k, v in want.items():
            assert torch.equal(got[k], v.half()), (part, k)


def describe(pipe, name: str, rows: list, folder: pathlib.Path, out: pathlib.Path) -> None:
    """Writes NAME/ (every file of the folder but the weights) and NAME.weights.json."""
    target = out / name
    shutil.rmtree(target, ignore_errors=True)
    shutil.copytree(folder, target, ignore=shutil.ignore_patterns("*.safetensors"))
    config = pipe.unet.config
    ldm = config.layers_per_block == 2 and len(config.block_out_channels) == 4
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
        listed.append(row)
    tensors = {
        f"{c}.{'text_model.' if c == 'text_encoder' else ''}{k}": v.half()
        for c in ("unet", "vae", "text_encoder")
        for k, v in getattr(pipe, c).state_dict().items()
    }
    data = {"seed": name, "dtype": "F16", "sha256": store.digest(tensors), "tensors": listed}
    lines = ",\n".join(json.dumps(r, separators=(",", ":")) for r in data.pop("tensors"))
    text = json.dumps(data)[:-1] + ',"tensors":[\n' + lines + "\n]}\n"
    (out / f"{name}.weights.json").write_text(text)
