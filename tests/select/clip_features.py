"""CLIP text features of cards and prompts, for the ablation in docs/stylus.md.

    STYLUS_TEXTS=out/texts.json cargo test --release -p admix-select --test proof
    python tests/select/clip_features.py --texts out/texts.json --out out/clip.safetensors [--model FOLDER]
    STYLUS_CLIP=out/clip.safetensors UPDATE_STYLUS_TABLE=1 cargo test --release -p admix-select --test proof

FOLDER is a diffusers model; its text encoder is used. What is compared is the hidden state at the end token, normalised, as CLIP
pools its texts (Radford et al. 2021). Needs torch, transformers, safetensors, numpy.
"""
import argparse
import json
from pathlib import Path

import numpy as np
import torch
from safetensors.numpy import save_file
from transformers import CLIPTextModel, CLIPTokenizer

ROOT = Path(__file__).resolve().parents[2]


@torch.no_grad()
def features(texts, tokenizer, encoder, batch=64):
    out = []
    for at in range(0, len(texts), batch):
        tokens = tokenizer(texts[at:at + batch], padding="max_length", truncation=True, max_length=77, return_tensors="pt")
        pooled = encoder(tokens.input_ids).pooler_output
        out.append(torch.nn.functional.normalize(pooled, dim=-1).numpy())
    return np.concatenate(out).astype(np.float32)


def main():
    a = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    a.add_argument("--texts", type=Path, required=True)
    a.add_argument("--out", type=Path, required=True)
    a.add_argument("--model", type=Path, default=ROOT / "assets/models/mini")
    args = a.parse_args()
    texts = json.loads(args.texts.read_text())
    tokenizer = CLIPTokenizer.from_pretrained(args.model / "tokenizer")
    encoder = CLIPTextModel.from_pretrained(args.model / "text_encoder", torch_dtype=torch.float32).eval()
    save_file({name: features(texts[name], tokenizer, encoder) for name in ("cards", "titles", "asked")}, args.out)


if __name__ == "__main__":
    main()
