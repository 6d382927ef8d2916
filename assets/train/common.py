"""Shared helpers: paths, drawings, prompts, compositions."""
import json
import os
import random
from pathlib import Path

import numpy as np

SIZE = 128
HANDS = ("noto", "twemoji", "fluent-flat", "fluent-3d")
BACKGROUNDS = {
    "red": (226, 60, 60), "orange": (250, 150, 50), "yellow": (252, 218, 80), "green": (96, 186, 92),
    "blue": (80, 140, 230), "purple": (150, 96, 205), "pink": (250, 160, 195), "grey": (150, 155, 160),
    "black": (25, 25, 30),
}
TINTS = {"red": 0.0, "orange": 0.075, "yellow": 0.145, "green": 0.34, "blue": 0.6, "purple": 0.77, "pink": 0.91}
HERE = Path(__file__).resolve().parent


def out_dir(path):
    path = Path(path)
    path.mkdir(parents=True, exist_ok=True)
    return path


def load_drawings(data, hand):
    """(N,128,128,4) uint8 RGBA, straight alpha, memory-mapped; rows follow index.json."""
    return np.load(Path(data) / f"drawings_{hand}.npy", mmap_mode="r")


def load_index(data):
    return json.loads((Path(data) / "index.json").read_text())


def load_names(path=None):
    path = Path(path or HERE.parent / "models" / "mini" / "names.txt")
    return [line.strip() for line in path.read_text().splitlines() if line.strip()]


def flatten(rgba, background=(255, 255, 255)):
    """RGBA over a colour -> float32 HxWx3 in 0..1"""
    rgba = rgba.astype(np.float32) / 255
    a = rgba[..., 3:]
    return rgba[..., :3] * a + np.asarray(background, np.float32) / 255 * (1 - a)


def tint(rgba, hue):
    """Move every coloured pixel to one hue; greys, white and black stay."""
    rgb = rgba[..., :3].astype(np.float32) / 255
    mx, mn = rgb.max(-1), rgb.min(-1)
    v, s = mx, np.where(mx > 0, (mx - mn) / np.maximum(mx, 1e-6), 0)
    # greys take a little colour too, so that "a blue sheep" is blue
    s = np.clip(s * 1.05 + 0.12 * (v > 0.25), 0, 1)
    if hue > 0.9:  # pink: lighter, less saturated
        s, v = s * 0.6, np.clip(v * 0.75 + 0.25, 0, 1)
    h6 = hue * 6
    i = int(h6) % 6
    f = h6 - int(h6)
    p, q, t = v * (1 - s), v * (1 - s * f), v * (1 - s * (1 - f))
    r, g, b = [(v, t, p), (q, v, p), (p, v, t), (p, q, v), (t, p, v), (v, p, q)][i]
    out = rgba.copy()
    out[..., :3] = np.clip(np.stack([r, g, b], -1) * 255, 0, 255).astype(np.uint8)
    return out


def resize(rgba, size):
    from PIL import Image
    return np.asarray(Image.fromarray(np.ascontiguousarray(rgba), "RGBA").resize((size, size), Image.LANCZOS))


def over(canvas, rgba, x, y):
    """Lay an RGBA drawing over an RGBA canvas in place (clipped)."""
    h, w = rgba.shape[:2]
    x0, y0, x1, y1 = max(x, 0), max(y, 0), min(x + w, canvas.shape[1]), min(y + h, canvas.shape[0])
    src = rgba[y0 - y:y1 - y, x0 - x:x1 - x].astype(np.float32) / 255
    dst = canvas[y0:y1, x0:x1].astype(np.float32) / 255
    sa, da = src[..., 3:], dst[..., 3:]
    a = sa + da * (1 - sa)
    rgb = (src[..., :3] * sa + dst[..., :3] * da * (1 - sa)) / np.maximum(a, 1e-6)
    canvas[y0:y1, x0:x1] = np.clip(np.concatenate([rgb, a], -1) * 255 + 0.5, 0, 255).astype(np.uint8)


