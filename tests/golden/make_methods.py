"""methods.safetensors: merge methods beside mergekit's, on the inputs of make_merges.

sd-mecha 1.1.8 makes clamp, geometric, geometric_median, crossover, rotate and rank_truncate, peft 0.21.2 ties_peft. SuperMerger is a
web-UI extension and not a package: its formulas (scripts/mergers/mergers.py) stand here again with the same torch and scipy calls, as do
those of the TIES authors' ties_minimal.ipynb. Methods that look at the whole model see all tensors of this file as one.
"""

import json
import pathlib

import numpy as np
import scipy.ndimage
import torch
from peft.utils import merge_utils
from sd_mecha.extensions.builtin.merge_methods import clamp as clamp_method
from sd_mecha.extensions.builtin.merge_methods import crossover, geometric_median, geometric_sum, perpendicular_component, truncate_rank
from sd_mecha.extensions.builtin.merge_methods.svd import rotate
from torch.nn import functional as F

import make_merges
import store

HERE = pathlib.Path(__file__).parent
# Tensors of the inputs that are no wider than high, as sd-mecha's rotate sees them.
HIGH = ("scalar", "vec7", "zeros", "same", "conv3", "conv1")


def plain(method):
    """The function under sd-mecha's decorator."""
    return method.__wrapped__


def sum_twice(t, models, weight):
    first = torch.lerp(t["B"].double(), t[models[0]].double(), weight[0])
    return torch.lerp(first, t[models[1]].double(), weight[1])


def triple_sum(t, models, weight):
    a, b = weight
    return (1 - a - b) * t["B"].double() + a * t[models[0]].double() + b * t[models[1]].double()


def uniform_soup(t, models):
    return torch.stack([t[m].double() for m in ("B", *models)]).mean(dim=0)


def train_difference(t, models, weight, minus):
    base, model, other = (t[n].float() for n in ("B", models[0], minus[0]))
    if torch.equal(model, other):
        return base
    near, far = (model - other).abs(), (model - base).abs()
    scale = torch.where(near + far != 0, far / (near + far), torch.tensor(0.0))
    return base + torch.sign(model - other) * scale * (model - other).abs() * (weight[0] * 1.8)


def smooth_add(t, models, weight, minus):
    difference = (t[models[0]] - t[minus[0]]).numpy()
    difference = scipy.ndimage.gaussian_filter(scipy.ndimage.median_filter(difference, size=3), sigma=1)
    return t["B"] + weight[0] * torch.from_numpy(difference)


def extract(t, models, alpha, beta, gamma):
    base = t["B"].double()
    a, b = (t[m].double() - base for m in models)
    c = F.cosine_similarity(a, b, -1).clamp(-1, 1).unsqueeze(-1)
    d = ((c + 1) / 2) ** gamma
    return base + torch.lerp(a, b, alpha) * torch.lerp(d, 1 - d, beta)


def tensor_sum(t, models, weight, beta):
    result, alpha = t["B"].clone(), weight[0]
    rows = result.shape[0]
    if alpha + beta <= 1:
        start, end = int(rows * beta), int(rows * (alpha + beta))
        result[start:end] = t[models[0]][start:end]
        return result
    start, end = int(rows * (alpha + beta - 1)), int(rows * beta)
    result = t[models[0]].clone()
    result[start:end] = t["B"][start:end]
    return result


def cosines(a, b, unit):
    """Cosine of the columns, and that averaged with the cosine of the whole."""
    if unit:
        a, b = F.normalize(a, p=2, dim=0), F.normalize(b, p=2, dim=0)
    columns = F.cosine_similarity(a, b, dim=0)
    whole = torch.dot(a.reshape(-1), b.reshape(-1)) / (a.norm() * b.norm())
    return columns, (columns + whole) / 2


def cosine(data, model, alpha, unit):
    found = np.array([])
    for t in data.values():
        columns, both = cosines(t["B"], t[model], unit)
        found = np.append(found, (columns if unit else both).numpy())
    found = found[~np.isnan(found)]
    found = found[found >= np.percentile(found, 1, method="midpoint")]
    found = found[found <= np.percentile(found, 99, method="midpoint")]
    out = {}
    for name, t in data.items():
        _, both = cosines(t["B"], t[model], unit)
        k = ((both - found.min()) / (found.max() - found.min()) - alpha).clip(0, 1)
        out[name] = t[model] * (1 - k) + t["B"] * k
    return out


