"""Sigmas, timesteps and final latents of samplers, by diffusers (and by k-diffusion's published formulas where diffusers has none).

Writes schedules/SAMPLER.json: {"cases": [...]}, each with the settings, the n + 1 sigmas and the timesteps of the run and its 16 final values;
and schedules/noise.json: draws of torch's CPU generator.

The network is `net` below, the same formula in gpu/sample/tests: the best guess for latents at +-M with spread S, told a smooth noise level
by the timestep. It is nonlinear in the latent and depends on the timestep, so a wrong timestep, sigma or coefficient moves the result.
"""

import json
import math
import pathlib
import sys

import numpy as np
import torch
import diffusers

HERE = pathlib.Path(__file__).parent
OUT = HERE / "schedules"
STEPS = (5, 20, 50)
M, S = 0.9, 0.4
NOISES = [torch.randn(16, generator=torch.Generator().manual_seed(100 + i)).tolist() for i in range(4)]
INIT = torch.randn(16, generator=torch.Generator().manual_seed(99)).tolist()
SD = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear", "num_train_timesteps": 1000}


def noise(i):
    """Draw number i: four drawn vectors, turned so that no two draws are alike."""
    v = NOISES[i % 4]
    k = (i // 4 * 5) % 16
    return torch.tensor(v[k:] + v[:k]).reshape(1, 1, 4, 4)


def net(x, t, prediction):
    """The network: `x` has unit variance or so, as networks see it."""
    x = x.double()
    sigma = math.exp(-3.5 + 6.2 * float(t) / 999)
    root = math.hypot(sigma, 1)
    z = x * root
    clean = (S * S * z + sigma * sigma * M * torch.tanh(M * z / (S * S + sigma * sigma))) / (S * S + sigma * sigma)
    eps = (z - clean) / sigma
    out = {"epsilon": eps, "v_prediction": (eps - sigma * clean) / root, "sample": clean}[prediction]
    return out.float()


class Draws:
    """Stands in for the schedulers' torch noise: draws 1, 2, ..."""

    def __init__(self):
        self.count = 0

    def __call__(self, *args, **kwargs):
        self.count += 1
        return noise(self.count)


def run(scheduler, steps, prediction, strength=None, **step_args):
    """diffusers' loop: text to picture, or picture to picture from INIT."""
    draws = Draws()
    module = sys.modules[type(scheduler).__module__]
    if hasattr(module, "randn_tensor"):
        module.randn_tensor = draws
    scheduler.set_timesteps(steps)
    timesteps = scheduler.timesteps
    if strength is None:
        x = noise(0) * scheduler.init_noise_sigma
    else:
        start = max(steps - min(int(steps * strength), steps), 0)
        if start == steps:  # diffusers' pipelines fail; nothing to do is the picture itself
            return INIT, []
        timesteps = timesteps[start * scheduler.order :]
        if hasattr(scheduler, "set_begin_index"):
            scheduler.set_begin_index(start * scheduler.order)
        x = scheduler.add_noise(torch.tensor(INIT).reshape(1, 1, 4, 4), noise(0), timesteps[:1])
    for t in timesteps:
        y = net(scheduler.scale_model_input(x, t), t, prediction)
        x = scheduler.step(y, t, x, return_dict=False, **step_args)[0]
    return x.flatten().tolist(), timesteps.tolist()


def digits(values):
    return [float(f"{v:.8g}") for v in values]


def case(cls, about, config, steps, strength=None, step_args=None, **more):
    """One case; `about` are the settings as Admix names them."""
    prediction = config.get("prediction_type", "epsilon")
    full = SD | {"steps_offset": 1} | config
    if "DDIM" in cls.__name__ or "DDPM" in cls.__name__ or "LCM" in cls.__name__:
        full["clip_sample"] = False
    scheduler = cls(**full)
    latents, timesteps = run(scheduler, steps, prediction, strength, **(step_args or {}))
    sigmas = getattr(scheduler, "sigmas", None)
    return (
        {"schedule": "normal", "steps": steps, "prediction": prediction, "zero_snr": config.get("rescale_betas_zero_snr", False)}
        | ({"strength": strength} if strength is not None else {})
        | {"config_spacing": full.get("timestep_spacing"), "steps_offset": full["steps_offset"]}
        | ({"set_alpha_to_one": full["set_alpha_to_one"]} if "set_alpha_to_one" in full else {})
        | {k: full[k] for k in ("beta_schedule", "final_sigmas_type") if k in config}
        | about
        | ({"sigmas": digits(sigmas.tolist())} if sigmas is not None and more.get("sigmas", True) else {})
        | {"timesteps": digits(timesteps), "latents": digits(latents)}
    )


V = {"prediction_type": "v_prediction"}
ZERO = {"prediction_type": "v_prediction", "rescale_betas_zero_snr": True}
KARRAS = ({"schedule": "karras"}, {"use_karras_sigmas": True})
SPACINGS = (None, "leading", "linspace", "trailing")


def spaced(name):
    return {} if name is None else {"timestep_spacing": name}


def first_three(cls, schedules, zero=True, **extra):
    out = []
    for about, config in schedules:
        for spacing in SPACINGS:
            for steps in STEPS:
                out.append(case(cls, about, config | spaced(spacing) | extra, steps))
            out.append(case(cls, about, config | spaced(spacing) | V | extra, 20))
            if zero:
                for steps in (5, 20):
                    out.append(case(cls, about, config | spaced(spacing) | ZERO | extra, steps))
        out.append(case(cls, about, config | {"prediction_type": "sample"} | extra, 20))
        for strength in (0.05, 0.3, 0.75, 1.0):
            out.append(case(cls, about, config | extra, 20, strength))
            out.append(case(cls, about, config | extra | {"timestep_spacing": "leading"} | V, 7, strength))
        for steps in (7, 13, 33, 100):
            out.append(case(cls, about, config | extra | {"beta_schedule": "linear", "timestep_spacing": "trailing"}, steps))
    return out


def euler():
    return first_three(diffusers.EulerDiscreteScheduler, [({}, {}), KARRAS]) + [
        case(diffusers.EulerDiscreteScheduler, {}, {"beta_schedule": "squaredcos_cap_v2"}, 20),
        case(diffusers.EulerDiscreteScheduler, {}, {"final_sigmas_type": "sigma_min"}, 20),
        case(diffusers.EulerDiscreteScheduler, {"schedule": "exponential"}, {"use_exponential_sigmas": True}, 20),
        case(diffusers.EulerDiscreteScheduler, {"schedule": "beta"}, {"use_beta_sigmas": True}, 20),
    ]


def ddim():
    cls = diffusers.DDIMScheduler
    out = first_three(cls, [({}, {})], set_alpha_to_one=False) + first_three(cls, [({}, {})], set_alpha_to_one=True)[:12]
    for eta in (0.5, 1.0):
        out.append(case(cls, {"knobs": {"eta": eta}}, {"set_alpha_to_one": False}, 20, step_args={"eta": eta}))
        out.append(case(cls, {"knobs": {"eta": eta}}, {"set_alpha_to_one": True} | ZERO | spaced("trailing"), 20, step_args={"eta": eta}))
    return out


def dpmpp_2m():
    # Not with exponential or beta sigmas: diffusers truncates their timesteps (998 for 998.9999) where it rounds Karras's; Admix rounds all.
    return first_three(diffusers.DPMSolverMultistepScheduler, [({}, {}), KARRAS]) + [
        case(diffusers.DPMSolverMultistepScheduler, {}, {"final_sigmas_type": "sigma_min"}, steps) for steps in (5, 20)
    ]


def torch_noise():
    draws = []
    for seed in (0, 1, 42, 2**32 + 5, 2**63 + 12345, 2**64 - 1):
        for n in (1, 3, 15, 16, 17, 100, 1000, 4 * 9 * 13):
            v = torch.randn(n, generator=torch.Generator("cpu").manual_seed(seed)).tolist()
            short = n <= 100
            draws.append(
                {"seed": str(seed), "n": n, "sum": math.fsum(v), "head": digits(v if short else v[:20]), "tail": digits(v[-20:])}
            )
    g = torch.Generator("cpu").manual_seed(7)
    stream = [{"n": n, "values": digits(torch.randn(n, generator=g).tolist())} for n in (7, 4, 20, 3, 16, 33)]
    gs = [torch.Generator("cpu").manual_seed(3 + i) for i in range(3)]
    shape = (1, 2, 3, 5)
    batch = [torch.cat([torch.randn(shape, generator=g) for g in gs]).flatten().tolist() for _ in range(2)]
    one = torch.Generator("cpu").manual_seed(3)
    comfy = [torch.randn((3, *shape[1:]), generator=one).flatten().tolist() for _ in range(2)]
    return {"draws": draws, "stream": stream, "batch": [digits(b) for b in batch], "comfy": [digits(b) for b in comfy]}


SAMPLERS = {"euler": euler, "ddim": ddim, "dpmpp_2m": dpmpp_2m}


def write(name, value):
    path = OUT / f"{name}.json"
    path.write_text(json.dumps(value, separators=(",", ":")) + "\n")
    print(path.name, path.stat().st_size)


def main():
    OUT.mkdir(exist_ok=True)
    write("noise", torch_noise())
    write("inputs", {"noises": [digits(n) for n in NOISES], "init": digits(INIT)})
    for name, make in SAMPLERS.items():
        write(name, {"sampler": name, "cases": make()})


if __name__ == "__main__":
    main()
