"""More samplers and schedules, beside make_schedules.py: by diffusers where it has them, else by the published formulas written out here in f64.

Writes schedules/SAMPLER.json and schedules/levels_more.json. The network, the draws and the cases' fields are those of make_schedules.py; a
network of EDM is told a quarter of ln sigma, one of a flow 1000 times the share of noise.
"""

import math
import sys

import numpy as np
import torch
import diffusers

import make_schedules as base
from make_schedules import M, S, SD, ZERO, Draws, digits, noise, spaced

D = torch.float64
STEPS = (5, 20, 50)


def net(x, t, prediction):
    """The same best guess for latents at +-M as make_schedules.net, for every prediction type."""
    x = x.double()
    if prediction == "flow":
        u = float(t) / 1000
        a = 1 - u
        wide = S * S * a * a + u * u
        clean = (S * S * a * x + u * u * M * torch.tanh(M * a * x / wide)) / wide
        return ((x - clean) / u).float()
    if prediction == "edm":
        sigma = math.exp(4 * float(t))
        root = math.hypot(sigma, 0.5)
        z = x * root
        wide = S * S + sigma * sigma
        clean = (S * S * z + sigma * sigma * M * torch.tanh(M * z / wide)) / wide
        return ((clean - z * (0.5 / root) ** 2) * root / (sigma * 0.5)).float()
    return PLAIN(x, t, prediction)


PLAIN, base.net = base.net, net


def own_levels(cls, prediction, steps, step_args=None, about=None, **config):
    """A case by a scheduler that brings its own noise levels (EDM, flow)."""
    scheduler = cls(**config)
    if not hasattr(scheduler, "init_noise_sigma"):  # flows start from unit noise and take their input as it is
        scheduler.init_noise_sigma, scheduler.scale_model_input = 1.0, lambda x, t: x
    latents, timesteps = base.run(scheduler, steps, prediction, **(step_args or {}))
    full = {"schedule": "normal", "steps": steps, "prediction": prediction, "zero_snr": False, "config_spacing": None, "steps_offset": 1}
    sigmas = [float(s) for s in scheduler.sigmas]
    if prediction == "flow":
        sigmas = [s / (1 - s) if s < 1 else 1e6 for s in sigmas]
    listed = {"sigmas": digits(sigmas)} if len(sigmas) == steps + 1 else {}
    return full | (about or {}) | listed | {"timesteps": digits(timesteps), "latents": digits(latents)}


class Model:
    """A denoiser at the levels of diffusers' Euler; remembers what the network was told."""

    def __init__(self, schedule, steps, prediction="epsilon", spacing=None, interpolate=False):
        config = SD | {"steps_offset": 1, "prediction_type": prediction, "use_karras_sigmas": schedule == "karras"} | spaced(spacing)
        self.grid = diffusers.EulerDiscreteScheduler(**config)
        self.grid.set_timesteps(steps)
        self.sigmas = self.grid.sigmas.double()
        self.start = (noise(0) * self.grid.init_noise_sigma).double()
        self.known = {} if interpolate else {float(s): float(t) for s, t in zip(self.sigmas, self.grid.timesteps)}
        self.table = np.log((((1 - self.grid.alphas_cumprod) / self.grid.alphas_cumprod) ** 0.5).numpy())
        self.prediction, self.told = prediction, []

    def __call__(self, x, sigma, **_):
        s = float(torch.as_tensor(sigma).flatten()[0])
        t = self.known.get(s)
        if t is None:
            t = float(self.grid._sigma_to_t(np.array(s), self.table))
        self.told.append(t)
        root = math.hypot(s, 1)
        y = net(x / root, t, self.prediction).double()
        return {"epsilon": x - s * y, "v_prediction": x / root**2 - y * s / root, "sample": y}[self.prediction]


def by_formula(sampler, schedule, steps, prediction="epsilon", spacing=None, knobs=None, interpolate=False):
    model = Model(schedule, steps, prediction, spacing, interpolate)
    draws = Draws()
    x = sampler(model, model.start, model.sigmas, lambda: draws().double(), **(knobs or {}))
    about = {"schedule": schedule, "steps": steps, "prediction": prediction, "zero_snr": False, "config_spacing": spacing, "steps_offset": 1}
    return about | ({"knobs": knobs} if knobs else {}) | {"timesteps": digits(model.told), "latents": digits(x.flatten().tolist())}


