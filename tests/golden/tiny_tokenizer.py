"""A CLIP-style byte-pair vocabulary of 1000 tokens, trained here on the sentences below: 256 byte symbols, the same
with `</w>`, 486 merges, and the two special tokens at 998 and 999."""

import collections
import json
import pathlib

from transformers import CLIPTokenizer

TEXT = """
a drawing of a small red apple on a white background, two green apples and a yellow pear, a cat and a dog asleep
under the old table, a bright rocket above the quiet moon, seven stars over the dark sea, a painting of a wooden
house with a blue door, a photograph of an empty street in the rain at night, the portrait of a woman with a
flower in her hair, snow on the mountains, a river through the forest in autumn, an orange fish in a glass bowl,
a purple bird singing on a branch, a cup of coffee beside an open book, a paper lantern, watercolour and ink,
pixel art of a castle, neon lights of the city, a stone bridge, a garden full of butterflies, a smiling face with
glasses, a heavy locomotive, three balloons in a cloudy sky, a sailing boat near the harbour, golden wheat fields,
a loaf of bread, a guitar against the wall, soft morning light, high contrast, sharp focus, minimal lines, a crown
of thorns, the king's horse, children playing football, a broken clock, thunder and lightning, fire and smoke,
a ginger kitten wearing a knitted scarf, strawberries and cream, chess pieces, an octopus holding umbrellas,
volcano, pyramid, telescope, windmill, skeleton, dragon, unicorn, penguin, elephant, kangaroo, hedgehog, mushroom,
masterpiece, beautiful, illustration, background, landscape, cinematic, perspective, symmetrical, geometric, abstract,
impressionist, vintage, photorealistic, dramatic, atmospheric, panoramic, silhouette, reflection, transparent,
chocolate, pineapple, blueberries, sandwich, hamburger, spaghetti, aubergine, cauliflower, helicopter, submarine,
motorcycle, ambulance, skateboard, trumpet, saxophone, microphone, keyboard, typewriter, envelope, calendar, compass,
lighthouse, cathedral, skyscraper, playground, waterfall, hurricane, rainbow, crocodile, rhinoceros, chimpanzee,
flamingo, jellyfish, scorpion, caterpillar, sunflower, hibiscus, evergreen, cactus, snowflake, firework, jackolantern
"""
PROMPTS = [
    "",
    "a red apple",
    "A Cat,  two DOGS & the king's horse??",
    "watercolour of a café 12345 naïve 猫 🚀",
    "sharp focus, " * 40,
]


def symbols() -> dict[int, str]:
    """GPT-2's printable stand-in for every byte."""
    keep = [*range(33, 127), *range(161, 173), *range(174, 256)]
    out, extra = {b: chr(b) for b in keep}, 0
    for b in range(256):
        if b not in out:
            out[b] = chr(256 + extra)
            extra += 1
    return dict(sorted(out.items(), key=lambda p: (p[0] not in keep, p[0])))


def train(merges: int) -> list[tuple[str, str]]:
    """Most frequent pair first; among equals the first in alphabetical order."""
    words = collections.Counter(w.strip(",'") for w in TEXT.lower().split())
    words = {(*w[:-1], w[-1] + "</w>"): n for w, n in words.items()}
    out = []
    while len(out) < merges:
        pairs = collections.Counter()
        for w, n in words.items():
            for pair in zip(w, w[1:]):
                pairs[pair] += n
        best = min(pairs, key=lambda p: (-pairs[p], p))
        out.append(best)
        merged = {}
        for w, n in words.items():
            new, i = [], 0
            while i < len(w):
                if w[i : i + 2] == best:
                    new.append(w[i] + w[i + 1])
                    i += 2
                else:
                    new.append(w[i])
                    i += 1
            merged[tuple(new)] = merged.get(tuple(new), 0) + n
        words = merged
    return out


def write(folder: pathlib.Path, pad: str) -> None:
    """vocab.json and merges.txt as hubs hold them, with tokenizer_config.json and special_tokens_map.json."""
    folder.mkdir(parents=True, exist_ok=True)
    byte = list(symbols().values())
    merges = train(1000 - 2 - 512)
    vocab = [*byte, *(b + "</w>" for b in byte), *("".join(m) for m in merges), "<|startoftext|>", "<|endoftext|>"]
    assert len(vocab) == len(set(vocab)) == 1000
    dump = lambda name, data: (folder / name).write_text(json.dumps(data, ensure_ascii=False, indent=0) + "\n")
    dump("vocab.json", {t: i for i, t in enumerate(vocab)})
    (folder / "merges.txt").write_text("#version: 0.2\n" + "\n".join(" ".join(m) for m in merges) + "\n")
    special = {"bos_token": "<|startoftext|>", "eos_token": "<|endoftext|>", "unk_token": "<|endoftext|>", "pad_token": pad}
    dump("special_tokens_map.json", special)
    config = {"tokenizer_class": "CLIPTokenizer", "model_max_length": 77, "do_lower_case": True, "add_prefix_space": False}
    dump("tokenizer_config.json", config | special)


def load(folder) -> CLIPTokenizer:
    return CLIPTokenizer.from_pretrained(folder)


def ids(tokenizer) -> list[list[int]]:
    """PROMPTS as 77 ids each, the way the pipeline asks for them."""
    return tokenizer(PROMPTS, padding="max_length", max_length=77, truncation=True).input_ids
