"""Merge fixtures: merges.safetensors (weighted_sum, add_difference, ties) and merges_more.safetensors (the rest).

Inputs `in.B.*` (base), `in.M1.*` .. `in.M3.*`; expected values `CASE.TENSOR`; the cases stand in the metadata
`admix_golden`. mergekit makes the expected values wherever it has the method, with two things taken out of its
hands: sorts are stable (its own order among equal magnitudes depends on the processor), and random draws come
from the stored uniforms `u.M1.*` .. : an element is kept when u < probability, in f32.
"""

import json
import math
import pathlib

import mergekit.merge_methods.sce as mk_sce
import mergekit.sparsify as mk_sparsify
import torch
from mergekit.merge_methods.api import merge_tensors

import oracle
import store
import synth

HERE = pathlib.Path(__file__).parent
MODELS = ("M1", "M2", "M3")


class Torch:
    """torch with stable sorts and given random numbers, put in place of it inside mergekit's modules."""

    def __init__(self):
        self.queue = []

    def __getattr__(self, name):
        return getattr(torch, name)

    def argsort(self, x, dim=-1, descending=False):
        return torch.argsort(x, dim=dim, descending=descending, stable=True)

    def sort(self, x, dim=-1, descending=False):
        return torch.sort(x, dim=dim, descending=descending, stable=True)

    def topk(self, x, k, largest=True):
        values, indices = torch.sort(x, descending=largest, stable=True)
        return values[:k], indices[:k]

    def bernoulli(self, p):
        u = self.queue.pop(0)
        return (u.reshape(p.shape) < p).to(p.dtype)


SHIM = Torch()
mk_sparsify.torch = SHIM
mk_sce.torch = SHIM


def inputs() -> dict:
    """{tensor: {"B": .., "M1": .., "M2": .., "M3": ..}}, f32."""
    shapes = {
        "scalar": (1,),
        "vec7": (7,),
        "vec33": (33,),
        "mat": (5, 9),
        "big": (23, 37),
        "conv3": (6, 5, 3, 3),
        "conv1": (8, 4, 1, 1),
        "row": (1, 13),
    }
    out = {}
    for name, shape in shapes.items():
        base = synth.normal(f"merge/{name}/B", shape)
        out[name] = {"B": base}
        for i, m in enumerate(MODELS):
            # Fine-tunes: small changes, of other sizes in every model.
            out[name][m] = base + synth.normal(f"merge/{name}/{m}", shape) * (0.05, 0.2, 0.1)[i]
    zero = torch.zeros(4, 4)
    out["zeros"] = {k: zero.clone() for k in ("B", *MODELS)}
    same = synth.normal("merge/same", (3, 5))
    out["same"] = {k: same.clone() for k in ("B", *MODELS)}
    # Deltas from {-2, -1, 0, 1, 2} / 8 on a base of eighths: every magnitude many times, all sums exact.
    shape = (6, 20)
    base = torch.round(synth.normal("merge/ties/B", shape) * 8) / 8
    out["ties_magnitude"] = {"B": base}
    for m in MODELS:
        out["ties_magnitude"][m] = base + torch.round(synth.uniform(f"merge/ties/{m}", shape, 2.49)) / 8
    # M2's change is minus M1's: with equal weights every vote is exactly zero.
    d = torch.round(synth.normal("merge/sign/d", (30,)) * 16) / 16
    base = torch.round(synth.normal("merge/sign/B", (30,)) * 16) / 16
    out["ties_sign"] = {"B": base, "M1": base + d, "M2": base - d, "M3": base + d / 2}
    big, small = synth.normal("merge/scale/B", (40,)) * 1e4, synth.normal("merge/small/B", (40,)) * 1e-6
    out["large"] = {"B": big} | {m: big + synth.normal(f"merge/large/{m}", (40,)) * 300 for m in MODELS}
    out["small"] = {"B": small} | {m: small + synth.normal(f"merge/small/{m}", (40,)) * 1e-7 for m in MODELS}
    return out


def mk(tensors, method, models, base=True, /, **params):
    """merge_tensors over base (if any) and `models` in that order; per-model lists become maps by input index."""
    names = (["B"] if base else []) + list(models)
    first = 1 if base else 0
    for key, value in params.items():
        if isinstance(value, (list, tuple)):
            params[key] = {first + i: v for i, v in enumerate(value)}
    return merge_tensors([tensors[n] for n in names], method, parameters=params, base_index=0 if base else None)


def weighted_sum(t, models, weight):
    """CONTRACT: B (1 - sum w) + sum w M, in f64."""
    r = t["B"].double() * (1 - math.fsum(weight))
    for m, w in zip(models, weight):
        r = r + w * t[m].double()
    return r.float()


