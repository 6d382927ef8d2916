"""Styles made from a drawing by plain image work: the teachers of the style adapters."""
import numpy as np
from scipy import ndimage as nd

from common import SIZE, flatten

STYLES = ("pixel", "line-art", "neon", "watercolour", "night", "sketch", "halftone", "sepia", "blueprint")


def _luma(rgb):
    return rgb @ np.array([0.299, 0.587, 0.114], np.float32)


def _edges(rgba):
    """Edge strength 0..1 of colour and outline together."""
    f = np.concatenate([flatten(rgba), rgba[..., 3:].astype(np.float32) / 255], -1)
    f = nd.gaussian_filter(f, (0.7, 0.7, 0))
    e = np.zeros(f.shape[:2], np.float32)
    for c in range(4):
        e = np.maximum(e, np.hypot(nd.sobel(f[..., c], 0), nd.sobel(f[..., c], 1)))
    return np.clip(e / 1.2, 0, 1)


def pixel(rgba):
    n = 8
    f = rgba.astype(np.float32) / 255
    a = f[..., 3]
    k = SIZE // (SIZE // n)
    p = (f[..., :3] * a[..., None]).reshape(SIZE // k, k, SIZE // k, k, 3).mean((1, 3))
    q = a.reshape(SIZE // k, k, SIZE // k, k).mean((1, 3))
    rgb = np.where(q[..., None] > 0.4, p / np.maximum(q[..., None], 1e-4), 1)
    rgb = np.round(rgb * 6) / 6
    return rgb.repeat(k, 0).repeat(k, 1).astype(np.float32)


def line_art(rgba):
    e = np.clip((_edges(rgba) - 0.18) * 3.2, 0, 1)
    return np.repeat((1 - e)[..., None], 3, -1).astype(np.float32)


def neon(rgba):
    e = np.clip((_edges(rgba) - 0.15) * 2.5, 0, 1)
    rgb = flatten(rgba)
    mx = rgb.max(-1, keepdims=True)
    mn = rgb.min(-1, keepdims=True)
    sat = np.where(mx - mn > 0.12, (rgb - mn) / np.maximum(mx - mn, 1e-4), np.array([0.25, 0.9, 1.0], np.float32))
    sat = nd.maximum_filter(sat, (5, 5, 1))
    glow = nd.gaussian_filter(e, 4)[..., None] * sat * 1.3
    out = np.array([0.04, 0.02, 0.10], np.float32) + glow + e[..., None] * (0.55 * sat + 0.45)
    return np.clip(out, 0, 1).astype(np.float32)


_paper = None


def watercolour(rgba):
    global _paper
    if _paper is None:
        r = np.random.default_rng(5)
        _paper = [nd.gaussian_filter(r.standard_normal((SIZE, SIZE)), s) for s in (5, 5, 9, 1)]
        _paper = [p / p.std() for p in _paper]
    f = flatten(rgba)
    y, x = np.mgrid[0:SIZE, 0:SIZE].astype(np.float32)
    co = [y + 1.8 * _paper[0], x + 1.8 * _paper[1]]
    w = np.stack([nd.map_coordinates(nd.median_filter(f[..., c], 5), co, order=1, mode="nearest") for c in range(3)], -1)
    soft = nd.gaussian_filter(w, (1.5, 1.5, 0))
    e = np.clip(np.abs(nd.gaussian_filter(w, (1, 1, 0)) - nd.gaussian_filter(w, (4, 4, 0))).max(-1), 0, 1)[..., None]
    paper = np.array([1.0, 0.985, 0.95], np.float32)
    pig = 0.62 * soft + 0.38 + 0.05 * _paper[2][..., None] * (1 - soft)
    return np.clip(pig * paper - 0.35 * e, 0, 1).astype(np.float32)


def night(rgba):
    a = rgba[..., 3:].astype(np.float32) / 255
    f = flatten(rgba, (255, 255, 255))
    y, x = np.mgrid[0:SIZE, 0:SIZE].astype(np.float32) / (SIZE - 1)
    sky = np.array([0.03, 0.05, 0.18], np.float32) + y[..., None] * np.array([0.10, 0.10, 0.24], np.float32)
    for sx, sy in ((0.08, 0.10), (0.30, 0.05), (0.90, 0.12), (0.95, 0.45), (0.05, 0.52), (0.70, 0.04), (0.93, 0.80), (0.06, 0.88)):
        sky = sky + np.exp(-((x - sx) ** 2 + (y - sy) ** 2) / 2e-4)[..., None] * np.array([1, 1, 0.8], np.float32)
    lit = f * np.array([0.48, 0.52, 0.85], np.float32) + 0.03
    rim = np.clip(nd.gaussian_filter(a[..., 0], 2) - nd.gaussian_filter(np.roll(a[..., 0], (4, -4), (0, 1)), 2), 0, 1)[..., None]
    lit = lit + 0.9 * rim * np.array([0.8, 0.9, 1.0], np.float32)
    return np.clip(lit * a + sky * (1 - a), 0, 1).astype(np.float32)


def sketch(rgba):
    e = np.clip((_edges(rgba) - 0.12) * 2.2, 0, 1)
    l = _luma(flatten(rgba))
    y, x = np.mgrid[0:SIZE, 0:SIZE]
    hatch = ((x + y) % 6 < 2) * np.clip(0.75 - l, 0, 1) + ((x - y) % 6 < 2) * np.clip(0.45 - l, 0, 1)
    g = np.clip(1 - 0.8 * e - 0.7 * hatch, 0, 1)
    g = 0.15 + 0.83 * g
    return (g[..., None] * np.array([1.0, 0.985, 0.95], np.float32)).astype(np.float32)


def halftone(rgba):
    f = flatten(rgba)
    l = nd.gaussian_filter(_luma(f), 1.5)
    y, x = np.mgrid[0:SIZE, 0:SIZE].astype(np.float32)
    d = np.cos((x + y) * np.pi / 8) * np.cos((x - y) * np.pi / 8)
    ink = np.clip((np.abs(d) - 0.05 - 1.05 * l) * 4 + 0.5, 0, 1)[..., None]
    return (ink * np.array([0.85, 0.12, 0.35], np.float32) + (1 - ink) * np.array([1.0, 0.96, 0.84], np.float32)).astype(np.float32)


def sepia(rgba):
    l = _luma(flatten(rgba))[..., None]
    y, x = np.mgrid[-1:1:SIZE * 1j, -1:1:SIZE * 1j].astype(np.float32)
    vig = np.clip(1.12 - 0.28 * (x ** 2 + y ** 2), 0, 1)[..., None]
    return np.clip((np.array([0.20, 0.11, 0.04], np.float32) + l * np.array([0.78, 0.77, 0.68], np.float32)) * vig, 0, 1).astype(np.float32)


def blueprint(rgba):
    e = np.clip((_edges(rgba) - 0.18) * 3, 0, 1)[..., None]
    y, x = np.mgrid[0:SIZE, 0:SIZE]
    grid = (((x % 16) == 0) | ((y % 16) == 0)).astype(np.float32)[..., None] * 0.12
    base = np.array([0.07, 0.24, 0.55], np.float32) + grid
    return np.clip(base * (1 - e) + e * np.array([0.93, 0.97, 1.0], np.float32), 0, 1).astype(np.float32)


_TABLE = {"pixel": pixel, "line-art": line_art, "neon": neon, "watercolour": watercolour, "night": night,
          "sketch": sketch, "halftone": halftone, "sepia": sepia, "blueprint": blueprint}


def apply_style(name, rgba):
    return _TABLE[name](np.asarray(rgba))
