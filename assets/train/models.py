"""The parts of the built-in model, and how its folder is written."""
import gzip
import json
import os
import shutil
from pathlib import Path

import torch

HIDDEN = 96
PIECES = ("unet", "vae", "text_encoder")


def build_unet():
    """Two heads a block (diffusers calls that number attention_head_dim): at these widths eight would be 4 to 12 wide, and
    a step would cost twice as much on a CPU."""
    from diffusers import UNet2DConditionModel
    return UNet2DConditionModel(sample_size=16, in_channels=4, out_channels=4, block_out_channels=(32, 64, 96, 96),
                                layers_per_block=2, cross_attention_dim=HIDDEN, attention_head_dim=2, norm_num_groups=16)


def build_text_encoder():
    from transformers import CLIPTextConfig, CLIPTextModel
    return CLIPTextModel(CLIPTextConfig(vocab_size=49408, hidden_size=HIDDEN, intermediate_size=4 * HIDDEN,
                                        num_hidden_layers=3, num_attention_heads=4, max_position_embeddings=77,
                                        hidden_act="quick_gelu", projection_dim=HIDDEN, bos_token_id=49406,
                                        eos_token_id=49407, pad_token_id=49407))


def build_preview():
    from diffusers import AutoencoderTiny
    return AutoencoderTiny(in_channels=3, out_channels=3, encoder_block_out_channels=(24, 24, 24, 24),
                           decoder_block_out_channels=(24, 24, 24, 24), num_encoder_blocks=(1, 1, 1, 1),
                           num_decoder_blocks=(3, 3, 2, 1), latent_channels=4, act_fn="relu", scaling_factor=1.0)


def scheduler_config():
    return dict(_class_name="DDIMScheduler", beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear",
                num_train_timesteps=1000, clip_sample=False, set_alpha_to_one=False, steps_offset=1,
                timestep_spacing="trailing", prediction_type="epsilon", thresholding=False, rescale_betas_zero_snr=False,
                skip_prk_steps=True, trained_betas=None)


def find_bpe(path=None):
    if path:
        return Path(path)
    import importlib.util
    spec = importlib.util.find_spec("open_clip")
    return Path(spec.origin).parent / "bpe_simple_vocab_16e6.txt.gz"


def bytes_to_unicode():
    bs = list(range(ord("!"), ord("~") + 1)) + list(range(0xA1, 0xAD)) + list(range(0xAE, 0x100))
    cs, n = bs[:], 0
    for b in range(256):
        if b not in bs:
            bs.append(b)
            cs.append(256 + n)
            n += 1
    return dict(zip(bs, map(chr, cs)))


def write_tokenizer(folder, bpe=None):
    """CLIP's own byte-pair vocabulary as the ecosystem's tokenizer folder."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    merges = gzip.open(find_bpe(bpe)).read().decode().split("\n")[1:49152 - 256 - 2 + 1]
    vocab = list(bytes_to_unicode().values())
    vocab += [v + "</w>" for v in vocab]
    vocab += ["".join(m.split()) for m in merges]
    vocab += ["<|startoftext|>", "<|endoftext|>"]
    assert len(vocab) == 49408
    (folder / "vocab.json").write_text(json.dumps({t: i for i, t in enumerate(vocab)}, ensure_ascii=False))
    (folder / "merges.txt").write_text("#version: 0.2\n" + "\n".join(merges) + "\n")
    special = {"bos_token": "<|startoftext|>", "eos_token": "<|endoftext|>", "unk_token": "<|endoftext|>", "pad_token": "<|endoftext|>"}
    (folder / "special_tokens_map.json").write_text(json.dumps(special, indent=2))
    (folder / "tokenizer_config.json").write_text(json.dumps(dict(
        special, tokenizer_class="CLIPTokenizer", model_max_length=77, do_lower_case=True, errors="replace",
        add_prefix_space=False), indent=2))


def load_tokenizer(folder):
    from transformers import CLIPTokenizer
    folder = Path(folder)
    if not (folder / "vocab.json").exists():
        write_tokenizer(folder)
    return CLIPTokenizer.from_pretrained(folder)


def tokens(tokenizer, prompts):
    return tokenizer(list(prompts), padding="max_length", max_length=77, truncation=True, return_tensors="pt").input_ids


def load_weights(model, folder):
    """A saved part's weights into a model built here; every tensor must be there."""
    from safetensors.torch import load_file
    found = {}
    for f in sorted(Path(folder).glob("*.safetensors")):
        found.update(load_file(f))
    want = model.state_dict()
    prefix = "" if any(k in want for k in found) else "text_model."
    model.load_state_dict({k.removeprefix(prefix): v.to(want[k.removeprefix(prefix)].dtype) for k, v in found.items()})


def half(model):
    return {k: v.to(torch.float16) if v.is_floating_point() else v for k, v in model.state_dict().items()}


def save_half(model, folder):
    """save_pretrained in fp16 without touching the live model."""
    import copy
    folder = Path(folder)
    if folder.exists():
        shutil.rmtree(folder)
    m = copy.deepcopy(model).to("cpu", torch.float16)
    m.save_pretrained(folder, safe_serialization=True)
    text = folder / "model.safetensors"
    if text.exists():  # the ecosystem's CLIP files carry the text_model. prefix
        from safetensors.torch import load_file, save_file
        t = {k if k.startswith("text_model.") else "text_model." + k: v for k, v in load_file(text).items()}
        save_file(t, text, {"format": "pt"})
    for f in folder.glob("config.json"):
        c = json.loads(f.read_text())
        c.pop("_name_or_path", None)
        if c.get("_class_name") == "AutoencoderTiny":
            c.pop("block_out_channels", None)
        f.write_text(json.dumps(c, indent=2) + "\n")


def write_folder(folder, unet, vae, text_encoder, preview=None, bpe=None):
    import diffusers
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    save_half(unet, folder / "unet")
    save_half(vae, folder / "vae")
    save_half(text_encoder, folder / "text_encoder")
    write_tokenizer(folder / "tokenizer", bpe)
    (folder / "scheduler").mkdir(exist_ok=True)
    (folder / "scheduler" / "scheduler_config.json").write_text(
        json.dumps(dict(scheduler_config(), _diffusers_version=diffusers.__version__), indent=2) + "\n")
    (folder / "model_index.json").write_text(json.dumps({
        "_class_name": "StableDiffusionPipeline", "_diffusers_version": diffusers.__version__,
        "feature_extractor": [None, None], "image_encoder": [None, None], "requires_safety_checker": False,
        "safety_checker": [None, None], "scheduler": ["diffusers", "DDIMScheduler"],
        "text_encoder": ["transformers", "CLIPTextModel"], "tokenizer": ["transformers", "CLIPTokenizer"],
        "unet": ["diffusers", "UNet2DConditionModel"], "vae": ["diffusers", "AutoencoderKL"]}, indent=2) + "\n")
    if preview is not None:
        save_half(preview, folder / "preview_decoder")
