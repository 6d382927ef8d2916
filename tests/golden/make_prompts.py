"""States of weighted and long prompts, by re-derivations of A1111's and ComfyUI's formulas around sd1_tiny's and sd2_tiny's text encoders.

Writes prompts.golden.safetensors: `MODEL.CASE` [tokens, width], and in the metadata the cases (text, rules, windows of ids and weights).

What the two programs do is stated here as formulas, not taken from them:
- A1111, emphasis "Original": z w, times mean(z) / mean(z w), over one window; "No norm": z w. Windows hold 75 tokens between start and end; a full window
  whose last comma is at most 20 tokens back gives what follows the comma to the next one.
- ComfyUI: e + (z - e) w, e the state of the empty prompt at the same place, for tokens whose weight is not 1. Words are tokenized one by one and stay whole.
- LongAlign (github.com/luping-liu/LongAlign, tools.py): of each sentence the states of start and words are kept, the rest is filled with the mean of the
  last 60 states of the empty prompt. (It fills to 240 rows; here to the next multiple of 77.)
The parts of each case are written out by hand, so that this script does not parse what the Rust code parses.
"""

import json
import pathlib

import torch
from safetensors.torch import save_file
from transformers import CLIPTextModel, CLIPTokenizer

HERE = pathlib.Path(__file__).parent
BREAK = None
LONG = "a small red apple on a white background, two green apples and a yellow pear, a cat and a dog asleep under the old table, a bright rocket above the quiet moon"
# name, prompt as typed, its parts (text, weight), rules
CASES = [
    ("plain", "a red apple, a cat", [("a red apple, a cat", 1.0)], "a1111"),
    ("weighted", "a (red:1.4) apple, [a cat] ((dog))", [("a ", 1.0), ("red", 1.4), (" apple, ", 1.0), ("a cat", 1 / 1.1), (" ", 1.0), ("dog", 1.1 * 1.1)], "a1111"),
    ("weighted", "a (red:1.4) apple, [a cat] ((dog))", [("a ", 1.0), ("red", 1.4), (" apple, ", 1.0), ("a cat", 1 / 1.1), (" ", 1.0), ("dog", 1.1 * 1.1)], "no_norm"),
    ("weighted", "a (red:1.4) apple, [a cat] ((dog))", [("a ", 1.0), ("red", 1.4), (" apple, [a cat] ", 1.0), ("dog", 1.1 * 1.1)], "comfy"),
    ("negative_weight", "a (cat:-0.5) (dog:0)", [("a ", 1.0), ("cat", -0.5), (" ", 1.0), ("dog", 0.0)], "a1111"),
    ("negative_weight", "a (cat:-0.5) (dog:0)", [("a ", 1.0), ("cat", -0.5), (" ", 1.0), ("dog", 0.0)], "comfy"),
    ("nested", "a ((red:1.3) apple:0.8)", [("a ", 1.0), ("red", 1.3 * 0.8), (" apple", 0.8)], "a1111"),
    ("nested", "a ((red:1.3) apple:0.8)", [("a ", 1.0), ("red", 1.3), (" apple", 0.8)], "comfy"),
    ("break", "a cat BREAK (a dog:1.2)", [("a cat", 1.0), BREAK, ("a dog", 1.2)], "a1111"),
    ("long", LONG + ", (" + LONG + ":1.1)", [(LONG + ", ", 1.0), (LONG, 1.1)], "a1111"),
    ("long", LONG + ", (" + LONG + ":1.1)", [(LONG + ", ", 1.0), (LONG, 1.1)], "comfy"),
    ("sentences", "a red apple. two cats on the table! a dog", [("a red apple.", 1.0), ("two cats on the table!", 1.0), ("a dog", 1.0)], "sentences"),
]


