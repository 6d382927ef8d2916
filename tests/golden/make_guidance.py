"""guidance.golden.safetensors: final latents of eight Euler steps of sd1_tiny under each way to guide.

PAG by diffusers' own pipeline, FreeU and skip-layer by diffusers' own hooks; the rest by the published formulas (diffusers' guiders, ComfyUI's
nodes and the papers' repositories), written out around diffusers' U-Net.
"""

import json
import math
import pathlib

import torch
import torch.nn.functional as F
from diffusers import EulerDiscreteScheduler, StableDiffusionPAGPipeline
from diffusers.hooks import LayerSkipConfig, apply_layer_skip
from diffusers.models.attention_processor import AttnProcessor2_0
from safetensors.torch import load_file

import make_models
import oracle
import store
import tiny_tokenizer

HERE = pathlib.Path(__file__).parent
NAME, STEPS = "sd1_tiny", 8
pipe = make_models.load_folder(HERE / "models" / NAME)
golden = load_file(HERE / "models" / f"{NAME}.golden.safetensors")
noise, cond, uncond = (golden[k] for k in ("noise", "cond", "uncond"))
tokenizer = tiny_tokenizer.load(HERE / "models" / NAME / "tokenizer")
ids = tokenizer("", padding="max_length", max_length=cond.shape[1], truncation=True, return_tensors="pt").input_ids
empty = oracle.embeds(pipe.text_encoder, ids, 1)
# A negative prompt that says something: the fixture's own unconditional states are those of the empty prompt.
negative = golden["text.out.clip_skip_2"][:1].contiguous()
MID = pipe.unet.mid_block.attentions[0]


def euler():
    return EulerDiscreteScheduler.from_config(pipe.scheduler.config)


class Look:
    """One evaluation: the latent, its level, and the network."""

    def __init__(self, x, sigma, t, step):
        self.x, self.sigma, self.t, self.step = x, sigma, t, step

    def net(self, context, x=None):
        x = self.x if x is None else x
        return pipe.unet(x / math.hypot(self.sigma, 1), self.t, context).sample

    def clean(self, eps):
        return self.x - self.sigma * eps

    def eps(self, clean):
        return (self.x - clean) / self.sigma


def run(guide, cfg_pp=False):
    """Euler with a guide: (look, conditional, unconditional) -> guided prediction."""
    s = euler()
    s.set_timesteps(STEPS)
    x = noise * s.init_noise_sigma
    state = {}
    for i, t in enumerate(s.timesteps):
        look = Look(x, float(s.sigmas[i]), t, i)
        e = guide(look, state)
        guided, un = e if isinstance(e, tuple) else (e, e)
        x = look.clean(guided) + float(s.sigmas[i + 1]) * un
    return x


def cfg(scale, rescale=0.0, bend=lambda look, c, u: u):
    def guide(look, state):
        w = scale(look.step) if callable(scale) else scale
        c = look.net(cond)
        if w == 1:
            return c
        u = bend(look, c, look.net(uncond))
        out = u + w * (c - u)
        if rescale:
            out = rescale * out * c.std() / out.std() + (1 - rescale) * out
        return out

    return guide


def flat(v):
    return v.flatten().double()


def zero_star(look, c, u):
    return u * (flat(c) @ flat(u) / (flat(u) @ flat(u) + 1e-8)).float()


def tangential(look, c, u):
    v = torch.linalg.svd(torch.stack([flat(c), flat(u)]), full_matrices=False)[2][0]
    return (v * (flat(u) @ v)).reshape(u.shape).float()


def cfg_pp(look, state):
    c, u = look.net(cond), look.net(uncond)
    return u + 1.2 * (c - u), u


def residual(look, state):
    c = look.net(cond)
    if look.step == 0:
        u = look.net(uncond)
        state["first"] = look.clean(u)
    else:
        u = 0.9 * look.eps(state["first"])
    return u + 1.5 * (c - u)


def perp_neg(look, state):
    c, n, e = look.net(cond), look.net(negative), look.net(empty)
    pos, neg = c - e, n - e
    perp = neg - (flat(neg) @ flat(pos) / (flat(pos) @ flat(pos))).float() * pos
    return e + 7.5 * (pos - 1.5 * perp)


