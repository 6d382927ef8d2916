"""Learns the small word vectors of `admix suggest` (words.safetensors) from free dictionaries.

    apt-get download wordnet-base unicode-cldr-core; dpkg -x ... DATA       (Debian 12: WordNet 3.0, CLDR 41)
    python train_words.py --data DATA --emoji /usr/share/unicode/emoji/emoji-test.txt --out words.safetensors

A word is described by sparse features: its synsets, their hypernyms, the words of their definitions, the emoji it
annotates, the group of terms.txt it stands in. Positive pointwise mutual information, then a truncated SVD (Levy and
Goldberg 2014, with singular values to a small power). Words outside the vocabulary are served by hashed character
n-grams fitted to the vectors by ridge regression (Zhao et al. 2018, bag of subwords). Everything is stored as int8.
The nearest known hypernyms of a word's first sense go along, for the composer's scope test, and so do fingerprints of all
nouns of two words ("pencil sharpener", and "night gown" for "nightgown"): their first word says nothing by itself.
`--compounds-only` writes those anew and leaves the rest of the file as it is.
"""
import argparse
import re
from collections import Counter, defaultdict
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import scipy.sparse as sp
from safetensors import safe_open
from safetensors.numpy import save_file

DIM = 168
WORDS = 13_500
BUCKETS = 2048
POWER = 0.25
ANCESTORS = 6
STOP = set("a an the of to in on at by for with from and or but nor as is are was were be been being it its this that these those which who whom whose "
           "what where when how than then so such not no any some all each every other another into onto upon over under out up down off about "
           "used use using having has have had do does did can may might will would shall should must one two especially usually often very more most "
           "etc eg ie you your he his she her they their we our i me my him them us if through between among during without within".split())


def stem(w):
    """Harman's S-stemmer and one spelling; mirrored in gpu/select/src/text.rs."""
    w = w.replace("colour", "color").replace("grey", "gray")
    if len(w) > 3:
        if w.endswith("ies") and w[-4] not in "ea":
            return w[:-3] + "y"
        if w.endswith("es") and w[-3] not in "aeo":
            return w[:-1]
        if w.endswith("s") and w[-2] not in "us":
            return w[:-1]
    return w


def tokens(text):
    return [stem(t) for t in re.findall(r"[a-z0-9]+", text.lower().replace("'", "").replace("\u2019", ""))]


def fnv(text):
    h = 0x811C9DC5
    for b in text.encode():
        h = ((h ^ b) * 0x01000193) & 0xFFFFFFFF
    return h


def grams(word):
    w = f"<{word}>"
    return [fnv(w[i:i + n]) % BUCKETS for n in (3, 4, 5) for i in range(len(w) - n + 1)]


def wordnet(folder):
    """synset id -> (lemmas, definition, pointers), and lemma -> synset ids by frequency."""
    synsets, senses = {}, defaultdict(list)
    for pos, name in (("n", "noun"), ("v", "verb"), ("a", "adj"), ("r", "adv")):
        for line in open(folder / f"data.{name}", encoding="latin-1"):
            if line.startswith(" "):
                continue
            head, gloss = line.split("|", 1)
            f = head.split()
            n = int(f[3], 16)
            lemmas = [re.sub(r"\(.*\)", "", w) for w in f[4:4 + 2 * n:2]]
            p = 4 + 2 * n
            pointers = [(f[p + 1 + 4 * i], ("a" if f[p + 3 + 4 * i] == "s" else f[p + 3 + 4 * i]) + f[p + 2 + 4 * i]) for i in range(int(f[p]))]
            synsets[pos + f[0]] = (lemmas, re.split(r';\s*"', gloss)[0], pointers)
        for line in open(folder / f"index.{name}", encoding="latin-1"):
            if line.startswith(" "):
                continue
            f = line.split()
            senses[f[0]] += [(pos, rank, pos + s) for rank, s in enumerate(f[-int(f[2]):])]
    tagged, parts = Counter(), defaultdict(Counter)
    for line in open(folder / "cntlist.rev", encoding="latin-1"):
        key, _, count = line.split()
        lemma, rest = key.split("%")
        tagged[lemma] += int(count)
        parts[lemma][{"1": 1, "2": 3, "3": 2, "4": 4, "5": 2}[rest[0]]] += int(count)
    return synsets, senses, tagged, parts