def pair(a, b, scale=0.55):
    """Two drawings side by side on a transparent canvas."""
    n = int(SIZE * scale)
    canvas = np.zeros((SIZE, SIZE, 4), np.uint8)
    y = (SIZE - n) // 2
    over(canvas, resize(a, n), -2, y)
    over(canvas, resize(b, n), SIZE - n + 2, y)
    return canvas


def article(name):
    if name.split()[-1] in ("grapes", "cherries", "blueberries", "beans", "peanuts", "pancakes", "glasses",
                            "sunglasses", "jeans", "socks", "gloves", "scissors", "french", "fries", "broccoli"):
        return name
    return ("an " if name[0].lower() in "aeiou" else "a ") + name


def short(name):
    """The word a person would use: "red apple" -> "apple" when a colour is put before it."""
    words = name.split()
    if words[0] in TINTS and len(words) > 1:
        words = words[1:]
    return " ".join(words)


def tint_prompt(colour, name):
    return article(f"{colour} {short(name)}")


def background_prompt(name, colour):
    return f"{article(name)} on {article(colour)} background"


def pair_prompt(a, b):
    return f"{article(a)} and {article(b)}"


def plain_prompt(name, rng=random):
    r = rng.random()
    return name if r < 0.5 else article(name) if r < 0.85 else f"an emoji of {article(name)}"


def device():
    import torch
    if torch.cuda.is_available():
        return torch.device("cuda")
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", os.cpu_count() or 2)))
    return torch.device("cpu")


def start_workers():
    """Under torchrun: join the group. Returns (rank, world). On CPUs shared with other work, single-threaded
    processes that meet once a step (torchrun --nproc_per_node 2, OMP_NUM_THREADS=1) are far faster than one process
    with two threads, which meet at every small operation."""
    world = int(os.environ.get("WORLD_SIZE", 1))
    if world > 1:
        import torch.distributed as dist
        dist.init_process_group("gloo")
        return dist.get_rank(), world
    return 0, 1


def average_gradients(params, world, weight=1.0):
    if world == 1:
        return
    import torch
    import torch.distributed as dist
    grads = [p.grad for p in params if p.grad is not None]
    flat = torch.cat([g.reshape(-1) for g in grads])
    dist.all_reduce(flat)
    flat /= world
    k = 0
    for g in grads:
        g.copy_(flat[k:k + g.numel()].view_as(g))
        k += g.numel()


def average(params, world):
    """The mean of every process's weights."""
    if world == 1:
        return
    import torch
    import torch.distributed as dist
    with torch.no_grad():
        flat = torch.cat([p.reshape(-1) for p in params])
        dist.all_reduce(flat)
        flat /= world
        k = 0
        for p in params:
            p.copy_(flat[k:k + p.numel()].view_as(p))
            k += p.numel()


def agree(value, world):
    """Every process takes the first one's number (clocks differ)."""
    if world == 1:
        return value
    import torch
    import torch.distributed as dist
    t = torch.tensor([float(value)], dtype=torch.float64)
    dist.broadcast(t, 0)
    return float(t)


def save_sheet(images, path, columns=16, pad=4):
    """images: list of HxWx3 float 0..1 or uint8"""
    from PIL import Image
    ims = [(np.clip(i, 0, 1) * 255 + 0.5).astype(np.uint8) if i.dtype != np.uint8 else i for i in images]
    h, w = ims[0].shape[:2]
    rows = (len(ims) + columns - 1) // columns
    sheet = np.full((rows * (h + pad), columns * (w + pad), 3), 230, np.uint8)
    for k, im in enumerate(ims):
        y, x = divmod(k, columns)
        sheet[y * (h + pad):y * (h + pad) + h, x * (w + pad):x * (w + pad) + w] = im
    Image.fromarray(sheet).save(path)
