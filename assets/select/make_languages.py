"""Writes languages.txt, the German and Japanese words that `admix suggest` reads as English ones.

    apt-get download unicode-cldr-core; dpkg -x ... DATA                     (Debian 12: CLDR 41)
    python make_languages.py --data DATA --words words.safetensors

Unicode's annotations say of every emoji what people call it, language by language. A word of one language means the English word that stands on
the same emoji (Dice's coefficient over their sets of emoji, Melamed 2000's competitive linking: each is the other's best). What annotations do not know,
ways of making pictures above all, stands in languages_own.txt, which is our own. A word that English has, too, is left out: nobody can tell which is meant.
"""
import argparse
import re
import unicodedata
from collections import defaultdict
from pathlib import Path
from xml.etree import ElementTree

from safetensors import safe_open

# How much two words' emoji have to be the same, and how many words an English phrase has at most.
LEAST = 0.5
LONGEST = 2
# What languages.rs takes off German words.
ENDINGS = ("", "en", "er", "es", "e", "n", "s")
ENGLISH_STOP = {"face", "with", "sign", "symbol", "button", "flag"}


def plain(text):
    """Lower case without accents, as gpu/select/src/text.rs has it (sharp s stays)."""
    kept = [c for c in text.lower() if not ("\u0300" <= c <= "\u036f")]
    out = []
    for c in kept:
        base = unicodedata.normalize("NFD", c)
        out.append(base[0] if len(base) > 1 and base[0].isascii() else c)
    return "".join(out)


def annotations(data, language):
    """phrase -> emoji that it stands on."""
    out = defaultdict(set)
    for node in ElementTree.parse(data / f"usr/share/unicode/cldr/common/annotations/{language}.xml").iter("annotation"):
        for phrase in (node.text or "").split("|"):
            phrase = plain(phrase.strip())
            # The name counts beside the keywords: it is what the emoji is.
            out[phrase].add(node.get("cp"))
    return out


def links(foreign, english):
    on = defaultdict(set)
    for word, emoji in english.items():
        for e in emoji:
            on[e].add(word)
    dice = {}
    for word, emoji in foreign.items():
        near = set().union(*(on[e] for e in emoji)) if emoji else set()
        for other in near:
            shared = len(emoji & english[other])
            dice[word, other] = 2 * shared / (len(emoji) + len(english[other]))
    best_foreign, best_english = {}, {}
    for (f, e), d in sorted(dice.items(), key=lambda item: (-item[1], len(item[0][1].split()), item[0])):
        best_foreign.setdefault(f, (e, d))
        best_english.setdefault(e, d)
    return {f: e for f, (e, d) in best_foreign.items() if d >= LEAST and d >= best_english[e] - 1e-9}


def main():
    a = argparse.ArgumentParser()
    a.add_argument("--data", type=Path, required=True)
    a.add_argument("--words", type=Path, default=Path(__file__).with_name("words.safetensors"))
    a.add_argument("--own", type=Path, default=Path(__file__).with_name("languages_own.txt"))
    a.add_argument("--out", type=Path, default=Path(__file__).with_name("languages.txt"))
    args = a.parse_args()
    with safe_open(args.words, "numpy") as f:
        known = set(bytes(f.get_tensor("words")).decode().split("\n"))
    english = {w: e for w, e in annotations(args.data, "en").items()
               if re.fullmatch(r"[a-z]+( [a-z]+)*", w) and len(w.split()) <= LONGEST and w not in ENGLISH_STOP}
    lines = {}
    for language, letters in (("de", r"[a-z\u00df]{3,}"), ("ja", r"[\u3040-\u30ff\u4e00-\u9fff\u3005\u30fc]+")):
        foreign = {w: e for w, e in annotations(args.data, language).items() if re.fullmatch(letters, w)}
        for word, meaning in links(foreign, english).items():
            # Short runs of syllables stand inside other words, and endings must not make English ones of German ones.
            short = len(word) < 3 and all("\u3040" <= c <= "\u30ff" for c in word)
            doubtful = any(word + ending in known for ending in ENDINGS)
            if word != meaning and not short and not doubtful:
                lines[word] = meaning
    for line in open(args.own, encoding="utf-8"):
        if line.strip() and not line.startswith("#"):
            meaning, words = line.split(":", 1)
            for word in words.split(","):
                lines[plain(word.strip())] = meaning.strip()
    text = "".join(f"{word}\t{lines[word]}\n" for word in sorted(lines))
    args.out.write_text(text, encoding="utf-8")
    print(len(lines), "words,", len(text.encode()), "bytes")


if __name__ == "__main__":
    main()
