"""Sigmas, timesteps and final latents of samplers, by diffusers (and by k-diffusion's published formulas where diffusers has none).

Writes schedules/SAMPLER.json: {"cases": [...]}, each with the settings, the n + 1 sigmas and the timesteps of the run and its 16 final values;
and schedules/noise.json: draws of torch's CPU generator.

The network is `net` below, the same formula in gpu/sample/tests: the best guess for latents at +-M with spread S, told a smooth noise level
by the timestep. It is nonlinear in the latent and depends on the timestep, so a wrong timestep, sigma or coefficient moves the result.
"""

import importlib.util
import json
import math
import pathlib
import sys
import types

import numpy as np
import torch
import diffusers

HERE = pathlib.Path(__file__).parent
OUT = HERE / "schedules"
STEPS = (5, 20, 50)
EXACT = False  # the network answers in f64: for a sampler whose steps follow from small differences of its answers
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
    return out if EXACT else out.float()


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


def case(cls, about, config, steps, strength=None, step_args=None):
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
        | ({"sigmas": digits(sigmas.tolist())} if sigmas is not None and len(sigmas) == steps + 1 and (steps < 50 or not strength) else {})
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
            for steps in STEPS if spacing is None else STEPS[:2]:
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


def k_diffusion():
    """k-diffusion's samplers, without the rest of the package (which wants CLIP and torchvision)."""
    root = pathlib.Path(importlib.util.find_spec("k_diffusion").origin).parent
    package = types.ModuleType("k_diffusion_part")
    package.__path__ = [str(root)]
    sys.modules |= {"k_diffusion_part": package, "k_diffusion_part.utils": types.ModuleType("utils")}
    package.utils = sys.modules["k_diffusion_part.utils"]
    package.utils.append_dims = lambda x, n: x[(...,) + (None,) * (n - x.ndim)]
    spec = importlib.util.spec_from_file_location("k_diffusion_part.sampling", root / "sampling.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class Brownian:
    """Noise between two sigmas as k-diffusion asks for it: increments of one motion, made of draws 1, 2, ...; a step that begins where the one
    before began goes on where that one ended."""

    def __init__(self):
        self.draws, self.start, self.parts = Draws(), None, []

    def __call__(self, sigma, sigma_next):
        a, b = float(sigma), float(sigma_next)
        if self.start is None or abs(self.start - a) > 1e-6 * a:
            self.start, self.parts = a, []
        reached = self.parts[-1][0] if self.parts else a
        self.parts.append((b, self.draws() * math.sqrt(reached - b)))
        return sum(v for _, v in self.parts) / math.sqrt(a - b)


def k_case(name, schedule, steps, prediction="epsilon", spacing=None, step_args=None, about=None, noisy=True):
    """One case by k-diffusion, at the sigmas and timesteps of diffusers' Euler."""
    config = SD | {"steps_offset": 1, "prediction_type": prediction, "use_karras_sigmas": schedule == "karras"} | spaced(spacing)
    grid = diffusers.EulerDiscreteScheduler(**config)
    grid.set_timesteps(steps)
    known = {float(s): float(t) for s, t in zip(grid.sigmas, grid.timesteps)}
    logs = np.log((((1 - grid.alphas_cumprod) / grid.alphas_cumprod) ** 0.5).numpy())
    timesteps = []
    evaluations = 2 if name in ("dpmpp_sde", "dpmpp_2s_ancestral") else 1

    def model(x, sigma):
        s = float(sigma.flatten()[0])
        # The second evaluation of a step lies between two levels, even where it happens to meet one.
        t = known[s] if len(timesteps) % evaluations == 0 else float(grid._sigma_to_t(np.array(s), logs))
        timesteps.append(t)
        root = math.hypot(s, 1)
        y = net(x / root, t, prediction)
        return {"epsilon": x - s * y, "v_prediction": x / root**2 - y * s / root, "sample": y}[prediction]

    extra = {"noise_sampler": Brownian()} if noisy else {}
    sampler = getattr(K, "sample_" + name)
    # In f64: ancestral steps cancel, and in f32 the timesteps between two levels would be off by 1e-2.
    x = sampler(model, (noise(0) * grid.init_noise_sigma).double(), grid.sigmas.double(), disable=True, **extra, **(step_args or {}))
    return (
        {"schedule": schedule, "steps": steps, "prediction": prediction, "zero_snr": False, "config_spacing": spacing, "steps_offset": 1}
        | (about or {})
        | {"timesteps": digits(timesteps), "latents": digits(x.flatten().tolist())}
    )


def k_cases(name, knobs=(), noisy=True):
    out = [k_case(name, schedule, steps, noisy=noisy) for schedule in ("normal", "karras") for steps in STEPS]
    out += [k_case(name, "karras", 20, "v_prediction", spacing, noisy=noisy) for spacing in ("leading", "trailing")]
    for args in knobs:
        out.append(k_case(name, "karras", 20, step_args=args, about={"knobs": args}, noisy=noisy))
    return out


def more(cls, schedules=(({}, {}), KARRAS), v=True, strength=True, steps=STEPS, **extra):
    """The cases of a sampler after the first three."""
    out = []
    for about, config in schedules:
        out += [case(cls, about, config | extra, n) for n in steps]
        for spacing in ("leading", "trailing"):
            out.append(case(cls, about, config | (V if v else {}) | spaced(spacing) | extra, steps[-1]))
        if strength:
            out.append(case(cls, about, config | extra, steps[-1], 0.6))
    return out


def euler_ancestral():
    cls = diffusers.EulerAncestralDiscreteScheduler
    return more(cls, [({}, {})]) + [case(cls, {}, ZERO | spaced("trailing"), 20)] + k_cases("euler_ancestral", [{"eta": 0.4, "s_noise": 0.9}])


def heun():
    return more(diffusers.HeunDiscreteScheduler)


def dpm_2():
    return more(diffusers.KDPM2DiscreteScheduler)


def dpm_2_ancestral():
    return more(diffusers.KDPM2AncestralDiscreteScheduler)


def lms():
    # Picture to picture is left out: diffusers then uses coefficients for more slopes than there are.
    return more(diffusers.LMSDiscreteScheduler, strength=False)


def dpmpp_2m_sde():
    cls = diffusers.DPMSolverMultistepScheduler
    out = more(cls, algorithm_type="sde-dpmsolver++") + [case(cls, {}, ZERO | spaced("trailing") | {"algorithm_type": "sde-dpmsolver++"}, 20)]
    return out + [case(cls, {"knobs": {"solver_type": 1}}, {"algorithm_type": "sde-dpmsolver++", "solver_type": "heun"}, n) for n in (5, 20)]


def dpmpp_sde():
    return k_cases("dpmpp_sde", [{"eta": 0.5, "s_noise": 0.8}])


def dpmpp_2s_ancestral():
    return k_cases("dpmpp_2s_ancestral", [{"eta": 0.5, "s_noise": 0.8}])


def dpmpp_3m_sde():
    return k_cases("dpmpp_3m_sde", [{"eta": 0.5, "s_noise": 0.8}, {"eta": 0.0}])


def ddpm():
    return more(diffusers.DDPMScheduler, [({}, {"timestep_spacing": s}) for s in ("leading", "linspace", "trailing")]) + [
        case(diffusers.DDPMScheduler, {}, ZERO | spaced("trailing"), 20)
    ]


def lcm():
    return more(diffusers.LCMScheduler, [({}, {})], steps=(1, 2, 4, 8)) + [case(diffusers.LCMScheduler, {}, {}, n) for n in STEPS]


def unipc():
    cls = diffusers.UniPCMultistepScheduler
    out = more(cls) + [case(cls, {}, ZERO | spaced("trailing"), 20)]
    for order in (1, 2, 3):
        for variant, name in enumerate(("bh2", "bh1")):
            about = {"knobs": {"order": order, "variant": variant}}
            # bh1 in diffusers is NaN at a last level of 0; Admix ends with the first-order limit there.
            end = {"final_sigmas_type": "sigma_min"} if variant else {}
            out += [case(cls, about, {"solver_order": order, "solver_type": name} | end, n) for n in (5, 20)]
    return out


def deis():
    cls = diffusers.DEISMultistepScheduler
    return more(cls) + [case(cls, {"knobs": {"order": o}}, {"solver_order": o}, n) for o in (1, 3) for n in (5, 20)]


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
    return {"draws": draws, "stream": stream, "batch": [digits(b) for b in batch], "comfy": [digits(b) for b in comfy], "varied": varied()}


def slerp(t, low, high):
    """A1111's: each column of a [c, h, w] latent turns from one noise towards the other."""
    angle = torch.acos((low / low.norm(dim=1, keepdim=True) * high / high.norm(dim=1, keepdim=True)).sum(1, keepdim=True))
    return (torch.sin((1 - t) * angle) * low + torch.sin(t * angle) * high) / torch.sin(angle)


def varied():
    """First and second draws of two pictures with variation seed, seed resize and another seed for later noise (A1111's rules)."""
    cases = []
    shape = (2, 6, 5)
    for seed, subseed, strength, size, later in [
        (3, 11, 0.25, None, 0), (3, 11, 1.0, None, 0), (5, 0, 0.0, (4, 3), 0), (5, 0, 0.0, (9, 8), 0), (5, 0, 0.0, (9, 2), 0),
        (7, 40, 0.5, (4, 4), 31337), (7, 40, 0.0, None, 31337),
    ]:
        first, second = [], []
        for i in range(2):
            own = seed + (0 if strength else i)
            generator = lambda s: torch.Generator("cpu").manual_seed(s)
            g = generator(own)
            inner = (shape[0], *(size or shape[1:]))
            draw = torch.randn(inner, generator=g if size is None else generator(own))
            if strength:
                draw = slerp(strength, draw, torch.randn(inner, generator=generator(subseed + i)))
            if size is not None:
                outer = torch.randn(shape, generator=g)
                places = []
                for to, of in zip(shape[1:], size):
                    d = (to - of) // 2
                    places.append((max(d, 0), max(-d, 0), of if d >= 0 else of + 2 * d))
                (ty, sy, h), (tx, sx, w) = places
                outer[:, ty : ty + h, tx : tx + w] = draw[:, sy : sy + h, sx : sx + w]
                draw = outer
            if later:
                g = generator(own + later)
            first += draw.flatten().tolist()
            second += torch.randn(shape, generator=g).flatten().tolist()
        cases.append({"seed": seed, "subseed": subseed, "strength": strength, "from": size, "later": later, "first": digits(first), "second": digits(second)})
    return {"shape": shape, "cases": cases}


def levels():
    """Schedules that are no diffusers option, from their definitions, on Stable Diffusion's table; the last 0 left out."""
    grid = diffusers.EulerDiscreteScheduler(**SD)
    table = (((1 - grid.alphas_cumprod) / grid.alphas_cumprod) ** 0.5).double().numpy()
    total, low, high = len(table), table[0], table[-1]
    between = lambda t: float(np.exp(np.interp(t, np.arange(total), np.log(table))))

    def linear_quadratic(n, threshold=0.025):
        line = n // 2
        rest = n - line
        off = line - threshold * n
        square = off / (line * rest**2)
        slope = threshold / line - 2 * off / rest**2
        done = [i * threshold / line for i in range(line)]
        done += [square * i * i + slope * i + square * line * line for i in range(line, n)]
        return [high * (1 - d) for d in done]

    made = {
        "polyexponential": lambda n: K.get_sigmas_polyexponential(n, low, high, rho=1.0)[:-1].tolist(),
        "sgm_uniform": lambda n: [between(t) for t in np.linspace(total - 1, 0, n + 1)[:-1]],
        "simple": lambda n: [table[-(1 + int(i * total / n))] for i in range(n)],
        "ddim_uniform": lambda n: [table[i] for i in range(1, total, max(total // n, 1))][::-1],
        "kl_optimal": lambda n: [math.tan(i / (n - 1) * math.atan(low) + (1 - i / (n - 1)) * math.atan(high)) for i in range(n)],
        "linear_quadratic": linear_quadratic,
    }
    cases = [{"schedule": k, "steps": n, "sigmas": digits(f(n))} for k, f in made.items() for n in (5, 7, 20, 50)]
    for rho in (0.5, 2.0):
        sigmas = K.get_sigmas_polyexponential(20, low, high, rho=rho)[:-1].tolist()
        cases.append({"schedule": "polyexponential", "steps": 20, "knobs": {"poly_rho": rho}, "sigmas": digits(sigmas)})
    return cases


K = k_diffusion()
SAMPLERS = [euler, ddim, dpmpp_2m, euler_ancestral, heun, dpm_2, dpm_2_ancestral, lms, dpmpp_2m_sde, dpmpp_sde]
SAMPLERS += [dpmpp_2s_ancestral, dpmpp_3m_sde, ddpm, lcm, unipc, deis]


def write(name, value):
    path = OUT / f"{name}.json"
    path.write_text(json.dumps(value, separators=(",", ":"), allow_nan=False) + "\n")
    print(path.name, path.stat().st_size)


def main():
    OUT.mkdir(exist_ok=True)
    write("noise", torch_noise())
    write("inputs", {"noises": [digits(n) for n in NOISES], "init": digits(INIT)})
    write("levels", levels())
    for make in SAMPLERS:
        if len(sys.argv) < 2 or make.__name__ in sys.argv[1:]:
            write(make.__name__, {"sampler": make.__name__, "cases": make()})


if __name__ == "__main__":
    main()