def formulas(sampler, knobs=(), interpolate=False, spacings=("leading", "trailing")):
    out = [by_formula(sampler, s, n, interpolate=interpolate) for s in ("normal", "karras") for n in STEPS]
    out += [by_formula(sampler, "karras", 20, "v_prediction", s, interpolate=interpolate) for s in spacings]
    return out + [by_formula(sampler, "karras", 20, knobs=k, interpolate=interpolate) for k in knobs]


def ancestral(a, b, eta):
    up = min(b, eta * math.sqrt(b * b * (a * a - b * b) / (a * a)))
    return math.sqrt(b * b - up * up), up


def churned(x, s, n, draw, s_churn, s_noise=1.0):
    gamma = min(s_churn / n, 2**0.5 - 1)
    if gamma <= 0:
        return x, s
    return x + draw() * s_noise * math.sqrt((s * (gamma + 1)) ** 2 - s * s), s * (gamma + 1)


def heunpp2_formula(model, x, sigmas, draw, s_churn=0.0):
    s = [float(v) for v in sigmas]
    n = len(s) - 1
    for i in range(n):
        x, hat = churned(x, s[i], n, draw, s_churn)
        d1 = (x - model(x, hat)) / hat
        dt = s[i + 1] - hat
        slope = d1
        if i < n - 1:
            x2 = x + d1 * dt
            d2 = (x2 - model(x2, s[i + 1])) / s[i + 1]
            if i == n - 2:
                w2 = s[i + 1] / (2 * s[0])
                slope = (1 - w2) * d1 + w2 * d2
            else:
                x3 = x2 + d2 * (s[i + 2] - s[i + 1])
                d3 = (x3 - model(x3, s[i + 2])) / s[i + 2]
                w2, w3 = s[i + 1] / (3 * s[0]), s[i + 2] / (3 * s[0])
                slope = (1 - w2 - w3) * d1 + w2 * d2 + w3 * d3
        x = x + slope * dt
    return x


AB = {1: [1], 2: [3 / 2, -1 / 2], 3: [23 / 12, -16 / 12, 5 / 12], 4: [55 / 24, -59 / 24, 37 / 24, -9 / 24]}


def ipndm_formula(model, x, sigmas, draw, order=4):
    s, past = [float(v) for v in sigmas], []
    for i in range(len(s) - 1):
        clean = model(x, s[i])
        past = ([(x - clean) / s[i]] + past)[: int(order)]
        x = clean if s[i + 1] == 0 else x + (s[i + 1] - s[i]) * sum(w * d for w, d in zip(AB[len(past)], past))
    return x


def variable_ab(h):
    """diff-sampler's weights for steps h[0] (now), h[1], ... of different length."""
    if len(h) == 1:
        return [1.0]
    a, b = h[0], h[1]
    w = [1 + a / b / 2, -a / b / 2]
    if len(h) > 2:
        c = h[2]
        t1 = (1 - a / (3 * (a + b)) * (a * (a + b)) / (b * (b + c))) / 2
        w = [w[0] + t1, w[1] - (1 + b / c) * t1, t1 * b / c]
        if len(h) > 3:
            d = h[3]
            t2 = (1 - a / (3 * (a + b))) / 2 + (1 - a / (2 * (a + b))) * a / (6 * (a + b + c))
            t2 *= (a * (a + b) * (a + b + c)) / (b * (b + c) * (b + c + d))
            q = b * (b + c) / (c * (c + d))
            w = [w[0] + t2, w[1] - (1 + b / c + q) * t2, w[2] + (b / c + q * (1 + c / d)) * t2, -t2 * q * b / c]
    return w


def ipndm_v_formula(model, x, sigmas, draw, order=4):
    s, past = [float(v) for v in sigmas], []
    for i in range(len(s) - 1):
        clean = model(x, s[i])
        past = ([(x - clean) / s[i]] + past)[: int(order)]
        h = [s[i + 1 - k] - s[i - k] for k in range(len(past))]
        x = clean if s[i + 1] == 0 else x + h[0] * sum(w * d for w, d in zip(variable_ab(h), past))
    return x