def ties_paper(data, models, density, scale):
    names = sorted(data)
    flat = torch.stack([torch.cat([(data[n][m] - data[n]["B"]).flatten() for n in names]) for m in models])
    for row, part in zip(flat, density):
        if part < 1:
            kth = row.abs().kthvalue(row.numel() - int(row.numel() * part)).values
            row[row.abs() < kth] = 0
    sign = torch.sign(flat.sum(dim=0))
    sign[sign == 0] = torch.sign(sign.sum())
    kept = flat * torch.where(sign > 0, flat > 0, flat < 0)
    merged = kept.sum(dim=0) / (kept != 0).sum(dim=0).clamp(min=1)
    out, at = {}, 0
    for n in names:
        count = data[n]["B"].numel()
        out[n] = data[n]["B"] + scale * merged[at : at + count].reshape(data[n]["B"].shape)
        at += count
    return out


def ties_peft(t, models, weight, density, how):
    deltas = [t[m] - t["B"] for m in models]

    # Of equal magnitudes the first ones, as everywhere here; torch.topk takes any.
    def prune(tensor, part):
        if part >= 1:
            return tensor
        order = torch.argsort(tensor.abs().flatten(), descending=True, stable=True)[: int(part * tensor.numel())]
        mask = torch.zeros(tensor.numel())
        mask[order] = 1
        return tensor * mask.reshape(tensor.shape)

    stacked = torch.stack([prune(d, part) for d, part in zip(deltas, density)])
    mask = merge_utils.calculate_majority_sign_mask(stacked, method=how)
    weighted = stacked * merge_utils.reshape_weight_task_tensors(stacked, torch.tensor(weight))
    return t["B"] + merge_utils.disjoint_merge(weighted, mask)