def apg(look, state, scale=7.5, eta=0.0, radius=15.0, momentum=-0.5):
    c, u = look.clean(look.net(cond)), look.clean(look.net(uncond))
    d = state["average"] = (c - u) + momentum * state.get("average", 0)
    d = d * min(1.0, radius / float(d.norm()))
    v = c / c.norm()
    along = (flat(d) @ flat(v)).float() * v
    return look.eps(c + (scale - 1) * (d - along + eta * along))


def dynthresh(deviation=False, phi=1.0, mimic=4.0, percentile=0.95):
    def guide(look, state):
        c, u = look.clean(look.net(cond)), look.clean(look.net(uncond))
        full, low = ((u + w * (c - u)).flatten(2) for w in (12.0, mimic))
        mean = full.mean(2, keepdim=True)
        full0, low0 = full - mean, low - low.mean(2, keepdim=True)
        if deviation:
            out = full0 / full0.std(2, keepdim=True) * low0.std(2, keepdim=True)
        else:
            high = low0.abs().amax(2, keepdim=True)
            top = torch.maximum(high, torch.quantile(full0.abs(), percentile, dim=2).unsqueeze(2))
            out = full0.clamp(-top, top) / top * high
        out = (out + mean) * phi + full * (1 - phi)
        return look.eps(out.reshape(c.shape))

    return guide