def gradient_estimation_formula(model, x, sigmas, draw, ge_gamma=2.0):
    s, old = [float(v) for v in sigmas], None
    for i in range(len(s) - 1):
        clean = model(x, s[i])
        d = (x - clean) / s[i]
        if s[i + 1] == 0:
            return clean
        dt = s[i + 1] - s[i]
        x = x + d * dt + (0 if old is None else (ge_gamma - 1) * (d - old) * dt)
        old = d
    return x


def res_multistep_formula(model, x, sigmas, draw, eta=0.0, s_noise=1.0):
    s, old, old_down = [float(v) for v in sigmas], None, None
    for i in range(len(s) - 1):
        clean = model(x, s[i])
        down, up = ancestral(s[i], s[i + 1], eta)
        if down == 0 or old is None:
            x = x + (x - clean) / s[i] * (down - s[i])
        else:
            h = math.log(s[i] / down)
            c2 = (-math.log(s[i - 1]) + math.log(old_down)) / h
            phi1 = math.expm1(-h) / -h
            phi2 = (phi1 - 1) / -h
            x = math.exp(-h) * x + h * ((phi1 - phi2 / c2) * clean + phi2 / c2 * old)
        if s[i + 1] > 0 and up * s_noise > 0:
            x = x + draw() * s_noise * up
        old, old_down = clean, down
    return x


def er_sde_formula(model, x, sigmas, draw, max_stage=3, s_noise=1.0):
    s, old, old_d = [float(v) for v in sigmas], None, None
    f = lambda v: v * (np.exp(v**0.3) + 10)
    for i in range(len(s) - 1):
        clean = model(x, s[i])
        if s[i + 1] == 0:
            return clean
        a, b = s[i], s[i + 1]
        r = f(b) / f(a)
        y = r * x + (1 - r) * clean
        stage = min(int(max_stage), i + 1)
        d = None
        if stage >= 2:
            width = (a - b) / 200
            points = b + np.arange(200) * width
            d = (clean - old) / (a - s[i - 1])
            y = y + (b - a + np.sum(1 / f(points)) * width * f(b)) * d
            if stage >= 3:
                u = (d - old_d) / ((a - s[i - 2]) / 2)
                y = y + ((b - a) ** 2 / 2 + np.sum((points - a) / f(points)) * width * f(b)) * u
        if s_noise > 0:
            y = y + draw() * s_noise * math.sqrt(max(b * b - a * a * r * r, 0))
        x, old, old_d = y, clean, d
    return x