def add_difference(t, models, weight, minus):
    """CONTRACT: B + sum w (M - minus), in f64."""
    r = t["B"].double()
    for m, w, c in zip(models, weight, minus):
        r = r + w * (t[m].double() - t[c].double())
    return r.float()


def close(a, b, what):
    scale = max(float(b.abs().max()), 1e-12)
    assert float((a - b).abs().max()) <= 2e-6 * scale, what


def first_file(data):
    cases, out = [], {}

    def case(name, method, models, weight, **more):
        cases.append({"name": name, "method": method, "models": models, "weight": weight, **more})
        return cases[-1]

    for i, (models, weight) in enumerate(
        [(["M1"], [0.3]), (["M1", "M2"], [0.25, 0.5]), (["M1", "M2", "M3"], [0.2, 0.3, 0.4]), (["M1", "M2"], [-0.2, 1.3]), (["M2"], [1.0])]
    ):
        c = case(f"weighted_sum_{i}", "weighted_sum", models, weight)
        for n, t in data.items():
            out[f"{c['name']}.{n}"] = r = weighted_sum(t, models, weight)
            # mergekit's linear says the same with the base as one more model (weights add up to 1).
            close(merge_tensors([t["B"], *(t[m] for m in models)], "linear", parameters={"weight": [1 - sum(weight), *weight]}), r, n)
    for i, (models, weight, minus) in enumerate(
        [(["M1"], [0.7], ["B"]), (["M1", "M2"], [0.7, -0.4], ["B", "B"]), (["M1"], [1.0], ["M3"]), (["M1", "M2"], [0.5, 0.25], ["M3", "M1"])]
    ):
        c = case(f"add_difference_{i}", "add_difference", models, weight, minus=minus)
        for n, t in data.items():
            out[f"{c['name']}.{n}"] = r = add_difference(t, models, weight, minus)
            if set(minus) == {"B"}:
                close(mk(t, "task_arithmetic", models, weight=weight), r, n)
    three = ["M1", "M2", "M3"]
    ties = [
        (["M1", "M2"], [0.7, 0.4], [0.3, 0.3], {}),
        (["M1", "M2"], [1.0, 1.0], [0.5, 0.8], {}),
        (["M1", "M2"], [1.0, 1.0], [1.0, 1.0], {}),
        (three, [0.5, 0.3, 0.9], [0.2, 0.61, 0.29], {}),
        (three, [1.0, 1.0, 1.0], [0.001, 0.001, 0.001], {}),
        (["M1", "M2"], [0.6, -0.3], [0.4, 0.4], {}),
        (["M1", "M2"], [0.7, 0.4], [0.3, 0.5], {"lambda": 0.5}),
        (["M1", "M2"], [0.7, 0.4], [0.3, 0.5], {"normalize": False}),
        (["M1", "M2"], [0.7, 0.4], [0.3, 0.5], {"normalize": False, "lambda": 1.7}),
        (["M1", "M2"], [0.0, 1.0], [0.5, 0.5], {}),
        (["M1", "M2"], [1.0, 1.0], [0.0, 0.5], {}),
        (["M2"], [0.8], [0.25], {}),
    ]
    for i, (models, weight, density, params) in enumerate(ties):
        c = case(f"ties_{i}", "ties", models, weight, density=density, params=params)
        for n, t in data.items():
            out[f"{c['name']}.{n}"] = mk(t, "ties", models, weight=weight, density=density, **params)
            twin = ties_text(t, models, weight, density, **params)
            close(twin, out[f"{c['name']}.{n}"], f"README's ties differs: {c} {n}")
    return cases, out


def ties_text(t, models, weight, density, normalize=True, **params):
    """README's description of mergekit's ties, word for word, in f64 but for the f32 deltas and vote."""
    base, kept = t["B"], []
    for m, w, d in zip(models, weight, density):
        delta = (t[m] - base).flatten()
        n = delta.numel()
        if d <= 0:
            delta = torch.zeros_like(delta)
        elif d < 1:
            k = max(1, int(d * n))
            order = sorted(range(n), key=lambda i: (-abs(float(delta[i])), i))
            mask = torch.zeros(n)
            mask[order[:k]] = 1
            delta = delta * mask
        kept.append(delta * torch.tensor(w, dtype=torch.float32))
    vote = torch.stack(kept).sum(dim=0)
    sign = torch.where(vote >= 0, 1.0, -1.0)
    top, bottom = torch.zeros_like(vote, dtype=torch.float64), torch.zeros_like(vote, dtype=torch.float64)
    for delta, w in zip(kept, weight):
        agrees = torch.sign(delta) == sign
        top += torch.where(agrees, delta, 0.0).double()
        bottom += torch.where(agrees, w, 0.0).double()
    bottom[bottom == 0] = 1
    mixed = (top / bottom if normalize else top) * params.get("lambda", 1.0)
    return (base.flatten().double() + mixed).float().reshape(base.shape)


