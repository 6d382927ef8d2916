"""The noise schedule, and a small sampler used to look at what is being trained (DDIM, trailing)."""
import torch

BETAS = torch.linspace(0.00085 ** 0.5, 0.012 ** 0.5, 1000, dtype=torch.float64) ** 2
ALPHAS = torch.cumprod(1 - BETAS, 0).float()


def weights(at):
    """Weight of the noise's squared error. In terms of the picture that is min(snr, 5) + 0.6: min-SNR, but with a floor,
    because what a name means is decided at high noise, where plain min-SNR hardly listens."""
    snr = at / (1 - at)
    return ((snr.clamp(max=5) + 0.6) / snr).clamp(max=40)


def noise_levels(n):
    """Spread over the batch, a quieter gradient than independent draws; somewhat more of the high ones."""
    u = (torch.randperm(n) + torch.rand(n)) / n
    return (u.pow(0.75) * 1000).long().clamp(max=999)


def trailing(steps):
    return [int(round(1000 - i * 1000 / steps)) - 1 for i in range(steps)]


@torch.no_grad()
def sample(unet, cond, uncond, noise, steps=20, guidance=5.0):
    """cond (N,77,D), uncond (1,77,D), noise (N,4,16,16) -> scaled latents"""
    z = noise
    ts = trailing(steps)
    u = uncond.expand(len(cond), -1, -1)
    both = torch.cat([u, cond])
    for t in ts:
        e = unet(torch.cat([z, z]), torch.full((2 * len(z),), t, device=z.device), both).sample.float()
        eu, ec = e.chunk(2)
        e = eu + guidance * (ec - eu)
        at = ALPHAS[t]
        prev = t - 1000 // steps
        ap = ALPHAS[prev] if prev >= 0 else ALPHAS[0]
        x0 = (z - (1 - at).sqrt() * e) / at.sqrt()
        z = ap.sqrt() * x0 + (1 - ap).sqrt() * e
    return z


def noise_for(seed, n=1):
    """What diffusers and the engine draw for a seed: torch's CPU generator."""
    return torch.randn((n, 4, 16, 16), generator=torch.Generator().manual_seed(int(seed)))
