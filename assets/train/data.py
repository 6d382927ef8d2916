"""Rasterise the four hands of emoji to 128x128 RGBA arrays and write index.json.

python data.py --out out/train/data --npm out/train/node_modules
Needs Debian's fonts-noto-color-emoji and unicode-data, and npm packages @twemoji/svg, @lobehub/fluent-emoji-flat,
@lobehub/fluent-emoji-3d under --npm.
"""
import argparse
import io
import json
import re
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from common import HANDS, SIZE, out_dir

FONT = "/usr/share/fonts/truetype/noto/NotoColorEmoji.ttf"
LIST = "/usr/share/unicode/emoji/emoji-test.txt"


def read_list(path):
    group = sub = ""
    for line in Path(path).read_text().splitlines():
        if line.startswith("# group:"):
            group = line[8:].strip()
        elif line.startswith("# subgroup:"):
            sub = line[11:].strip()
        m = re.match(r"^([0-9A-F ]+?)\s*; fully-qualified\s*# \S+ E[\d.]+ (.+)$", line)
        if not m:
            continue
        codes, name = [int(c, 16) for c in m[1].split()], m[2]
        if "skin tone" in name or sub in ("country-flag", "subdivision-flag", "keycap"):
            continue
        yield codes, name, group, sub


def fit(im, inner=124):
    """Trim nothing, scale the longer side to `inner`, centre on 128."""
    im = im.convert("RGBA")
    k = inner / max(im.size)
    # premultiply so that resizing leaves no fringe
    a = np.asarray(im).astype(np.float32) / 255
    a[..., :3] *= a[..., 3:]
    w, h = max(1, round(im.width * k)), max(1, round(im.height * k))
    ch = [np.asarray(Image.fromarray(a[..., c]).resize((w, h), Image.LANCZOS)) for c in range(4)]
    a = np.clip(np.stack(ch, -1), 0, 1)
    a[..., :3] = np.clip(a[..., :3] / np.maximum(a[..., 3:], 1e-4), 0, 1)
    out = np.zeros((SIZE, SIZE, 4), np.uint8)
    y, x = (SIZE - h) // 2, (SIZE - w) // 2
    out[y:y + h, x:x + w] = (a * 255 + 0.5).astype(np.uint8)
    return out


def noto(codes, font):
    text = "".join(chr(c) for c in codes if c != 0xFE0F)
    box = font.getbbox(text)
    if box[2] - box[0] > 150 or box[2] - box[0] < 60:
        return None
    im = Image.new("RGBA", (136, 136), (0, 0, 0, 0))
    ImageDraw.Draw(im).text((0 - box[0], 4 - box[1]), text, font=font, embedded_color=True)
    a = np.asarray(im)
    if (a[..., 3] > 0).mean() < 0.02:
        return None
    return fit(im)


def find(folder, codes, ext):
    for keep in (True, False):
        c = [x for x in codes if keep or x != 0xFE0F]
        for form in ("{:x}", "{:04x}"):
            p = folder / ("-".join(form.format(x) for x in c) + ext)
            if p.exists():
                return p
    return None


def load_file(path):
    if path is None:
        return None
    try:
        if path.suffix == ".svg":
            import cairosvg
            png = cairosvg.svg2png(bytestring=path.read_bytes(), output_width=256, output_height=256)
            return fit(Image.open(io.BytesIO(png)))
        return fit(Image.open(path))
    except Exception as e:  # one bad drawing must not stop the rest
        print("skip", path.name, e)
        return None


def main():
    ap = argparse.ArgumentParser()
    ap.add_argument("--out", default="out/train/data")
    ap.add_argument("--npm", default="out/train/node_modules")
    ap.add_argument("--font", default=FONT)
    ap.add_argument("--list", default=LIST)
    ap.add_argument("--jobs", type=int, default=2)
    a = ap.parse_args()
    out, npm = out_dir(a.out), Path(a.npm)
    font = ImageFont.truetype(a.font, 109)
    rows, drawings = [], []
    for codes, name, group, sub in read_list(a.list):
        d = noto(codes, font)
        if d is not None:
            rows.append(dict(name=name, codes=codes, group=group, subgroup=sub))
            drawings.append(d)
    np.save(out / "drawings_noto.npy", np.stack(drawings))
    folders = {"twemoji": (npm / "@twemoji/svg", ".svg"), "fluent-flat": (npm / "@lobehub/fluent-emoji-flat/assets", ".svg"),
               "fluent-3d": (npm / "@lobehub/fluent-emoji-3d/assets", ".webp")}
    for row in rows:
        row["hands"] = ["noto"]
    for hand in HANDS[1:]:
        folder, ext = folders[hand]
        with ProcessPoolExecutor(a.jobs) as pool:
            got = list(pool.map(load_file, [find(folder, r["codes"], ext) for r in rows], chunksize=32))
        for r, g in zip(rows, got):
            if g is not None:
                r["hands"].append(hand)
        np.save(out / f"drawings_{hand}.npy", np.stack([g if g is not None else np.zeros((SIZE, SIZE, 4), np.uint8) for g in got]))
        print(hand, sum(g is not None for g in got), "of", len(rows), flush=True)
    (out / "index.json").write_text(json.dumps(rows))
    print("noto", len(rows))


if __name__ == "__main__":
    main()
