"""Beam: `EmbedBatches` against the bare encoder, against `MLTransform`, and a backfill on two workers.

    python tests/benchmarks/beam.py [--rows 2000000] [--peer-rows 60000] [--rounds 3] [--json FILE]

Every run is a fresh process; the systems take turns. All but the backfills are pinned to one core. The texts
are the log lines of ../shared/data/loghub, repeated; `EmbedBatches` and the bare encoder get the same batches
of 4,096 and take turns in one pipeline, since the same encoder may be a fifth faster a second later.
Pipelines take a while to start and to load the model: a rate is that of the rows by which a large run exceeds
one of a quarter of its rows; that of a backfill is the rate at which the middle of its files appears.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from itertools import cycle, islice
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

ROOT = Path(__file__).parents[2]
sys.path = [*(entry for entry in sys.path if Path(entry) != Path(__file__).parent), str(ROOT / "tests")]

from benchmarks.speed.materials import int8_model, log_lines

BATCH = 4096
FILE_ROWS = 16_384
GOALS = {"EmbedBatches / bare encoder": 0.9, "EmbedBatches / MLTransform": 30, "two workers / one": 1.8}


def make_models(folder):
    """The all-MiniLM-L6-v2 of the demonstration, distilled into int8; and as sentence-transformers has it."""
    ours, theirs = int8_model(folder / "minilm-int8"), folder / "minilm-int8-st"
    if not theirs.exists():
        import numpy as np
        from sentence_transformers import SentenceTransformer
        from sentence_transformers.sentence_transformer.modules import Normalize, StaticEmbedding
        from tokenizers import Tokenizer

        from encoder.model import load_model

        model = load_model(ours)
        static = StaticEmbedding(
            Tokenizer.from_str(model.tokenizer_json), embedding_weights=model.table.astype(np.float32)
        )
        SentenceTransformer(modules=[static, Normalize()], device="cpu").save(str(theirs))
    return str(ours), str(theirs)


def batches(n_rows):
    """Batches of 4,096 lines, `n_rows` in all; there are only some different ones."""
    texts = pa.array(log_lines(), pa.string())
    different = [
        pa.record_batch({"message": texts[first : first + BATCH]})
        for first in range(0, len(texts) - BATCH + 1, BATCH)
    ]
    return list(islice(cycle(different), n_rows // BATCH))


def pipeline():
    import apache_beam as beam

    return beam.Pipeline(runner="FnApiRunner", argv=["--direct_num_workers=1"])


def beside_bare(model, n_rows):
    """The rates of the bare encoder and of `EmbedBatches`, batch by batch in turns."""
    import apache_beam as beam
    from apache_beam.metrics import Metrics

    from pipelines import EmbedBatches, ModelVersion

    version, elements = ModelVersion.resolve(model), batches(n_rows)
    clocks = [Metrics.distribution("benchmark", name) for name in ("bare", "EmbedBatches")]

    def in_turns(_):
        encoder = version.load()
        # Each batch takes both ways, and not one after the other, when half of its work would be in caches.
        for one, other in zip(elements, elements[2:], strict=False):
            begin = time.perf_counter_ns()
            encoder.encode(one["message"])
            between = time.perf_counter_ns()
            yield other  # and Beam takes it through all that follows
            for clock, took in zip(clocks, (between - begin, time.perf_counter_ns() - between), strict=True):
                clock.update(took)

    p = pipeline()
    source = p | beam.Create([0]) | beam.FlatMap(in_turns).with_output_types(pa.RecordBatch)
    _ = source | EmbedBatches(version, text="message")
    found = p.run().metrics().query()["distributions"]
    took = {one.key.metric.name: one.committed.sum / 1e9 for one in found}
    return [(len(elements) - 2) * BATCH / took[name] for name in ("bare", "EmbedBatches")]


def embed(model, n_rows):
    """`Embed` over dicts."""
    import apache_beam as beam

    from pipelines import Embed, ModelVersion

    texts = list(islice(cycle(log_lines()), n_rows))
    version = ModelVersion.resolve(model)
    begin = time.perf_counter()
    with pipeline() as p:
        source = p | beam.Create([0]) | beam.FlatMap(lambda _: ({"message": text} for text in texts))
        _ = source | Embed(version, text="message") | beam.Filter(lambda event: not event["embedding"])
    return n_rows, time.perf_counter() - begin


def mltransform(embeddings, n_rows):
    import apache_beam as beam
    from apache_beam.ml.transforms.base import MLTransform

    texts = list(islice(cycle(log_lines()), n_rows))
    with tempfile.TemporaryDirectory() as artifacts:
        begin = time.perf_counter()
        with pipeline() as p:
            source = p | beam.Create([0]) | beam.FlatMap(lambda _: ({"message": text} for text in texts))
            made = source | MLTransform(write_artifact_location=artifacts).with_transform(embeddings)
            _ = made | beam.Filter(lambda event: not len(event["message"]))
        return n_rows, time.perf_counter() - begin


def mltransform_ours(model, n_rows):
    from pipelines import MillstreamEmbeddings

    return mltransform(MillstreamEmbeddings(model, columns=["message"]), n_rows)


def mltransform_theirs(model, n_rows):
    from apache_beam.ml.transforms.embeddings.huggingface import SentenceTransformerEmbeddings

    return mltransform(SentenceTransformerEmbeddings(model, columns=["message"]), n_rows)


def backfill(model, n_rows, workers):
    """Rows a second of a backfill on worker processes, from a fifth of its files to nine tenths."""
    from pipelines.beam.backfill.job import claim_output
    from pipelines.beam.backfill.plan import plan_backfill
    from pipelines.beam.runner import run_backfill
    from pipelines.beam.runner_options import beam_options
    from pipelines.enrich.enrichment import Enrichment

    with tempfile.TemporaryDirectory(dir=ROOT / "build/bench") as folder:
        files = [Path(folder) / f"in/{k}.parquet" for k in range(8)]
        files[0].parent.mkdir()
        block = pa.table({"message": pa.array(islice(cycle(log_lines()), n_rows // len(files)), pa.string())})
        for file in files:
            pq.write_table(block, file)
        output = f"{folder}/out"
        job = plan_backfill(
            model=model,
            pattern=f"{folder}/in",
            output=output,
            enrichment=Enrichment.parse("message", keep=[], vectors="binary", dtype="int8"),
            chunk_rows=FILE_ROWS,
        )
        claim_output(job)
        options = beam_options(
            ["--direct_running_mode=multi_processing", f"--direct_num_workers={workers}"], None
        )
        run_backfill(job, options, lambda _: None)
        times = sorted(path.stat().st_mtime for path in Path(output).glob("*.parquet"))
        first, last = len(times) // 5, len(times) * 9 // 10
        return (last - first) * FILE_ROWS / (times[last] - times[first])


def rate(system, model, n_rows):
    """Records a second by which a run of `n_rows` exceeds one of a quarter of them."""
    (small, short), (large, long) = (system(model, n) for n in (n_rows // 4, n_rows))
    return (large - small) / (long - short)


SYSTEMS = {"Embed": embed, "ours in MLTransform": mltransform_ours, "MLTransform": mltransform_theirs}


def child(arguments):
    name, model, rows, *more = arguments
    if name == "backfill":
        print(backfill(model, int(rows), *more))
    elif name == "beside bare":
        print(*beside_bare(model, int(rows)))
    else:
        print(rate(SYSTEMS[name], model, int(rows)))


def run(cores, *arguments):
    done = subprocess.run(
        [sys.executable, __file__, "--child", *map(str, arguments)],
        capture_output=True,  # Beam's worker processes tell their lives
        check=False,
        cwd=ROOT,
        env={
            **os.environ,
            "PYTHONPATH": str(ROOT),
            "TOKENIZERS_PARALLELISM": "false",
            "HF_HUB_OFFLINE": "1",
        },
        preexec_fn=lambda: os.sched_setaffinity(0, cores),
    )
    if done.returncode:
        sys.exit(f"{arguments} failed:\n{done.stderr.decode()}")
    return [float(rate) for rate in done.stdout.splitlines()[-1].split()]


def measure(options, folder):
    ours, theirs = make_models(folder)
    one, both = {options.core}, os.sched_getaffinity(0)
    systems = {
        ("bare encoder", "EmbedBatches"): (one, "beside bare", ours, options.rows),
        ("Embed, dicts",): (one, "Embed", ours, options.peer_rows * 4),
        ("MLTransform, Millstream",): (one, "ours in MLTransform", ours, options.peer_rows * 2),
        ("MLTransform, SentenceTransformer",): (one, "MLTransform", theirs, options.peer_rows),
        ("backfill, one worker",): (both, "backfill", ours, 2 * options.rows, 1),
        ("backfill, two workers",): (both, "backfill", ours, 2 * options.rows, 2),
    }
    rates = {name: [] for names in systems for name in names}
    for turn in range(options.rounds):
        for names, arguments in systems.items():
            for name, found in zip(names, run(*arguments), strict=True):
                rates[name].append(found)
                print(f"round {turn + 1}: {name:33} {found:10,.0f} records/s", flush=True)
    return rates


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=2_000_000)
    parser.add_argument("--peer-rows", type=int, default=60_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--core", type=int, default=max(os.sched_getaffinity(0)))
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    folder = ROOT / "build/bench"
    folder.mkdir(parents=True, exist_ok=True)
    runs = measure(options, folder)
    rates = {name: statistics.median(several) for name, several in runs.items()}
    print(f"\n{'':34}{'records/s':>12}{'best':>12}")
    for name, rate in rates.items():
        print(f"{name:34}{rate:12,.0f}{max(runs[name]):12,.0f}")
    ratios = {
        "EmbedBatches / bare encoder": rates["EmbedBatches"] / rates["bare encoder"],
        "EmbedBatches / MLTransform": rates["EmbedBatches"] / rates["MLTransform, SentenceTransformer"],
        "two workers / one": rates["backfill, two workers"] / rates["backfill, one worker"],
    }
    reached = {name: ratios[name] >= goal for name, goal in GOALS.items()}
    for name, goal in GOALS.items():
        print(f"{'reached' if reached[name] else 'MISSED':8} {name}: {ratios[name]:.2f}, goal {goal}")
    if options.json:
        options.json.parent.mkdir(parents=True, exist_ok=True)
        options.json.write_text(json.dumps({"runs": runs, "ratios": ratios, "reached": reached}, indent=2))
    sys.exit(0 if all(reached.values()) else 1)


if __name__ == "__main__":
    child(sys.argv[2:]) if sys.argv[1:2] == ["--child"] else main()