def compounds(senses):
    """FNV-1a of first_second for every noun of two words, written apart or, where both are nouns of their own, together."""
    nouns = {lemma for lemma, entries in senses.items() if any(pos == "n" for pos, _, _ in entries)}
    plain = {lemma for lemma in nouns if lemma.isalpha() and lemma.isascii()}
    found = set()
    for lemma in nouns:
        parts = tokens(lemma.replace("_", " "))
        if len(parts) == 2 and lemma.count("_") == 1:
            found.add("_".join(parts))
        if lemma in plain:
            for cut in range(3, len(lemma) - 2):
                first, second = lemma[:cut], lemma[cut:]
                if (first in plain or stem(first) in plain) and second in plain:
                    found.add(f"{stem(first)}_{stem(second)}")
    return np.array(sorted({fnv(name) for name in found}), "<u4")


def leading(m, k, rounds=3):
    """The k leading left singular vectors and values (Halko, Martinsson and Tropp 2011), with fixed signs."""
    m = m.astype(np.float32)
    q = np.linalg.qr(m @ np.random.default_rng(1).standard_normal((m.shape[1], k + 24), np.float32))[0]
    for _ in range(rounds):
        q = np.linalg.qr(m @ (m.T @ q))[0]
    # m is about q q' m: its Gram matrix on the small side gives the rest.
    values, w = np.linalg.eigh((lambda b: b @ b.T)((m.T @ q).T.astype(np.float64)))
    u, s = q @ w[:, ::-1], np.sqrt(values[::-1])
    u, s = u[:, :k], s[:k]
    return u * np.sign(u[np.abs(u).argmax(0), np.arange(k)]), s


