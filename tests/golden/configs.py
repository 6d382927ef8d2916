"""The fixture pipelines: diffusers configs at random weights, one function each."""

from diffusers import (
    AutoencoderKL,
    DDIMScheduler,
    EulerAncestralDiscreteScheduler,
    EulerDiscreteScheduler,
    PNDMScheduler,
    UNet2DConditionModel,
)
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

BETAS = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear", "num_train_timesteps": 1000}


def unet(widths, layers, xattn, heads, groups, latent, linear=False, **more):
    """SD1/SD2 topology: cross-attention in all levels but the lowest. `heads` is what diffusers calls
    attention_head_dim and uses as the NUMBER of heads."""
    n = len(widths)
    return UNet2DConditionModel(
        sample_size=latent,
        out_channels=4,
        block_out_channels=widths,
        layers_per_block=layers,
        down_block_types=("CrossAttnDownBlock2D",) * (n - 1) + ("DownBlock2D",),
        up_block_types=("UpBlock2D",) + ("CrossAttnUpBlock2D",) * (n - 1),
        cross_attention_dim=xattn,
        attention_head_dim=heads,
        norm_num_groups=groups,
        use_linear_projection=linear,
        **{"in_channels": 4, **more},
    )


def xl_unet(widths, layers, depths, xattn, heads, groups, latent, pooled, size_dim):
    """SDXL's topology: no attention at full resolution, `depths` transformer blocks a level, pooled text of width
    `pooled` and six sizes of `size_dim` features each in the time embedding."""
    n = len(widths)
    return UNet2DConditionModel(
        sample_size=latent,
        block_out_channels=widths,
        layers_per_block=layers,
        down_block_types=("DownBlock2D",) + ("CrossAttnDownBlock2D",) * (n - 1),
        up_block_types=("CrossAttnUpBlock2D",) * (n - 1) + ("UpBlock2D",),
        transformer_layers_per_block=depths,
        cross_attention_dim=xattn,
        attention_head_dim=heads,
        norm_num_groups=groups,
        use_linear_projection=True,
        addition_embed_type="text_time",
        addition_time_embed_dim=size_dim,
        projection_class_embeddings_input_dim=pooled + 6 * size_dim,
    )


def refiner_unet(widths, layers, depth, xattn, heads, groups, latent, pooled, size_dim):
    """SDXL's refiner: no attention at the highest and lowest resolution but in the middle; four sizes and a score."""
    n = len(widths)
    return UNet2DConditionModel(
        sample_size=latent,
        block_out_channels=widths,
        layers_per_block=layers,
        down_block_types=("DownBlock2D",) + ("CrossAttnDownBlock2D",) * (n - 2) + ("DownBlock2D",),
        up_block_types=("UpBlock2D",) + ("CrossAttnUpBlock2D",) * (n - 2) + ("UpBlock2D",),
        transformer_layers_per_block=depth,
        cross_attention_dim=xattn,
        attention_head_dim=heads,
        norm_num_groups=groups,
        use_linear_projection=True,
        addition_embed_type="text_time",
        addition_time_embed_dim=size_dim,
        projection_class_embeddings_input_dim=pooled + 5 * size_dim,
    )


def vae(widths, layers, groups, size, scaling=0.18215):
    n = len(widths)
    return AutoencoderKL(
        sample_size=size,
        in_channels=3,
        out_channels=3,
        latent_channels=4,
        block_out_channels=widths,
        layers_per_block=layers,
        norm_num_groups=groups,
        down_block_types=("DownEncoderBlock2D",) * n,
        up_block_types=("UpDecoderBlock2D",) * n,
        scaling_factor=scaling,
    )


