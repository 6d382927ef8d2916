"""adapters/combine.golden.safetensors: peft's add_weighted_adapter over two adapters of one layer, beside `combine` in recipes.

Factors `ADAPTER.down`, `ADAPTER.up` and scales; expected whole changes `CASE` (compare products, not factors). Random masks come from our
generator (gpu/mix/src/random.rs), ported here, in place of torch.bernoulli.
"""

import json
import pathlib

import peft
import torch
from peft.utils import merge_utils

import store
import synth

HERE = pathlib.Path(__file__).parent
NAME, OUT, INP, SEED = "layer.weight", 9, 13, 7
RANKS = {"a": 3, "b": 3, "c": 5}
ALPHAS = {"a": 3, "b": 6, "c": 5}
WORD = 0xFFFFFFFF


def stream(name: str, model: int) -> int:
    value = 0x811C9DC5
    for byte in name.encode() + model.to_bytes(4, "little"):
        value = (value ^ byte) * 0x01000193 & WORD
    return value


def uniform(seed: int, at: int, number: int) -> float:
    v = [(x * 1664525 + 1013904223) & WORD for x in (number, seed, at)]

    def mix():
        for i in range(3):
            v[i] = (v[i] + v[(i + 1) % 3] * v[(i + 2) % 3]) & WORD

    mix()
    v[:] = [x ^ x >> 16 for x in v]
    mix()
    return (v[0] >> 8) / (1 << 24)


class Torch:
    """torch with our masks in place of its own."""

    def __init__(self):
        self.model = 0

    def __getattr__(self, name):
        return getattr(torch, name)

    def bernoulli(self, p):
        numbers = torch.tensor([uniform(SEED, stream(NAME, self.model), i) for i in range(p.numel())])
        self.model += 1
        return (numbers.reshape(p.shape) < p).to(p.dtype)


class Net(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = torch.nn.Linear(INP, OUT, bias=False)


def make() -> None:
    torch.manual_seed(0)
    model = None
    for name, rank in RANKS.items():
        config = peft.LoraConfig(r=rank, lora_alpha=ALPHAS[name], target_modules=["layer"], init_lora_weights=False)
        if model is None:
            model = peft.get_peft_model(Net(), config, adapter_name=name)
        else:
            model.add_adapter(name, config)
    layer = model.base_model.model.layer
    out = {}
    for name, rank in RANKS.items():
        down, up = synth.normal(f"combine/{name}/down", (rank, INP)), synth.normal(f"combine/{name}/up", (OUT, rank))
        layer.lora_A[name].weight.data = down
        layer.lora_B[name].weight.data = up
        out |= {f"{name}.down": down, f"{name}.up": up}
    cases = []

    def case(name, ours, theirs, adapters, weights, **options):
        shim = Torch()
        merge_utils.torch = shim
        model.base_model.add_weighted_adapter(
            list(adapters), weights, name, combination_type=theirs, **options
        )
        out[name] = layer.get_delta_weight(name).detach().clone()
        model.base_model.delete_adapter(name)
        density = options.get("density")
        cases.append({"name": name, "method": ours, "adapters": list(adapters), "weights": weights, "rank": options.get("svd_rank"), "density": density})

    case("stack", "stack", "cat", "abc", [0.7, -0.4, 1.2])
    case("linear", "linear", "linear", "ab", [0.7, 0.4])
    case("svd", "svd", "svd", "abc", [0.7, -0.4, 1.2], svd_rank=4)
    for theirs, ours in (("ties_svd", "ties"), ("magnitude_prune_svd", "magnitude_prune"), ("dare_linear_svd", "dare_linear"), ("dare_ties_svd", "dare_ties")):
        case(ours, ours, theirs, "ac", [0.8, 0.6], svd_rank=6, density=0.4)
    info = {"tensor": NAME, "seed": SEED, "scales": {n: ALPHAS[n] / RANKS[n] for n in RANKS}, "cases": cases}
    store.save(HERE / "adapters" / "combine.golden.safetensors", out, {"admix_golden": json.dumps(info)})
    print(f"combine: {len(cases)} cases")


if __name__ == "__main__":
    make()
