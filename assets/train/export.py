"""Write what was trained as the ecosystem's files.

python export.py                      -> ../models/mini, ../finetunes/*.safetensors, ../adapters (whatever exists)
"""
import argparse
import shutil
from pathlib import Path

import torch
from safetensors.torch import save_file

import common
import models


def main():
    ap = argparse.ArgumentParser()
    ap.add_argument("--train", default="out/train", help="where the stages wrote")
    ap.add_argument("--assets", default=str(common.HERE.parent))
    ap.add_argument("--only", default="mini,finetunes,adapters")
    a = ap.parse_args()
    train, assets, only = Path(a.train), Path(a.assets), a.only.split(",")
    if "mini" in only:
        from diffusers import AutoencoderKL
        w = torch.load(train / "unet" / "weights.pt", map_location="cpu", weights_only=False)
        unet, text, preview = models.build_unet(), models.build_text_encoder(), models.build_preview()
        unet.load_state_dict(w["unet"])
        text.load_state_dict(w["text"])
        vae = AutoencoderKL.from_pretrained(train / "vae" / "vae")
        state = train / "preview" / "state.pt"
        if state.exists():
            preview.load_state_dict(torch.load(state, map_location="cpu"))
        models.write_folder(assets / "models" / "mini", unet, vae, text, preview)
        print("mini at step", w["step"], len(unet.state_dict()), len(vae.state_dict()))
    if "finetunes" in only:
        (assets / "finetunes").mkdir(exist_ok=True)
        for f in sorted((train / "finetunes").glob("*/unet.pt")):
            t = {"unet." + k: v.half().contiguous() for k, v in torch.load(f, map_location="cpu").items()}
            save_file(t, assets / "finetunes" / f"{f.parent.name}.safetensors",
                      {"format": "pt", "modelspec.title": f"Admix mini, {f.parent.name} hand"})
            (assets / "finetunes" / f"{f.parent.name}.safetensors").chmod(0o644)
            print("fine-tune", f.parent.name)
    if "adapters" in only:
        (assets / "adapters").mkdir(exist_ok=True)
        for f in sorted((train / "adapters").iterdir()):
            shutil.copy(f, assets / "adapters" / f.name)
        print("adapters", len(list((assets / "adapters").glob("*.safetensors"))))
    for f in assets.rglob("*.safetensors"):
        f.chmod(0o644)


if __name__ == "__main__":
    main()