def text(hidden, mlp, layers, heads, act="quick_gelu", vocab=1000, pad=None, projection=None):
    """`projection` makes it SDXL's second encoder, whose pooled text has that width."""
    return (CLIPTextModelWithProjection if projection else CLIPTextModel)(
        CLIPTextConfig(
            vocab_size=vocab,
            hidden_size=hidden,
            intermediate_size=mlp,
            num_hidden_layers=layers,
            num_attention_heads=heads,
            max_position_embeddings=77,
            projection_dim=projection or hidden,
            hidden_act=act,
            bos_token_id=vocab - 2,
            eos_token_id=vocab - 1,
            pad_token_id=vocab - 1 if pad is None else pad,
        )
    ).eval()


def pndm():
    """The scheduler of Stable Diffusion 1.x."""
    return PNDMScheduler(**BETAS, skip_prk_steps=True, set_alpha_to_one=False, steps_offset=1)


# `latent` is (h, w); `plain_scheduler` writes scheduler_config.json with only the keys that SD1's own file has, as
# hubs hold it; otherwise every default is spelled out, as a newly saved pipeline has it.
MODELS = {
    "sd1_tiny": dict(
        unet=lambda: unet((16, 32), 2, 32, 4, 8, 16),
        vae=lambda: vae((16, 32), 1, 8, 32),
        text=lambda: text(32, 37, 3, 4),
        scheduler=pndm,
        plain_scheduler=True,
        latent=(16, 16),
        text_prefix="text_model.",
        tokenizer="files",
        committed=True,
    ),
    "sd2_tiny": dict(
        unet=lambda: unet((12, 20), 1, 40, [2, 4], 4, 16, linear=True),
        vae=lambda: vae((8, 16, 16), 1, 4, 64, scaling=0.25),
        text=lambda: text(40, 72, 3, 4, act="gelu", pad=0),
        scheduler=lambda: DDIMScheduler(
            **BETAS,
            clip_sample=False,
            set_alpha_to_one=False,
            steps_offset=1,
            prediction_type="v_prediction",
            timestep_spacing="leading",
        ),
        latent=(14, 10),
        text_prefix="",
        tokenizer="json",
        committed=True,
    ),
    "sd1_4level": dict(
        unet=lambda: unet((32, 64, 96, 96), 2, 32, 8, 32, 16),
        vae=lambda: vae((32, 64, 96, 96), 2, 32, 128),
        text=lambda: text(32, 64, 2, 4),
        scheduler=pndm,
        plain_scheduler=True,
        latent=(8, 16),
        text_prefix="text_model.",
        tokenizer=None,
        committed=False,
    ),
    "odd_widths": dict(
        unet=lambda: unet((48, 80, 112), 1, 40, 8, 16, 12),
        vae=lambda: vae((16, 16, 32, 48), 1, 16, 96),
        text=lambda: text(40, 48, 2, 5),
        scheduler=lambda: DDIMScheduler(
            **BETAS, clip_sample=False, set_alpha_to_one=False, steps_offset=1, timestep_spacing="trailing"
        ),
        latent=(9, 13),
        text_prefix="text_model.",
        tokenizer=None,
        committed=False,
    ),
}


def xl_scheduler():
    """The scheduler of SDXL base."""
    return EulerDiscreteScheduler(**BETAS, timestep_spacing="leading", steps_offset=1)


# What SD-Turbo's and SDXL-Turbo's scheduler files say: one to four steps from the noisiest timestep on.
TURBO = {**BETAS, "timestep_spacing": "trailing", "steps_offset": 1}

