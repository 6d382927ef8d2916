"""Is a picture better with the recipe that `admix suggest` proposes than without? Judged by the built-in model's evaluator.

    python tests/select/win_rate.py --admix target/release/admix --data DATA [--count 60] [--steps 12] [--sheet out/win.png]

DATA is what assets/train/data.py makes (the drawings of three emoji families, their names). The prompts are those of the labelled
sets that call for one adapter and name a drawing ("penguin, neon"), and those that call for a thing alone ("a moai"). For each there
is a target: the Noto drawing through the style that the adapter was trained on, the other family's drawing, or the held-out drawing
itself. Two pictures are drawn from one seed, with the recipe and without, and the one nearer to the target wins
(assets/train/evaluate.py: 32x32 colours and gradients, shifts allowed). Where nothing is proposed the two are the same picture: a
tie, counted as half a win.
"""
import argparse
import json
import re
import subprocess
import sys
import tempfile
from collections import defaultdict
from pathlib import Path

import numpy as np
from PIL import Image

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "assets/train"))
import common  # noqa: E402
import styles  # noqa: E402
from evaluate import thumbs  # noqa: E402

THINGS = {"unicorn": "unicorn", "robot": "robot", "moai": "moai", "jack-o-lantern": "jack-o-lantern"}
HANDS = {"twemoji-hand": "twemoji", "fluent-hand": "fluent-flat"}


def labelled():
    for file in ("tuned.txt", "held_out.txt"):
        for line in (ROOT / "tests/select" / file).read_text().splitlines():
            found = re.findall(r"\[([^|\]]*)\|([^\]]*)\]", line)
            if not line.startswith("#") and len(found) == 1:
                yield re.sub(r"\[([^|\]]*)\|[^\]]*\]", r"\1", line), re.sub(r"\[[^\]]*\]", " ", line), found[0][1]


def named(text, names):
    """the longest name of a drawing among the words"""
    words = f" {re.sub(r'[^a-z0-9 -]', ' ', text.lower())} "
    words = re.sub(r"\s+", " ", words)
    return max((n for n in names if f" {n.lower()} " in words), key=len, default=None)


def distance(picture, target):
    a, b = thumbs(picture[None]), thumbs(target[None])
    import torch
    return min(float((torch.roll(a, (dy, dx), (2, 3)) - b).pow(2).sum()) for dy in (-1, 0, 1) for dx in (-1, 0, 1))


def main():
    a = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    a.add_argument("--admix", type=Path, required=True)
    a.add_argument("--data", required=True)
    a.add_argument("--count", type=int, default=60)
    a.add_argument("--steps", type=int, default=12)
    a.add_argument("--sheet", type=Path)
    args = a.parse_args()
    index = common.load_index(args.data)
    row = {r["name"]: i for i, r in enumerate(index)}
    families = {name: common.load_drawings(args.data, name) for name in ("noto", *HANDS.values())}
    by_adapter = defaultdict(list)
    for prompt, rest, adapter in labelled():
        thing = named(rest, row)
        if adapter in THINGS:
            # A crown beside a moai has no target of its own.
            thing = THINGS[adapter] if thing is None else None
        if thing in row and HANDS.get(adapter, "noto") in index[row[thing]]["hands"]:
            by_adapter[adapter].append((prompt, adapter, thing))
    # Round and round over the adapters, so that each has its share.
    todo = []
    while len(todo) < args.count and any(by_adapter.values()):
        for adapter in sorted(by_adapter):
            if by_adapter[adapter] and len(todo) < args.count:
                todo.append(by_adapter[adapter].pop(0))
    tally, shown = defaultdict(lambda: [0.0, 0, 0.0]), []
    with tempfile.TemporaryDirectory() as folder:
        for seed, (prompt, adapter, thing) in enumerate(todo):
            files = [f"{folder}/{n}" for n in ("recipe.json", "with.png", "without.png")]
            run = lambda *words: subprocess.run([args.admix, *words, "--json"], check=True, capture_output=True, text=True).stdout  # noqa: E731
            said = json.loads(run("suggest", "--prompt", prompt, "--out", files[0]))
            common_words = ("--seed", str(seed), "--steps", str(args.steps))
            run("render", "--prompt", prompt, "--out", files[2], *common_words)
            run("render", "--prompt", prompt, "--recipe", files[0], "--out", files[1], *common_words)
            pictures = [np.asarray(Image.open(f).convert("RGB").resize((128, 128))).astype(np.float32) / 255 for f in files[1:]]
            drawing = families[HANDS.get(adapter, "noto")][row[thing]]
            styled = adapter in styles.STYLES
            target = styles.apply_style(adapter, np.asarray(drawing)) if styled else common.flatten(np.asarray(drawing))
            with_it, without = (distance(p, np.asarray(target, np.float32)) for p in pictures)
            same = np.array_equal(*pictures)
            win = 0.5 if same else float(with_it < without)
            proposed = [c["name"] for t in said["topics"] for c in t["adapters"]]
            tally[adapter][0] += win
            tally[adapter][1] += 1
            tally[adapter][2] += 1 - with_it / without
            shown += [np.asarray(target, np.float32), pictures[1], pictures[0]]
            print(f"{'tie ' if same else 'win ' if win else 'LOSS'} {without:7.1f} -> {with_it:7.1f}  {prompt}  [{', '.join(proposed)}]", flush=True)
    if args.sheet:
        common.save_sheet(shown, str(args.sheet), 12)
    print("\n| Adapter | Wins | Of | Nearer by |\n|---|---|---|---|")
    for adapter, (wins, count, nearer) in sorted(tally.items()):
        print(f"| {adapter} | {wins:g} | {count} | {100 * nearer / count:.0f}% |")
    wins, count = sum(t[0] for t in tally.values()), sum(t[1] for t in tally.values())
    print(f"| all | {wins:g} | {count} | win rate {100 * wins / max(count, 1):.0f}% |")


if __name__ == "__main__":
    main()
