"""A tiny OpenCLIP text tower with random weights, under its own names and as diffusers' converter gives it.

python make_fixtures.py      (torch, diffusers, open_clip_torch, safetensors; writes fixtures/open_clip.safetensors)
"""

import pathlib
import types

import torch
from diffusers.loaders.single_file_utils import convert_open_clip_checkpoint
from open_clip.transformer import TextTransformer
from safetensors.torch import save_file

WIDTH, LAYERS, HEADS, VOCAB, TOKENS, PROJECTION = 12, 2, 2, 20, 7, 12
PREFIX = "cond_stage_model.model."
XL_PREFIX = "conditioner.embedders.1.model."

torch.manual_seed(1)
tower = TextTransformer(context_length=TOKENS, vocab_size=VOCAB, width=WIDTH, heads=HEADS, layers=LAYERS, output_dim=PROJECTION)
stored = {}
for key, value in tower.state_dict().items():
    if key != "attn_mask":
        stored[PREFIX + key] = torch.randn_like(value.float()).half()
model = types.SimpleNamespace(config=types.SimpleNamespace(hidden_size=WIDTH))
# SDXL's second tower has the same names under another prefix, and keeps its projection; SD2 leaves it out.
xl = {XL_PREFIX + k.removeprefix(PREFIX): v for k, v in stored.items()}
converted = convert_open_clip_checkpoint(model, xl, prefix=XL_PREFIX)
plain = convert_open_clip_checkpoint(model, stored, prefix=PREFIX)
assert converted.keys() - plain.keys() == {"text_projection.weight"}
assert all(torch.equal(converted[k], v) for k, v in plain.items())
out = {**stored, **xl, **{"expected." + k: v for k, v in converted.items()}}
out = {k: v.clone().contiguous() for k, v in out.items()}
folder = pathlib.Path(__file__).parent / "fixtures"
folder.mkdir(exist_ok=True)
save_file(out, folder / "open_clip.safetensors")
print(len(stored), "stored,", len(converted), "converted")