def main():
    a = argparse.ArgumentParser()
    a.add_argument("--data", type=Path, required=True)
    a.add_argument("--emoji", type=Path, default=Path("/usr/share/unicode/emoji/emoji-test.txt"))
    a.add_argument("--terms", type=Path, default=Path(__file__).with_name("terms.txt"))
    a.add_argument("--out", type=Path, default=Path(__file__).with_name("words.safetensors"))
    a.add_argument("--compounds-only", action="store_true")
    args = a.parse_args()
    synsets, senses, tagged, counted = wordnet(args.data / "usr/share/wordnet")
    if args.compounds_only:
        with safe_open(args.out, "numpy") as f:
            held, metadata = {name: f.get_tensor(name) for name in f.keys()}, f.metadata()
        held["compounds"] = compounds(senses).view(np.uint8)
        save_file(held, args.out, metadata=metadata)
        print(len(held["compounds"]) // 4, "compounds,", args.out.stat().st_size, "bytes")
        return

    features = defaultdict(Counter)  # token -> feature -> weight
    total = Counter()
    kept = set()

    def add(word, feature, weight):
        features[word][feature] += weight

    parents, parts_of = {}, {}
    for lemma, entries in senses.items():
        parts = tokens(lemma.replace("_", " "))
        if not parts or len(parts) > 3:
            continue
        word = "_".join(parts)
        # Verbs and adverbs are rarer in prompts than things and looks.
        best = sorted(entries, key=lambda e: (e[1] + {"n": 0, "a": 0.4, "v": 0.6, "r": 1.5}[e[0]]))[:6]
        for order, (pos, rank, sid) in enumerate(best):
            w = 1.0 / (1 + order) ** 1.3
            lemmas, gloss, pointers = synsets[sid]
            add(word, "S" + sid, 5 * w)
            for kind, other in pointers:
                if kind in ("@", "@i"):
                    add(word, "S" + other, 0.9 * w)
                    for k2, o2 in synsets[other][2]:
                        if k2 in ("@", "@i"):
                            add(word, "S" + o2, 0.3 * w)
                elif kind in ("+", "&", "\\", "=", ";c", ";u"):
                    add(word, "S" + other, 1.0 * w)
                elif kind[0] in "%#":
                    add(word, "S" + other, 0.8 * w)
            for other in lemmas:
                for t in tokens(other.replace("_", " ")):
                    if t != word:
                        add(word, "W" + t, 1.0 * w)
            for g in tokens(gloss):
                if g in STOP or g == word:
                    continue
                add(word, "W" + g, 1.0 * w)
                add(g, "W" + word, 0.4 * w)
                total[g] += 1
            if order == 0 and pos == "n":
                above, at = [], sid
                while at := next((o for k, o in synsets[at][2] if k in ("@", "@i")), None):
                    above.append([("_".join(tokens(x.replace("_", " ")))) for x in synsets[at][0]])
                parents[word] = above
        # Where texts were never counted, the number of senses decides.
        votes = counted.get(lemma) or Counter({"n": 1, "v": 3, "a": 2, "r": 4}[e[0]] for e in entries)
        parts_of[word] = max(votes, key=lambda p: (votes[p], -p))
        if tagged[lemma]:
            total[word] += tagged[lemma]
    for path in ("annotations", "annotationsDerived"):
        for node in ElementTree.parse(args.data / f"usr/share/unicode/cldr/common/{path}/en.xml").iter("annotation"):
            for phrase in (node.text or "").split("|"):
                parts = [t for t in tokens(phrase) if t not in STOP]
                for t in parts + (["_".join(parts)] if 1 < len(parts) <= 3 else []):
                    add(t, "E" + node.get("cp"), 2.0)
                    if path == "annotations":
                        kept.add(t)
                        total[t] += 2
    for line in open(args.emoji, encoding="utf-8"):
        m = re.search(r"fully-qualified\s+# \S+ E[\d.]+ (.*)", line)
        if m:
            parts = [t for t in tokens(m[1]) if t not in STOP]
            for t in parts:
                add(t, "N" + m[1], 2.0)
                kept.add(t)
                total[t] += 2
    for n, line in enumerate(open(args.terms, encoding="utf-8")):
        if line.startswith("#") or not line.strip():
            continue
        phrases = [[t for t in tokens(p) if t not in STOP] for p in line.split(",")]
        for p in phrases:
            # The phrase as a whole belongs to the group; its parts only get to know each other ("horse with a horn" is no horse).
            whole = "_".join(p)
            kept.update(p)
            for t in p:
                total[t] += 4
            if 1 <= len(p) <= 3:
                add(whole, f"T{n}", 3.0)
                kept.add(whole)
                total[whole] += 4
                for q in phrases:
                    if q != p:
                        for u in q:
                            add(whole, "W" + u, 0.5 / len(q))
            for t in p:
                if len(p) > 1:
                    add(whole, "W" + t, 1.5)
                    for u in p:
                        if u != t:
                            add(t, "W" + u, 0.7)

    order = sorted((w for w in features if w not in STOP and (len(w) > 1)), key=lambda w: (w in kept, total[w], sum(features[w].values())), reverse=True)
    # Joined words of WordNet only where texts use them.
    vocabulary = [w for w in order if "_" not in w or w in kept or total[w] >= 2][:WORDS]
    index = {w: i for i, w in enumerate(vocabulary)}
    names = Counter()
    for w in vocabulary:
        for f in features[w]:
            names[f] += 1
    columns = {f: i for i, f in enumerate(f for f, c in names.items() if c > 2)}
    rows, cols, data = [], [], []
    for w in vocabulary:
        for f, x in features[w].items():
            if f in columns:
                rows.append(index[w])
                cols.append(columns[f])
                data.append(x)
    m = sp.csr_matrix((data, (rows, cols)), shape=(len(vocabulary), len(columns)), dtype=np.float64)
    row = np.asarray(m.sum(1)).ravel()
    col = np.asarray(m.sum(0)).ravel() ** 0.75
    coo = m.tocoo()
    pmi = np.log(coo.data * col.sum() / (row[coo.row] * col[coo.col]))
    keep = pmi > 0
    # Observed once among many is no evidence: weigh by how much was observed.
    value = pmi * np.sqrt(np.minimum(coo.data, 9.0))
    ppmi = sp.csr_matrix((value[keep], (coo.row[keep], coo.col[keep])), shape=m.shape)
    norms = np.sqrt(np.asarray(ppmi.multiply(ppmi).sum(1)).ravel())
    ppmi = sp.diags(1 / np.maximum(norms, 1e-9)) @ ppmi
    u, sigma = leading(ppmi, DIM)
    v = u * sigma ** POWER
    v -= v.mean(0)
    v /= np.maximum(np.linalg.norm(v, axis=1, keepdims=True), 1e-9)

    gr, gc, gv = [], [], []
    for w, i in index.items():
        if "_" in w:
            continue
        g = grams(w)
        for b in g:
            gr.append(i)
            gc.append(b)
            gv.append(1 / len(g) ** 0.5)
    g = sp.csr_matrix((gv, (gr, gc)), shape=(len(vocabulary), BUCKETS))
    single = np.array(["_" not in w for w in vocabulary])
    gram = (g[single].T @ g[single]).toarray() + 3.0 * np.eye(BUCKETS)
    buckets = np.linalg.solve(gram, g[single].T @ v[single])

    q = np.round(v / np.abs(v).max(1, keepdims=True) * 127).astype(np.int8)
    scale = np.abs(buckets).max()
    qb = np.round(buckets / scale * 127).astype(np.int8)
    counts = np.array([total[w] for w in vocabulary], float) + 1
    probability = counts / counts.sum()
    # Smooth inverse frequency (Arora et al. 2017), a = 1e-4 in units of 1/255.
    weight = np.round(255 * 4e-4 / (4e-4 + probability)).clip(1, 255).astype(np.uint8)
    parent = np.full((len(vocabulary), ANCESTORS), 65535, np.uint16)
    for i, w in enumerate(vocabulary):
        known = [next((index[x] for x in names if x in index and x != w), None) for names in parents.get(w, ())]
        known = [k for k in known if k is not None][:ANCESTORS]
        parent[i, :len(known)] = known
    save_file({"vectors": q, "buckets": qb, "weights": weight, "parts": np.array([parts_of.get(w, 0) for w in vocabulary], np.uint8), "parents": parent.view(np.uint8).reshape(len(vocabulary), -1),
               "compounds": compounds(senses).view(np.uint8),
               "words": np.frombuffer("\n".join(vocabulary).encode(), np.uint8).copy()}, args.out,
              metadata={"format": "admix-words", "dim": str(DIM), "sources": "WordNet 3.0; Unicode CLDR 41; terms.txt", "licence": "see assets/CREDITS.md"})
    print(len(vocabulary), "words,", len(columns), "features,", args.out.stat().st_size, "bytes")
    f = q.astype(np.float32)
    f /= np.linalg.norm(f, axis=1, keepdims=True)
    pairs = ("unicorn horse|unicorn horned_horse|moai statue|moai easter_island|jack_o_lantern pumpkin|jack_o_lantern carved_pumpkin|night nighttime|night moonlit|night day|"
             "pencil pen|robot machine|robot android|robot automaton|watercolor oil_painting|watercolor aquarelle|sketch line_art|sketch drawing|sketch pencil_drawing|neon glowing|"
             "neon light|pixel_art 8_bit|pixel_art photograph|apple pear|cat dog|cat kitten|dragon unicorn|blueprint schematic|blueprint plan|blueprint blue|car automobile|"
             "emoji face|rocket spaceship|red blue|pink background|house castle|starry night|starry starlit")
    for pair in pairs.split("|"):
        x, y = (index.get(w) for w in pair.split())
        print(pair, "missing" if x is None or y is None else round(float(f[x] @ f[y]), 2))
    for w in "watercolor unicorn robot apple neon jack_o_lantern".split():
        print(w, [(vocabulary[i], round(float(f[i] @ f[index[w]]), 2)) for i in (f @ f[index[w]]).argsort()[::-1][1:11]])


if __name__ == "__main__":
    main()