class Model:
    def __init__(self, name):
        folder = HERE / "models" / name
        self.tokenizer = CLIPTokenizer.from_pretrained(folder / "tokenizer")
        self.encoder = CLIPTextModel.from_pretrained(folder / "text_encoder", torch_dtype=torch.float32).eval()
        t = self.tokenizer
        self.start, self.end, self.pad = t.bos_token_id, t.eos_token_id, t.pad_token_id

    def ids(self, text):
        return self.tokenizer(text, add_special_tokens=False)["input_ids"]

    def window(self, tokens):
        """(id, weight) pairs to 77 of each."""
        ids = [self.start] + [t for t, _ in tokens] + [self.end]
        weights = [1.0] + [w for _, w in tokens] + [1.0]
        return ids + [self.pad] * (77 - len(ids)), weights + [1.0] * (77 - len(weights))

    @torch.no_grad()
    def states(self, ids):
        return self.encoder(torch.tensor([ids])).last_hidden_state[0]


def a1111_windows(model, parts):
    comma = model.tokenizer.get_vocab().get(",</w>")
    windows, current, last_comma = [], [], None
    for part in parts:
        if part is BREAK:
            windows.append(current)
            current, last_comma = [], None
            continue
        text, weight = part
        for token in model.ids(text):
            if token == comma:
                last_comma = len(current)
            elif len(current) == 75 and last_comma is not None and 75 - last_comma <= 20:
                windows.append(current[: last_comma + 1])
                current, last_comma = current[last_comma + 1 :], None
            if len(current) == 75:
                windows.append(current)
                current, last_comma = [], None
            current.append((token, weight))
    return windows + ([current] if current or not windows else [])


def comfy_windows(model, parts):
    vocab = model.tokenizer.get_vocab()
    windows, current = [], []
    for text, weight in parts:
        for word in (w for w in text.replace("\n", " ").split(" ") if w):
            group = [vocab[word + "</w>"]] if word + "</w>" in vocab else model.ids(word)
            torn = len(group) >= 8
            while group:
                free = 75 - len(current)
                if len(group) <= free:
                    current += [(t, weight) for t in group]
                    break
                if torn:
                    current += [(t, weight) for t in group[:free]]
                    group = group[free:]
                windows.append(current)
                current = []
    return windows + [current]


def encode(model, parts, rules):
    if rules == "sentences":
        windows = [[(t, w) for t in model.ids(text)] for text, w in parts]
    else:
        windows = (comfy_windows if rules == "comfy" else a1111_windows)(model, parts)
    empty = model.states(model.window([])[0])
    rows, listed = [], []
    for window in windows:
        ids, weights = model.window(window)
        listed.append({"ids": ids, "weights": weights})
        z = model.states(ids)
        w = torch.tensor(weights)[:, None]
        if rules == "comfy":
            z = torch.where(w != 1.0, (z - empty) * w + empty, z)
        elif rules == "no_norm":
            z = z * w
        elif rules == "a1111":
            mean = z.double().mean()
            z = z * w
            z = z * (mean / z.double().mean()).float()
        else:
            z = z[: len(window) + 1]
        rows.append(z)
    out = torch.cat(rows)
    if rules == "sentences":
        missing = -len(out) % 77
        out = torch.cat([out, empty[-60:].mean(0, keepdim=True).repeat(missing, 1)])
    return out, listed


def main():
    tensors, cases = {}, []
    for name in ("sd1_tiny", "sd2_tiny"):
        model = Model(name)
        for case, text, parts, rules in CASES:
            states, windows = encode(model, parts, rules)
            key = f"{name}.{case}.{rules}"
            # A dozen rows are enough to pin a case: means and windows act on every row.
            tensors[key] = states[:: len(states) // 12].contiguous()
            cases.append({"key": key, "model": name, "text": text, "rules": rules, "rows": len(states), "windows": windows})
    about = {"cases": cases}
    save_file(tensors, HERE / "prompts.golden.safetensors", {"admix_golden": json.dumps(about)})
    print(len(cases), "cases,", (HERE / "prompts.golden.safetensors").stat().st_size, "bytes")


if __name__ == "__main__":
    main()