def build(data):
    cases, out = [], {}

    def case(name, method, models, results, /, weight=None, minus=None, skip=(), **params):
        row = {"name": name, "method": method, "models": list(models), "params": params}
        row |= {"weight": weight} if weight else {}
        row |= {"minus": minus} if minus else {}
        for n, r in results.items():
            if n not in skip and torch.isfinite(r).all():
                out[f"{name}.{n}"] = r.float().clone(memory_format=torch.contiguous_format).flatten().clone().reshape(r.shape)
        cases.append(row)

    def each(function, *args, **kw):
        return {n: function(t, *args, **kw) for n, t in data.items()}

    two, three = ["M1", "M2"], ["M1", "M2", "M3"]
    case("sum_twice", "sum_twice", two, each(sum_twice, two, [0.3, 0.6]), weight=[0.3, 0.6])
    case("triple_sum", "triple_sum", two, each(triple_sum, two, [0.3, 0.5]), weight=[0.3, 0.5])
    case("uniform_soup", "uniform_soup", three, each(uniform_soup, three))
    for i, minus in enumerate((["B"], ["M3"])):
        case(f"train_difference_{i}", "train_difference", ["M1"], each(train_difference, ["M1"], [0.7], minus), weight=[0.7], minus=minus)
        case(f"smooth_add_{i}", "smooth_add", ["M2"], each(smooth_add, ["M2"], [0.8], minus), weight=[0.8], minus=minus)
    for i, (alpha, beta, gamma) in enumerate(((0.3, 0.0, 1.0), (0.5, 1.0, 2.5), (0.8, 0.4, 0.0))):
        case(f"extract_{i}", "extract", two, each(extract, two, alpha, beta, gamma), alpha=alpha, beta=beta, gamma=gamma)
    for i, (alpha, beta) in enumerate(((0.4, 0.3), (0.5, 0.8), (1.0, 0.0))):
        case(f"tensor_sum_{i}", "tensor_sum", ["M1"], each(tensor_sum, ["M1"], [alpha], beta), weight=[alpha], beta=beta)
    for i, alpha in enumerate((0.0, 0.3)):
        for name, unit in (("cosine_a", True), ("cosine_b", False)):
            case(f"{name}_{i}", name, ["M2"], cosine(data, "M2", alpha, unit), weight=[alpha] if alpha else [0.0])
    for i, density in enumerate(([0.3, 0.6, 0.9], [1.0, 1.0, 1.0])):
        case(f"ties_paper_{i}", "ties_paper", three, ties_paper(data, three, density, 0.7), density=density, **{"lambda": 0.7})
    for how in ("total", "frequency"):
        results = each(ties_peft, three, [0.7, -0.4, 1.2], [0.3, 0.6, 1.0], how)
        case(f"ties_peft_{how}", "ties_peft", three, results, weight=[0.7, -0.4, 1.2], density=[0.3, 0.6, 1.0], majority_sign_method=how)

    def clamp(t, stiffness):
        return plain(clamp_method)(t["B"], *(t[m] for m in three), stiffness=stiffness)

    case("clamp", "clamp", three, each(clamp, 0.0))
    case("clamp_stiff", "clamp", three, each(clamp, 0.4), stiffness=0.4)
    for i, alpha in enumerate((0.3, 0.5)):
        results = each(lambda t: plain(geometric_sum)(t["B"].double(), t["M2"].double(), torch.tensor(alpha)))
        case(f"geometric_{i}", "geometric", ["M2"], results, weight=[alpha])
    results = each(lambda t: plain(geometric_median)(*(t[m].double() for m in ("B", *three))))
    case("geometric_median", "geometric_median", three, results)

    def perpendicular(t, minus, weight):
        base, model, other = (t[n].double() for n in ("B", "M1", minus))
        return base + weight * plain(perpendicular_component)(base - other, model - other)

    case("add_perpendicular", "add_perpendicular", ["M1"], each(perpendicular, "M3", 0.7), weight=[0.7], minus=["M3"])
    for i, (alpha, tilt) in enumerate(((0.3, 0.0), (0.5, 0.5), (0.4, 1.5), (0.6, 2.0), (0.25, 3.5))):
        results = each(lambda t: plain(crossover)(t["B"].double(), t["M2"].double(), alpha, tilt))
        case(f"crossover_{i}", "crossover", ["M2"], results, weight=[alpha], tilt=tilt)
    for rank in (1, 3):
        def truncated(t):
            delta = plain(truncate_rank)(t["M2"].double() - t["B"].double(), rank=rank, use_approximate_basis=False)
            return t["B"] + 0.8 * delta
        case(f"rank_truncate_{rank}", "rank_truncate", ["M2"], each(truncated), weight=[0.8], rank=rank)

    def rotated(t, alignment, alpha):
        a, b = t["B"].double(), t["M2"].double()
        return plain(rotate)({"k": a}, {"k": b}, alignment=alignment, alpha=torch.tensor(alpha, dtype=torch.float64), key="k")

    for i, alpha in enumerate((0.0, 0.4)):
        case(f"rotate_{i}", "rotate", ["M2"], each(rotated, 1.0, alpha), alpha=alpha)
    # A part of the turn: of matrices that are higher than wide, where it is a power of the whole one.
    for i, (alignment, alpha) in enumerate(((0.5, 0.0), (0.3, 0.6))):
        results = {n: t for n, t in each(rotated, alignment, alpha).items() if n in HIGH}
        case(f"rotate_part_{i}", "rotate", ["M2"], results, alignment=alignment, alpha=alpha)
    return cases, out


def make() -> None:
    wanted = ("scalar", "vec7", "mat", "conv3", "conv1", "row", "zeros", "same", "ties_magnitude", "ties_sign", "large", "small")
    data = {n: t for n, t in make_merges.inputs().items() if n in wanted}
    given = {f"in.{k}.{n}": v for n, t in data.items() for k, v in t.items()}
    cases, out = build(data)
    info = {"inputs": ["B", *make_merges.MODELS], "tensors": sorted(data), "cases": cases}
    store.save(HERE / "methods.safetensors", given | out, {"admix_golden": json.dumps(info)})
    print(f"methods: {len(cases)} cases, {len(out)} tensors")


if __name__ == "__main__":
    make()
