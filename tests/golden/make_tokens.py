"""Token ids that transformers' CLIPTokenizer gives for awkward texts, by CLIP's own vocabulary and by a small one.

Writes tokens.json: {"texts": [...], "clip": [[ids without start and end]...], "clip_pad_bang": [...], "small": [...], "windows": {...}}.
"""

import gzip
import importlib.util
import json
import pathlib
import tempfile

from transformers import CLIPTokenizer

HERE = pathlib.Path(__file__).parent
TEXTS = [
    "",
    " ",
    "\t\n ",
    "a photo of a cat",
    "A Photo OF A CAT",
    "  leading and   inner \t white\nspace  ",
    "non\u00a0breaking, thin\u2009space, ideographic\u3000space, zero\u200bwidth",
    "it's, don't, we're, I've, I'm, they'll, he'd",
    "IT'S DON'T WE'RE",
    "'s't're've'm'll'd",
    "rock 'n' roll, the dogs' bowl, O'Neill's",
    "it’s a typographic apostrophe",
    "''s !!'s ...'t",
    "12345 3.14 1,000,000 2nd ½ ² Ⅷ ٣",
    "café naïve Ünïcödé Ærøskøbing Ł ß ẞ",
    "cafe\u0301 nai\u0308ve A\u030angstro\u0308m",
    "İstanbul ıI ΣΑΣ ς ǅ ŉ",
    "Москва́ Київ Ελλάδα עִבְרִית العَرَبِيَّة",
    "हिन्दी தமிழ் ไทย ភាសាខ្មែរ",
    "日本語のテキスト、漢字カタカナ 中文 한국어 ㈱",
    "\u1100\u1161\u11a8 decomposed hangul",
    "🚀 🍎🍏 👩‍🚀 👨‍👩‍👧‍👦 🏳️‍🌈 ❤️ 👍🏽 🇩🇪 ☺",
    "cat🐱dog🐶",
    "(word:1.2), [other], {a|b}, <lora:ink:0.8>, ((nested))",
    "masterpiece, best quality, 8k, ultra-detailed, trending on artstation",
    "a-b_c/d\\e|f~g`h^i&j*k%l$m#n@o!p?q=r+s;t:u",
    "semi;colon: \"quoted\" 'single' «guillemets» „low“",
    "em—dash en–dash hyphen-minus minus−sign",
    "…ellipsis... ....",
    "!!!!!!! ??? !?!? ,,,,",
    "!",
    "a ! b!! c!d",
    "<|endoftext|>",
    "before <|endoftext|> after",
    "a<|startoftext|>b<|endoftext|>c",
    "<|ENDOFTEXT|> in capitals",
    "!<|EndOfText|>'s x",
    "<|endoftext",
    "|> <| |><|",
    "supercalifragilisticexpialidocious pneumonoultramicroscopicsilicovolcanoconiosis",
    "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
    "xqzjkv wqx zzzz",
    "CamelCaseWord snake_case kebab-case UPPERlower",
    "http://example.com/path?query=1&b=2#frag user@example.org",
    "1girl, solo, looking at viewer, :3, ^_^, >:(, :D",
    "℃ ℉ ™ © ® § ¶ † ‡ ‰ № ℵ Ω Å K",
    "x² + y² = z², ∑∞ ∫ √2 ≤ ≥ ≠ ≈",
    "𝔸𝕓𝕔 𝓈𝒸𝓇𝒾𝓅𝓉 𐍈 𠜎 ａｂｃ ｶﾞ",
    "ﬁ ﬂ ligatures ŀ ǆ",
    "a\u0000b \u0007bell \u007f del",
    "\ufeffbyte order mark \u00ad soft hyphen \u2028 line \u0085 next",
    "\u200e\u202emixed\u202c direction",
    "z̴̢͝a̷l̸g̵o̶ t̷e̶x̵t̷",
    "ᾳ ᾼ ΐ ﬃ Ω",
    "１２３ ４ 一二三",
    "one,two;three.four",
    "the quick brown fox jumps over the lazy dog " * 8,
    "sharp focus, " * 40,
    "🎨" * 40,
    "a photograph of an astronaut riding a horse, highly detailed, 4k, by greg rutkowski",
]


def clip_vocabulary():
    """vocab.json and merges as CLIP's own tokenizer builds them from its file."""
    # Found without importing the package, which wants torchvision.
    file = pathlib.Path(importlib.util.find_spec("open_clip").origin).parent / "bpe_simple_vocab_16e6.txt.gz"
    lines = gzip.open(file).read().decode("utf-8").split("\n")[1 : 49152 - 256 - 2 + 1]
    keep = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [b for b in range(256) if b not in keep]
    symbols = [chr(b) for b in keep] + [chr(256 + i) for i in range(len(others))]
    tokens = symbols + [s + "</w>" for s in symbols] + ["".join(line.split()) for line in lines]
    tokens += ["<|startoftext|>", "<|endoftext|>"]
    return {t: i for i, t in enumerate(tokens)}, lines


def ids(tokenizer):
    out = []
    for text in TEXTS:
        found = tokenizer(text)["input_ids"]
        assert found[0] == tokenizer.bos_token_id and found[-1] == tokenizer.eos_token_id
        out.append(found[1:-1])
    return out


def main():
    vocab, merges = clip_vocabulary()
    assert len(vocab) == 49408
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        (folder / "vocab.json").write_text(json.dumps(vocab))
        (folder / "merges.txt").write_text("#version: 0.2\n" + "\n".join(merges) + "\n")
        clip = CLIPTokenizer.from_pretrained(folder)
        bang = CLIPTokenizer.from_pretrained(folder, pad_token="!")
        # The real Stable Diffusion 2: the two files disagree about padding.
        (folder / "tokenizer_config.json").write_text(
            json.dumps({"tokenizer_class": "CLIPTokenizer", "model_max_length": 77, "pad_token": "<|endoftext|>"})
        )
        (folder / "special_tokens_map.json").write_text(json.dumps({"pad_token": "!"}))
        print("padding where the files disagree:", CLIPTokenizer.from_pretrained(folder).pad_token)
    small = CLIPTokenizer.from_pretrained(HERE / "models/sd1_tiny/tokenizer")

    def window(tokenizer, text):
        return tokenizer(text, padding="max_length", max_length=77, truncation=True)["input_ids"]

    windows = [
        {"vocabulary": name, "text": text, "ids": window(tokenizer, text)}
        for name, tokenizer in (("clip", clip), ("clip_pad_bang", bang))
        for text in ("", "a photo of a cat", "sharp focus, " * 40)
    ]
    result = {"texts": TEXTS, "clip": ids(clip), "clip_pad_bang": ids(bang), "small": ids(small), "windows": windows}
    (HERE / "tokens.json").write_text(json.dumps(result, ensure_ascii=False, separators=(",", ":")) + "\n")


if __name__ == "__main__":
    main()
