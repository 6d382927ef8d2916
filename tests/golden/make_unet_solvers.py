"""Every solver through a real U-Net: sd1_tiny with its golden prompt, without guidance, over 5, 20 and 50 steps.

Writes unet_solvers.golden.safetensors: the final latents `SAMPLER.STEPS` [1, 4, 8, 8], by the same implementations as make_schedules.py and
make_solvers.py (diffusers, k-diffusion, or published formulas) with the network exchanged; metadata `cases`: schedule and knobs of each. Noise is
torch's CPU generator at seed 7, one stream: the initial noise and then what the sampler draws.
"""

import json
import pathlib
import sys

import diffusers
import torch
from safetensors.torch import load_file, save_file

import make_schedules as base
import make_solvers as more

HERE = pathlib.Path(__file__).parent
MODEL, SEED, SIZE = "sd1_tiny", 7, (1, 4, 8, 8)
STEPS = (5, 20, 50)
UNET = diffusers.UNet2DConditionModel.from_pretrained(HERE / "models" / MODEL, subfolder="unet", torch_dtype=torch.float32).eval()
COND = load_file(HERE / "models" / f"{MODEL}.golden.safetensors")["cond"]


class Stream:
    """Draw number i of the seed's generator."""

    def __init__(self):
        self.draws, self.generator = [], torch.Generator("cpu").manual_seed(SEED)

    def __call__(self, i):
        while len(self.draws) <= i:
            self.draws.append(torch.randn(SIZE, generator=self.generator))
        return self.draws[i].clone()


@torch.no_grad()
def net(x, t, prediction):
    """The network; whatever the run takes its answer for."""
    return UNET(x.float(), float(t), encoder_hidden_states=COND).sample


def diffusers_case(name, schedule="normal", step_args=None, knobs=None, prediction=None, **config):
    """By a diffusers scheduler, at its own levels where the prediction brings some."""
    cls = getattr(diffusers, name)
    about = {"schedule": schedule} | ({"knobs": knobs} if knobs else {})
    if schedule == "karras":
        config = config | {"use_karras_sigmas": True}
    if prediction is not None:
        about["knobs"] = about.get("knobs", {}) | {"prediction": prediction}
        return lambda n: more.own_levels(cls, prediction, n, step_args, about, **config)
    return lambda n: base.case(cls, about, config, n, step_args=step_args)


def formula_case(sampler, knobs=None, interpolate=False):
    return lambda n: more.by_formula(sampler, "karras", n, knobs=knobs, interpolate=interpolate)


def picked(make, fits):
    """One of the cases that make_solvers.py makes in one go."""
    return lambda n: next(c for c in made(make) if c["steps"] == n and fits(c))


def made(make, known={}):
    if make not in known:
        known[make] = make()
    return known[make]


def any_case(case):
    return not case.get("knobs")


CASES = {
    "euler": diffusers_case("EulerDiscreteScheduler"),
    "euler_ancestral": diffusers_case("EulerAncestralDiscreteScheduler"),
    "heun": diffusers_case("HeunDiscreteScheduler"),
    "dpm_2": diffusers_case("KDPM2DiscreteScheduler"),
    "dpm_2_ancestral": diffusers_case("KDPM2AncestralDiscreteScheduler"),
    "lms": diffusers_case("LMSDiscreteScheduler"),
    "dpmpp_2m": diffusers_case("DPMSolverMultistepScheduler", "karras"),
    "dpmpp_2m_sde": diffusers_case("DPMSolverMultistepScheduler", "karras", algorithm_type="sde-dpmsolver++"),
    "dpmpp_3m_sde": lambda n: base.k_case("dpmpp_3m_sde", "karras", n),
    "dpmpp_2s_ancestral": lambda n: base.k_case("dpmpp_2s_ancestral", "karras", n),
    "dpmpp_sde": lambda n: base.k_case("dpmpp_sde", "karras", n),
    "unipc": diffusers_case("UniPCMultistepScheduler"),
    "deis": diffusers_case("DEISMultistepScheduler"),
    "ddim": diffusers_case("DDIMScheduler", set_alpha_to_one=False),
    "ddpm": diffusers_case("DDPMScheduler", knobs={"spacing": "leading"}, timestep_spacing="leading"),
    "lcm": diffusers_case("LCMScheduler", set_alpha_to_one=False),
    "tcd": diffusers_case("TCDScheduler", set_alpha_to_one=False),
    "pndm": diffusers_case("PNDMScheduler", skip_prk_steps=True, set_alpha_to_one=False),
    "sa_solver": diffusers_case("SASolverScheduler"),
    "edm_euler": diffusers_case("EDMEulerScheduler", prediction="edm"),
    "edm_dpm": diffusers_case("EDMDPMSolverMultistepScheduler", prediction="edm"),
    "flow_euler": diffusers_case("FlowMatchEulerDiscreteScheduler", prediction="flow"),
    "flow_heun": diffusers_case("FlowMatchHeunDiscreteScheduler", prediction="flow"),
    "ipndm": formula_case(more.ipndm_formula),
    "ipndm_v": formula_case(more.ipndm_v_formula),
    "heunpp2": formula_case(more.heunpp2_formula),
    "res_multistep": formula_case(more.res_multistep_formula),
    "gradient_estimation": formula_case(more.gradient_estimation_formula),
    "er_sde": formula_case(more.er_sde_formula),
    "restart": formula_case(more.restart_formula),
    "dpm_fast": picked(more.dpm_fast, lambda c: any_case(c) and c["schedule"] == "karras" and c["prediction"] == "epsilon"),
    "dpm_adaptive": picked(more.dpm_adaptive, lambda c: any_case(c) and c["schedule"] == "karras" and c["prediction"] == "epsilon"),
    "dc_solver": picked(more.dc_solver, lambda c: True),
    "bdia": picked(more.bdia, lambda c: c["knobs"]["bdia_gamma"] == 0.5),
}


def main() -> int:
    stream = Stream()
    base.noise = more.noise = stream
    base.net = more.net = net
    tensors, cases = {}, {}
    for name, make in CASES.items():
        if len(sys.argv) > 1 and name not in sys.argv[1:]:
            continue
        for n in STEPS:
            done = make(n)
            x = torch.tensor(done["latents"]).reshape(SIZE)
            assert torch.isfinite(x).all(), name
            tensors[f"{name}.{n}"] = x
            cases[f"{name}.{n}"] = {"schedule": done["schedule"], "knobs": done.get("knobs", {})}
            print(name, n, f"{x.norm():.4g}", flush=True)
    about = {"model": MODEL, "seed": SEED, "cases": cases}
    if len(sys.argv) == 1:
        save_file(tensors, HERE / "unet_solvers.golden.safetensors", {"admix_golden": json.dumps(about)})
    return 0


if __name__ == "__main__":
    sys.exit(main())