def blur(img, kernel_size, sigma):
    """SEG's and SAG's Gaussian with reflected borders, the kernel no longer than the picture."""
    for dim in (2, 3):
        edge = img.shape[dim]
        k = min(kernel_size, edge - (edge % 2 - 1))
        z = torch.linspace(-(k - 1) * 0.5, (k - 1) * 0.5, k)
        w = torch.exp(-0.5 * (z / sigma) ** 2)
        w = (w / w.sum()).reshape((1, 1, k, 1) if dim == 2 else (1, 1, 1, k)).expand(img.shape[1], -1, -1, -1)
        pad = (0, 0, k // 2, k // 2) if dim == 2 else (k // 2, k // 2, 0, 0)
        img = F.conv2d(F.pad(img, pad, mode="reflect"), w, groups=img.shape[1])
    return img


class Blurred:
    """Self-attention with queries blurred over the picture."""

    def __init__(self, sigma, shape):
        self.sigma, self.shape = sigma, shape

    def __call__(self, attn, h, encoder_hidden_states=None, attention_mask=None, temb=None, **_):
        b, tokens, _ = h.shape
        q, k, v = attn.to_q(h), attn.to_k(h), attn.to_v(h)
        picture = q.transpose(1, 2).reshape(b, -1, *self.shape)
        if self.sigma is None:
            picture = picture.mean((2, 3), keepdim=True).expand_as(picture)
        else:
            size = math.ceil(6 * self.sigma) + 1 - math.ceil(6 * self.sigma) % 2
            picture = blur(picture, size, self.sigma)
        q = picture.reshape(b, -1, tokens).transpose(1, 2)
        q, k, v = (y.reshape(b, tokens, attn.heads, -1).transpose(1, 2) for y in (q, k, v))
        y = F.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(b, tokens, -1)
        return attn.to_out[0](y)


def mid_shape():
    levels = len(pipe.unet.config.block_out_channels) - 1
    h, w = noise.shape[2:]
    for _ in range(levels):
        h, w = (h + 1) // 2, (w + 1) // 2
    return h, w


def seg(sigma):
    def guide(look, state):
        c, u = look.net(cond), look.net(uncond)
        for block in MID.transformer_blocks:
            block.attn1.processor = Blurred(sigma, mid_shape())
        p = look.net(cond)
        for block in MID.transformer_blocks:
            block.attn1.processor = AttnProcessor2_0()
        return u + 5.0 * (c - u) + 3.0 * (c - p)

    return guide


class Store:
    """StableDiffusionSAGPipeline's processor: keeps the attention probabilities."""

    def __call__(self, attn, h, encoder_hidden_states=None, attention_mask=None, **_):
        q, k, v = (attn.head_to_batch_dim(f(h)) for f in (attn.to_q, attn.to_k, attn.to_v))
        self.probs = attn.get_attention_scores(q, k, None)
        return attn.to_out[0](attn.batch_to_head_dim(torch.bmm(self.probs, v)))


def sag(look, state):
    keep = Store()
    attn = MID.transformer_blocks[0].attn1
    c = look.net(cond)
    attn.processor = keep
    u = look.net(uncond)
    attn.processor = AttnProcessor2_0()
    mask = (keep.probs.mean(0).sum(0) > 1.0).reshape(1, 1, *mid_shape()).float()
    mask = F.interpolate(mask, noise.shape[2:])
    clean = look.clean(u)
    degraded = blur(clean, 9, 1.0) * mask + clean * (1 - mask)
    d = look.net(uncond, degraded + look.sigma * u)
    return u + 5.0 * (c - u) + 0.75 * (u - d)


def slg(look, state):
    c, u = look.net(cond), look.net(uncond)
    from diffusers.hooks import HookRegistry

    apply_layer_skip(MID, LayerSkipConfig(indices=[0], fqn="transformer_blocks"))
    p = look.net(cond)
    HookRegistry.check_if_exists_or_initialize(MID.transformer_blocks[0]).remove_hook("layer_skip_hook")
    return u + 5.0 * (c - u) + 2.8 * (c - p)


def freeu(guide):
    pipe.unet.enable_freeu(b1=1.5, b2=1.6, s1=0.9, s2=0.2)
    out = run(guide)
    pipe.unet.disable_freeu()
    return out


def skip_tuned(guide, bottom, top):
    count = sum(len(b.resnets) for b in pipe.unet.up_blocks)
    factors = [bottom + (top - bottom) * i / (count - 1) for i in range(count)]
    at, old = 0, []
    for block in pipe.unet.up_blocks:
        mine = factors[at : at + len(block.resnets)]
        at += len(block.resnets)
        old.append(block.forward)

        def forward(*args, block=block, mine=mine, inner=block.forward, **kwargs):
            skips = kwargs["res_hidden_states_tuple"]
            kwargs["res_hidden_states_tuple"] = tuple(s * f for s, f in zip(skips, reversed(mine)))
            return inner(*args, **kwargs)

        block.forward = forward
    out = run(guide)
    for block, forward in zip(pipe.unet.up_blocks, old):
        block.forward = forward
    return out


def pag(layers, **extra):
    p = StableDiffusionPAGPipeline(
        vae=pipe.vae, text_encoder=pipe.text_encoder, tokenizer=None, unet=pipe.unet, scheduler=euler(), safety_checker=None,
        feature_extractor=None, requires_safety_checker=False, pag_applied_layers=layers,
    )
    p.set_progress_bar_config(disable=True)
    f = pipe.vae_scale_factor
    out = p(
        prompt_embeds=cond, negative_prompt_embeds=uncond, latents=noise, num_inference_steps=STEPS, guidance_scale=5.0, pag_scale=3.0,
        height=noise.shape[2] * f, width=noise.shape[3] * f, output_type="latent", **extra,
    ).images
    pipe.unet.set_attn_processor(AttnProcessor2_0())
    return out


def interval(look, state):
    return cfg(7.5 if 2 <= look.step < 6 else 1.0)(look, state)


def bent(step):
    at = step / (STEPS - 1)
    return 9 + (5 - 9) * at / 0.5 if at <= 0.5 else 5 + (2 - 5) * (at - 0.5) / 0.5


def zero_init(look, state):
    return torch.zeros_like(noise) if look.step < 1 else cfg(7.5, bend=zero_star)(look, state)


def both(look, state):
    g = apg(look, state)
    c = look.net(cond)
    for block in MID.transformer_blocks:
        block.attn1.processor = Blurred(None, mid_shape())
    p = look.net(cond)
    for block in MID.transformer_blocks:
        block.attn1.processor = AttnProcessor2_0()
    g = g + 2.0 * (c - p)
    return 0.5 * g * c.std() / g.std() + 0.5 * g


CASES = {
    "cfg": (7.5, 0, {}, lambda: run(cfg(7.5))),
    "one_by_one": (7.5, 0, {"guidance_batch": "off"}, lambda: run(cfg(7.5))),
    "rescale": (7.5, 0.7, {}, lambda: run(cfg(7.5, 0.7))),
    "interval": (7.5, 0, {"cfg_start": 0.25, "cfg_stop": 0.75}, lambda: run(interval)),
    "curve": (7.5, 0, {"cfg_curve": "0:9, 0.5:5, 1:2"}, lambda: run(cfg(bent))),
    "cfg_pp": (1.2, 0, {"cfg_pp": "on"}, lambda: run(cfg_pp)),
    "residual": (1.5, 0, {"rcfg": "onetime", "rcfg_delta": 0.9}, lambda: run(residual)),
    "perp_neg": (7.5, 0, {"perp_neg": 1.5}, lambda: run(perp_neg)),
    "cfg_zero": (7.5, 0, {"cfg_zero": "on"}, lambda: run(cfg(7.5, bend=zero_star))),
    "zero_init": (7.5, 0, {"cfg_zero": "on", "zero_init_steps": 1}, lambda: run(zero_init)),
    "tcfg": (7.5, 0, {"tcfg": "on"}, lambda: run(cfg(7.5, bend=tangential))),
    "apg": (7.5, 0, {"apg": "on"}, lambda: run(apg)),
    "apg_plain": (7.5, 0, {"apg": "on", "apg_momentum": 0, "apg_norm": 2.5, "apg_eta": 0.3}, lambda: run(lambda k, s: apg(k, s, 7.5, 0.3, 2.5, 0.0))),
    "dynthresh": (12.0, 0, {"dynthresh": "on", "dynthresh_mimic": 4, "dynthresh_percentile": 0.95}, lambda: run(dynthresh())),
    "dynthresh_deviation": (
        12.0, 0, {"dynthresh": "on", "dynthresh_mimic": 4, "dynthresh_measure": "deviation", "dynthresh_phi": 0.8}, lambda: run(dynthresh(True, 0.8)),
    ),
    "pag": (5.0, 0, {"pag_scale": 3}, lambda: pag("mid")),
    "pag_up": (5.0, 0, {"pag_scale": 3, "pag_layers": "up.UP"}, lambda: pag("up_blocks.UP")),
    "pag_fade": (5.0, 0, {"pag_scale": 3, "pag_adaptive": 0.005}, lambda: pag("mid", pag_adaptive_scale=0.005)),
    "seg": (5.0, 0, {"seg_scale": 3}, lambda: run(seg(None))),
    "seg_blur": (5.0, 0, {"seg_scale": 3, "seg_blur": 1.5}, lambda: run(seg(1.5))),
    "sag": (5.0, 0, {"sag_scale": 0.75}, lambda: run(sag)),
    "slg": (5.0, 0, {"slg_scale": 2.8, "slg_start": 0, "slg_stop": 1}, lambda: run(slg)),
    "freeu": (5.0, 0, {"freeu": "on"}, lambda: freeu(cfg(5.0))),
    "skip_tuning": (5.0, 0, {"skip_bottom": 0.7, "skip_top": 1.05}, lambda: skip_tuned(cfg(5.0), 0.7, 1.05)),
    "several": (7.5, 0.5, {"apg": "on", "seg_scale": 2, "freeu": "on", "guidance_batch": "off"}, lambda: freeu(both)),
}


def main():
    up = next(i for i, b in enumerate(pipe.unet.up_blocks) if hasattr(b, "attentions"))
    tensors, about = {"negative": negative}, {}
    for name, (scale, rescale, knobs, make) in CASES.items():
        knobs = {k: v.replace("UP", str(up)) if isinstance(v, str) else v for k, v in knobs.items()}
        tensors[name] = (pag(f"up_blocks.{up}") if name == "pag_up" else make()).float().contiguous()
        assert torch.isfinite(tensors[name]).all(), name
        about[name] = {"cfg": scale, "cfg_rescale": rescale, "set": knobs}
        moved = oracle.rel(tensors[name], tensors["cfg"])
        print(f"{name:20} std {float(tensors[name].std()):8.3f}  from plain guidance {moved:.2f}")
    store.save(HERE / "guidance.golden.safetensors", tensors, {"admix_golden": json.dumps({"model": NAME, "steps": STEPS, "cases": about})})


if __name__ == "__main__":
    main()