def second_file(data):
    cases, out = [], {}
    uniforms = {n: {m: (synth.uniform(f"merge/u/{n}/{m}", t["B"].shape) + 1) / 2 for m in MODELS} for n, t in data.items()}

    def case(name, method, models, base=True, skip=(), **params):
        row = {"name": name, "method": method, "models": list(models), "base": base, "params": params, "skipped": []}
        for n, t in data.items():
            SHIM.queue = [uniforms[n][m] for m in models]
            if n in skip:
                row["skipped"].append(n)
                continue
            r = mk(t, method, models, base, **{k: v for k, v in params.items()})
            if torch.isfinite(r).all():
                out[f"{name}.{n}"] = r.float()
            else:
                row["skipped"].append(n)  # mergekit's own result is not finite there
        SHIM.queue = []
        cases.append(row)

    two, three = ("M1", "M2"), MODELS
    for t in (0.0, 0.3, 0.5, 1.0):
        case(f"slerp_{t}", "slerp", ("M2",), t=t)
    for i, kw in enumerate(
        [{}, {"nuslerp_flatten": False}, {"nuslerp_flatten": False, "nuslerp_row_wise": True}]
    ):
        case(f"nuslerp_base_{i}", "nuslerp", two, weight=[0.7, 0.4], **kw)
        case(f"nuslerp_{i}", "nuslerp", two, base=False, weight=[0.7, 0.4], **kw)
    antipodal = ("ties_sign", "zeros", "same")
    case("multislerp_base", "multislerp", three, weight=[0.5, 0.3, 0.4], skip=antipodal)
    case("multislerp", "multislerp", three, base=False, weight=[0.5, 0.3, 0.4], skip=antipodal)
    case("multislerp_raw", "multislerp", two, base=False, weight=[0.5, 0.3], normalize_weights=False, skip=antipodal)
    case("karcher", "karcher", three, base=False)
    case("karcher_base", "karcher", two, max_iter=30, tol=1e-7)
    case("model_stock", "model_stock", three)
    case("model_stock_two", "model_stock", two)
    case("model_stock_rows", "model_stock", three, filter_wise=True)
    case("sce", "sce", three)
    case("sce_top", "sce", three, select_topk=0.3)
    case("nearswap", "nearswap", ("M2",), t=0.05)
    case("arcee_fusion", "arcee_fusion", ("M2",))
    for method in ("breadcrumbs", "breadcrumbs_ties"):
        case(method, method, two, weight=[0.7, 0.4], density=[0.5, 0.8], gamma=[0.05, 0.01])
        case(f"{method}_lambda", method, three, weight=[0.5, 0.3, 0.9], density=[0.9, 0.4, 0.6], gamma=[0.1, 0.2, 0.0], **{"lambda": 0.6})
    for method in ("dare_linear", "dare_ties"):
        case(method, method, two, weight=[0.7, 0.4], density=[0.5, 0.3])
        case(f"{method}_plain", method, three, weight=[0.5, 0.3, 0.9], density=[0.9, 0.4, 0.6], rescale=False, normalize=True)
    for method in ("della", "della_linear"):
        # A row of one element has rank 0 / 0 in mergekit, and torch refuses to draw from NaN.
        case(method, method, two, skip=("scalar",), weight=[0.7, 0.4], density=[0.5, 0.4], epsilon=[0.15, 0.2])
        case(f"{method}_lambda", method, three, skip=("scalar",), weight=[0.5, 0.3, 0.9], density=[0.6, 0.4, 0.5], epsilon=[0.1, 0.1, 0.3], **{"lambda": 0.8})
    case("ram", "ram", three)
    case("ramplus_tl", "ramplus_tl", three, r=0.2, alpha=0.5)
    u = {f"u.{m}.{n}": x for n, by in uniforms.items() for m, x in by.items()}
    return cases, out | u


def make() -> None:
    data = inputs()
    given = {f"in.{k}.{n}": v for n, t in data.items() for k, v in t.items()}
    for file, build in (("merges", first_file), ("merges_more", second_file)):
        part = data if file == "merges" else {n: t for n, t in data.items() if n != "big"}
        cases, out = build(part)
        assert all(torch.isfinite(v).all() for v in out.values())
        for c in cases:
            if c.get("skipped"):
                print(f"  {c['name']}: without {', '.join(c['skipped'])}")
        keep = given if file == "merges" else {k: v for k, v in given.items() if not k.endswith(".big")}
        info = {"inputs": ["B", *MODELS], "tensors": sorted(part), "cases": cases}
        store.save(HERE / f"{file}.safetensors", keep | out, {"admix_golden": json.dumps(info)})
        print(f"{file}: {len(cases)} cases, {len(out)} tensors")


if __name__ == "__main__":
    make()