def restart_formula(model, x, sigmas, draw, s_noise=1.0):
    s = [float(v) for v in sigmas]
    n = len(s) - 1

    def karras(count, low, high):
        r = np.linspace(0, 1, count)
        return list((high ** (1 / 7) + r * (low ** (1 / 7) - high ** (1 / 7))) ** 7)

    pairs = list(zip(s[:-1], s[1:]))
    if n >= 20:
        length, times = (n // 4, 2) if n >= 36 else (9, 1)
        s = karras(n - length * times, s[-2], s[0]) + [0.0]
        near = lambda v: int(np.argmin(np.abs(np.array(s) - v)))
        low, high = near(0.1), near(2.0)
        again = karras(length + 1, s[low], s[high])
        pairs = list(zip(s[:low], s[1 : low + 1])) + times * list(zip(again[:-1], again[1:])) + list(zip(s[low:-1], s[low + 1 :]))
    last = pairs[0][0]
    for a, b in pairs:
        if a > last:
            x = x + draw() * s_noise * math.sqrt(a * a - last * last)
        d = (x - model(x, a)) / a
        x2 = x + d * (b - a)
        x = x2 if b == 0 else x + (d + (x2 - model(x2, b)) / b) / 2 * (b - a)
        last = b
    return x


def heunpp2():
    return formulas(heunpp2_formula, [{"s_churn": 8.0}])


def ipndm():
    return formulas(ipndm_formula, [{"order": o} for o in (1, 2, 3)])


def ipndm_v():
    return formulas(ipndm_v_formula, [{"order": o} for o in (1, 2, 3)])


def gradient_estimation():
    return formulas(gradient_estimation_formula, [{"ge_gamma": 1.5}])


def res_multistep():
    return formulas(res_multistep_formula, [{"eta": 1.0}, {"eta": 0.5, "s_noise": 0.9}])


def er_sde():
    return formulas(er_sde_formula, [{"max_stage": 1}, {"max_stage": 2}, {"s_noise": 0.7}, {"s_noise": 0.0}])


def restart():
    # Not with trailing spacing: its smallest level is above 0.1, and the web UI's choice then restarts from sigma 0.
    return formulas(restart_formula, [{"s_noise": 0.9}], spacings=("leading",))


def lowest(model):
    """A1111's end for samplers between two levels: the smallest of training."""
    first = model.grid.alphas_cumprod[0]
    return float(((1 - first) / first) ** 0.5)


def dpm_fast():
    def sampler(model, x, sigmas, draw, eta=0.0, s_noise=1.0):
        s = [float(v) for v in sigmas]
        x = x.double()
        return base.K.sample_dpm_fast(
            model, x, torch.tensor(lowest(model), dtype=D), torch.tensor(s[0], dtype=D), len(s) - 1, disable=True, eta=eta, s_noise=s_noise,
            noise_sampler=lambda *_: draw(),
        )

    return formulas(sampler, [{"eta": 0.6}], interpolate=True)


def dpm_adaptive():
    """k-diffusion's own; where it repeats a rejected step's first evaluation, which gives the same again, one is left out."""

    def sampler(model, x, sigmas, draw, **knobs):
        s = [float(v) for v in sigmas]
        knobs = {k: int(v) if k == "order" else v for k, v in knobs.items()}
        torch.set_default_dtype(D)  # or its noise levels are f32
        x = base.K.sample_dpm_adaptive(model, x.double(), lowest(model), s[0], disable=True, noise_sampler=lambda *_: draw(), **knobs)
        torch.set_default_dtype(torch.float32)
        return x

    base.EXACT = True
    out = formulas(sampler, [{"order": 2}, {"rtol": 0.005, "atol": 0.001}, {"eta": 0.5, "s_noise": 0.9}, {"pcoeff": 0.2, "icoeff": 0.7, "dcoeff": 0.1}], interpolate=True)
    base.EXACT = False
    for case in out:
        order, kept, first = case.get("knobs", {}).get("order", 3), [], None
        for i in range(0, len(case["timesteps"]), order):
            step = case["timesteps"][i : i + order]
            kept += step[1:] if step[0] == first else step
            first = step[0]
        case["timesteps"] = kept
    return out


def pndm():
    cls, plain = diffusers.PNDMScheduler, {"skip_prk_steps": True, "set_alpha_to_one": False}
    out = [base.case(cls, {}, plain | spaced(s), n) for s in (None, "trailing") for n in STEPS]
    out.append(base.case(cls, {}, plain | {"set_alpha_to_one": True}, 20))
    return out + [base.case(cls, {"knobs": {"warmup": 1}}, plain | {"skip_prk_steps": False}, n) for n in (5, 20, 50)]


def tcd():
    out = [base.case(diffusers.TCDScheduler, {}, {}, n) for n in (1, 2, 4, 5, 8, 20, 50)]
    out += [base.case(diffusers.TCDScheduler, {"knobs": {"eta": e}}, {}, 8, step_args={"eta": e}) for e in (0.0, 1.0)]
    return out + [base.case(diffusers.TCDScheduler, {}, base.V, 5), base.case(diffusers.TCDScheduler, {}, ZERO, 20)]


def sa_solver():
    cls = diffusers.SASolverScheduler
    out = [base.case(cls, {}, spaced(s), n) for s in (None, "leading", "trailing") for n in STEPS]
    out += [base.case(cls, {"schedule": "karras"}, {"use_karras_sigmas": True}, n) for n in STEPS]
    out += [base.case(cls, {}, base.V, 20), base.case(cls, {}, {}, 20, 0.6)]
    for p, c in ((1, 1), (3, 3), (3, 4), (2, 1)):
        out.append(base.case(cls, {"knobs": {"predictor_order": p, "corrector_order": c}}, {"predictor_order": p, "corrector_order": c}, 20))
    tau = base.case(cls, {"knobs": {"tau": 0.0}}, {"tau_func": lambda t: 0.0}, 20)
    return out + [tau]


class DcSolver(diffusers.UniPCMultistepScheduler):
    """DCSolverMultistepScheduler's sampling on top of UniPC's: the newest output is moved before the predictor."""

    ratios = ()

    def set_timesteps(self, *args, **kwargs):
        super().set_timesteps(*args, **kwargs)
        self.seen = []

    def multistep_uni_p_bh_update(self, *args, **kwargs):
        self.seen = (self.seen + [(int(self.timesteps[self.step_index]), self.model_outputs[-1])])[-3:]
        ratio = self.ratios[self.step_index] if self.step_index > 1 else 1.0
        if ratio != 1.0:
            ts, ms = zip(*self.seen[::-1])
            at = ratio * (ts[0] - ts[1]) + ts[1]
            moved = 0
            for i in range(3):
                moved = moved + ms[i] * math.prod((at - ts[j]) / (ts[i] - ts[j]) for j in range(3) if j != i)
            self.model_outputs[-1] = moved
            self.seen[-1] = (ts[0], moved)
        return super().multistep_uni_p_bh_update(*args, **kwargs)


def dc_solver():
    out = []
    for n, ratios in ((5, [1, 1, 1.1, 0.8, 1.2]), (20, [1, 1] + [0.9 + 0.01 * i for i in range(18)]), (50, [1.0] * 50)):
        DcSolver.ratios = ratios
        config = {"solver_order": 2, "disable_corrector": [0], "final_sigmas_type": "sigma_min"}
        made = base.case(DcSolver, {}, config, n)
        made["final_sigmas_type"] = "zero"  # the sampler itself ends at the smallest level
        made["knobs"] = {"dc_ratios": ",".join(map(str, ratios))}
        out.append(made)
    return out


def bdia():
    out = []
    for n in STEPS:
        for gamma in (1.0, 0.5):
            ddim = diffusers.DDIMScheduler(**SD, steps_offset=1, set_alpha_to_one=False, clip_sample=False)
            ddim.set_timesteps(n)
            ts = ddim.timesteps.tolist()
            a = [float(ddim.alphas_cumprod[t]) for t in ts] + [float(ddim.alphas_cumprod[0])]
            z, before = noise(0).double(), None
            for i, t in enumerate(ts):
                eps = net(z, t, "epsilon").double()
                clean = (z - math.sqrt(1 - a[i]) * eps) / math.sqrt(a[i])
                to = lambda bar: math.sqrt(bar) * clean + math.sqrt(1 - bar) * eps
                new = to(a[i + 1])
                if before is not None:
                    new = before - (1 - gamma) * (before - z) - gamma * (to(a[i - 1]) - z) + new - z
                before, z = z, new
            out.append(
                {"schedule": "normal", "steps": n, "prediction": "epsilon", "zero_snr": False, "config_spacing": "leading", "steps_offset": 1}
                | {"set_alpha_to_one": False, "knobs": {"bdia_gamma": gamma}}
                | {"timesteps": digits(ts), "latents": digits(z.flatten().tolist())}
            )
    return out


def edm_euler():
    cls = diffusers.EDMEulerScheduler
    return [own_levels(cls, "edm", n) for n in STEPS]


def edm_dpm():
    cls = diffusers.EDMDPMSolverMultistepScheduler
    out = [own_levels(cls, "edm", n) for n in STEPS]
    for order in (1, 2, 3):
        for kind, name in enumerate(("midpoint", "heun")):
            about = {"knobs": {"order": order, "solver_type": kind}}
            if order == 3 and kind:
                continue
            out += [own_levels(cls, "edm", n, about=about, solver_order=order, solver_type=name) for n in (5, 20)]
    for kind, name in enumerate(("midpoint", "heun")):
        about = {"knobs": {"equation": 1, "solver_type": kind}}
        out.append(own_levels(cls, "edm", 20, about=about, algorithm_type="sde-dpmsolver++", solver_type=name))
    return out


def flow_euler():
    cls = diffusers.FlowMatchEulerDiscreteScheduler
    out = [own_levels(cls, "flow", n) for n in STEPS]
    out += [own_levels(cls, "flow", n, about={"shift": 3.0}, shift=3.0) for n in (5, 20)]
    return out + [own_levels(cls, "flow", 20, about={"knobs": {"stochastic": 1}}, stochastic_sampling=True)]


def flow_heun():
    cls = diffusers.FlowMatchHeunDiscreteScheduler
    return [own_levels(cls, "flow", n) for n in STEPS] + [own_levels(cls, "flow", n, about={"shift": 3.0}, shift=3.0) for n in (5, 20)]


# Rows of ComfyUI's tables, for the numbers of steps tested.
GITS = {
    5: [14.61464119, 2.84484982, 1.24153244, 0.59516323, 0.25053367, 0.02916753],
    7: [14.61464119, 5.85520077, 2.45070267, 1.24153244, 0.64427125, 0.29807833, 0.09824532, 0.02916753],
    20: [14.61464119, 7.49001646, 4.65472794, 3.07277966, 2.19988537, 1.61558151, 1.24153244, 0.95350921, 0.74807048, 0.59516323, 0.50118381]
    + [0.41087446, 0.34370604, 0.29807833, 0.25053367, 0.22545385, 0.19894916, 0.17026083, 0.13792117, 0.09824532, 0.02916753],
}
AYS = {
    0: [14.6146412293, 6.4745760956, 3.8636745985, 2.6946151520, 1.8841921177, 1.3943805092, 0.9642583904, 0.6523686016, 0.3977456272]
    + [0.1515232662, 0.0291671582],
    1: [14.6146412293, 6.3184485287, 3.7681790315, 2.1811480769, 1.3405244945, 0.8620721141, 0.5550693289, 0.3798540708, 0.2332364134]
    + [0.1114188177, 0.0291671582],
}


def log_linear(levels, n):
    return np.exp(np.interp(np.linspace(0, 1, n), np.linspace(0, 1, len(levels)), np.log(levels[::-1])))[::-1]


def levels_more():
    grid = diffusers.EulerDiscreteScheduler(**SD)
    table = (((1 - grid.alphas_cumprod) / grid.alphas_cumprod) ** 0.5).double()

    def laplace(n, mu=0.0, beta=0.5):
        x = torch.linspace(0, 1, n, dtype=D)
        lmb = mu - beta * torch.sign(0.5 - x) * torch.log(1 - 2 * torch.abs(0.5 - x) + 1e-5)
        return torch.clamp(torch.exp(lmb), min=table[0], max=table[-1]).tolist()

    cases = [{"schedule": "laplace", "steps": n, "sigmas": laplace(n)} for n in (5, 7, 20, 50)]
    cases.append({"schedule": "laplace", "steps": 20, "knobs": {"laplace_mu": 0.5, "laplace_beta": 0.3}, "sigmas": laplace(20, 0.5, 0.3)})
    for model, levels in AYS.items():
        for n in (5, 10, 20, 50):
            full = levels if n == 10 else list(log_linear(levels, n + 1))
            cases.append({"schedule": "ays", "steps": n, "knobs": {"ays_model": model}, "sigmas": full[:-1]})
    cases += [{"schedule": "gits", "steps": n, "sigmas": levels[:-1]} for n, levels in GITS.items()]
    cases.append({"schedule": "gits", "steps": 50, "sigmas": list(log_linear(GITS[20], 51))[:-1]})
    for n in (1, 3, 10):
        cases.append({"schedule": "turbo", "steps": n, "sigmas": [float(table[(10 - i) * 100 - 1]) for i in range(n)]})
    return [c | {"sigmas": digits(c["sigmas"])} for c in cases]


SAMPLERS = [pndm, tcd, sa_solver, dc_solver, bdia, edm_euler, edm_dpm, flow_euler, flow_heun, heunpp2, ipndm, ipndm_v]
SAMPLERS += [gradient_estimation, res_multistep, er_sde, restart, dpm_fast, dpm_adaptive]


def main():
    base.write("levels_more", levels_more())
    for make in SAMPLERS:
        if len(sys.argv) < 2 or make.__name__ in sys.argv[1:]:
            base.write(make.__name__, {"sampler": make.__name__, "cases": make()})


if __name__ == "__main__":
    main()