# Pipelines beyond Stable Diffusion 1 and 2 (make_families.py). Their weights are synthetic and not committed. `few`: runs of few steps without
# guidance, (sampler, steps).
FAMILIES = {
    # Widths and heads such that an sgm file of it can be understood without its configuration.
    "sdxl_tiny": dict(
        unet=lambda: xl_unet((32, 64, 128), 2, (1, 1, 2), 80, [8, 1, 2], 32, 16, 40, 16),
        vae=lambda: vae((32, 32, 64, 64), 2, 32, 128, scaling=0.13025),
        text=lambda: text(32, 50, 3, 8),
        text_2=lambda: text(48, 70, 3, 12, act="gelu", pad=0, projection=40),
        scheduler=xl_scheduler,
        latent=(10, 14),
    ),
    # Odd everything: four levels, uneven depths, sizes that are multiples of nothing.
    "sdxl_odd": dict(
        unet=lambda: xl_unet((20, 28, 36, 36), 1, (1, 2, 1, 3), 60, [2, 2, 3, 4], 4, 16, 22, 6),
        vae=lambda: vae((8, 12, 12), 1, 4, 64, scaling=0.2),
        text=lambda: text(24, 30, 2, 3),
        text_2=lambda: text(36, 41, 4, 4, act="gelu", pad=0, projection=22),
        scheduler=lambda: DDIMScheduler(
            **BETAS, clip_sample=False, set_alpha_to_one=False, steps_offset=1, prediction_type="v_prediction"
        ),
        latent=(10, 6),
    ),
    # The second text encoder alone.
    "refiner_tiny": dict(
        unet=lambda: refiner_unet((16, 24, 32), 2, 2, 36, [2, 2, 4], 4, 16, 22, 6),
        vae=lambda: vae((8, 12), 1, 4, 32, scaling=0.13025),
        text_2=lambda: text(36, 41, 3, 4, act="gelu", pad=0, projection=22),
        scheduler=xl_scheduler,
        latent=(10, 6),
    ),
    # Guidance as an input (LCM): no unconditional half.
    "lcm_tiny": dict(
        unet=lambda: unet((16, 24), 1, 24, 4, 8, 16, time_cond_proj_dim=18),
        vae=lambda: vae((8, 16), 1, 4, 32),
        text=lambda: text(24, 30, 2, 3),
        scheduler=pndm,
        latent=(12, 8),
    ),
    # Nine channels: latents, mask, masked latents.
    "inpaint_tiny": dict(
        unet=lambda: unet((16, 24), 1, 24, 4, 8, 16, in_channels=9),
        vae=lambda: vae((8, 16), 1, 4, 32),
        text=lambda: text(24, 30, 2, 3),
        scheduler=pndm,
        latent=(12, 8),
    ),
    # Stable Diffusion 2's networks, distilled to few steps.
    "sd_turbo_tiny": dict(
        unet=lambda: unet((12, 20), 1, 40, [2, 4], 4, 16, linear=True),
        vae=lambda: vae((8, 16), 1, 4, 32),
        text=lambda: text(40, 72, 2, 4, act="gelu", pad=0),
        scheduler=lambda: EulerDiscreteScheduler(**TURBO),
        latent=(12, 8),
        few=(("euler_normal", 1), ("euler_normal", 4)),
    ),
    # SDXL's. Its ancestral sampler draws nothing in its last step, so that one step has no noise but the first.
    "sdxl_turbo_tiny": dict(
        unet=lambda: xl_unet((16, 24, 32), 1, (1, 1, 2), 60, [2, 2, 4], 4, 16, 22, 6),
        vae=lambda: vae((8, 12, 12), 1, 4, 64, scaling=0.13025),
        text=lambda: text(24, 30, 2, 3),
        text_2=lambda: text(36, 41, 3, 4, act="gelu", pad=0, projection=22),
        scheduler=lambda: EulerAncestralDiscreteScheduler(**TURBO),
        latent=(10, 6),
        few=(("euler_ancestral_normal", 1), ("euler_normal", 1), ("euler_normal", 4)),
    ),
    # Eight channels: latents and those of the picture to change (InstructPix2Pix).
    "pix2pix_tiny": dict(
        unet=lambda: unet((16, 24), 1, 24, 4, 8, 16, in_channels=8),
        vae=lambda: vae((8, 16), 1, 4, 32),
        text=lambda: text(24, 30, 2, 3),
        scheduler=pndm,
        latent=(12, 8),
    ),
}
