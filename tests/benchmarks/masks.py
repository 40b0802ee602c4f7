"""What masks cost: the encoder with all masks beside the encoder without, and Arrow's RE2 kernels.

    python tests/benchmarks/masks.py [--model FOLDER] [--texts FILE] [--rounds 9] [--json FILE]

All ways run one after the other in each round, in one process with one thread; the figures are medians of CPU
time. Pin it to one core with `taskset -c 1`. The goal is that an encoder with all masks has at least half of
the rate of the same encoder without; exit code 1 says that it was missed.

RE2 has no look-behind and cannot compute checksums, so its expressions are simpler than the masks: cards and
IBANs are all groups of digits that look like them, and a match may begin in a word.
"""

import argparse
import json
import sys
import time
from pathlib import Path

ROOT = Path(__file__).parents[2]
# Programs here are named like packages. This tree's packages come first, then `benchmarks` of its tests.
sys.path = [str(ROOT), *(p for p in sys.path if Path(p) != Path(__file__).parent), str(ROOT / "tests")]

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from tiny_tokenizers import named

from encoder.encoder import Encoder
from encoder.masks import KINDS, Masks
from encoder.model import StaticModel, load_model

GOAL = 0.5  # of the rate without masks
LEAST = 20_000  # texts
SAMPLE = [
    "Jun 14 15:16:01 combo sshd(pam_unix)[19939]: authentication failure; uid=0 rhost=218.188.2.4",
    "Receiving block blk_-1608999687919862906 src: /10.250.19.102:54106 dest: /10.250.19.102:50010",
    "card 4111 1111 1111 1111 declined at the gate, order 7713, 12.50 EUR, by bob@example.org",
    "the server restarted again because the disk was full",
]
RE2 = {
    "url": r"[A-Za-z][A-Za-z0-9+.-]*://[^\s<>\"]+|www\.[^\s<>\"]+",
    "email": r"[\w.%+'-]+@[\w-]+(?:\.[\w-]+)+",
    "path": r"(?:~|\.\.?)?/[\w.~+-]+(?:/[\w.~+-]*)+|[A-Za-z]:\\[^\s\"']+",
    "uuid": r"\b[0-9a-fA-F]{8}-(?:[0-9a-fA-F]{4}-){3}[0-9a-fA-F]{12}\b",
    "iban": r"\b[A-Z]{2}[0-9]{2}(?:[ -]?[A-Z0-9]{4}){2,7}(?:[ -]?[A-Z0-9]{1,3})?\b",
    "card": r"\b[2-9](?:[ -]?[0-9]){12,18}\b",
    "ip": r"\b(?:[0-9]{1,3}\.){3}[0-9]{1,3}(?:[:/][0-9]{1,5})?\b|(?:[0-9a-fA-F]{0,4}:){2,7}[0-9a-fA-F]{1,4}",
    "hex": r"\b0x[0-9a-fA-F]+\b|\b[0-9a-fA-F]{8,}\b|\b[0-9a-fA-F]{2}(?:[:-][0-9a-fA-F]{2}){5,}\b",
    "time": r"\b[0-9]{4}[-/.][0-9]{2}[-/.][0-9]{2}(?:[T ][0-9:.,]+Z?)?\b|\b[0-9]{1,2}(?::[0-9]{2}){1,2}\b",
    "number": r"[+-]?\b[0-9]+(?:[.,][0-9]+)*(?:[eE][+-]?[0-9]+)?(?:%|[a-zA-Z]{1,4})?\b",
}


def tiny_model():
    tokenizer = named("uncased")
    table = np.random.default_rng(0).standard_normal((tokenizer.get_vocab_size(), 256), np.float32)
    return StaticModel(table, tokenizer.to_str(), {"normalize": True})


def by_arrow(texts):
    for kind in KINDS:
        texts = pc.replace_substring_regex(texts, RE2[kind], f"<{kind}>")
    return texts


def measure(model, texts, rounds):
    """Nanoseconds a text of each way, `(rounds,)` of each."""
    masks = Masks(KINDS)
    plain, masked = Encoder(model, threads=1), Encoder(model.with_masks(masks), threads=1)
    vectors = np.empty((len(texts), plain.dim), np.int8)
    ways = {
        "encode": lambda: plain.encode(texts, dtype="int8", out=vectors),
        "encode with all masks": lambda: masked.encode(texts, dtype="int8", out=vectors),
        "mask alone": lambda: masks(texts),
        "Arrow's RE2 alone": lambda: by_arrow(texts),
    }
    for way in ways.values():
        way()
    times = {name: np.empty(rounds) for name in ways}
    for k in range(rounds):
        for name, way in ways.items():
            start = time.process_time()
            way()
            times[name][k] = (time.process_time() - start) / len(texts) * 1e9
    return times


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--model", type=Path, help="a model folder without masks and heads; else a tiny one")
    parser.add_argument("--texts", type=Path, help="a file of texts, one a line; else a few kinds, repeated")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    lines = options.texts.read_text("utf-8", errors="replace").splitlines() if options.texts else SAMPLE
    texts = pa.array(lines * -(-LEAST // len(lines)), pa.large_string())
    model = load_model(options.model) if options.model else tiny_model()
    times = measure(model, texts, options.rounds)
    medians = {name: float(np.median(each)) for name, each in times.items()}
    share = medians["encode"] / medians["encode with all masks"]
    for name, nanoseconds in medians.items():
        print(f"{name:24}{nanoseconds:9.0f} ns a text  {1e3 / nanoseconds:7.3f} million texts/s")
    print(f"with all masks the encoder has {share:.2f} of its rate; goal: {GOAL}")
    if options.json:
        options.json.parent.mkdir(parents=True, exist_ok=True)
        options.json.write_text(json.dumps({"nanoseconds": medians, "share": share, "texts": len(texts)}))
    return int(share < GOAL)


if __name__ == "__main__":
    sys.exit(main())
