"""The same tasks by MTEB's own code and definitions, on the same files instead of the Hub's."""

import mteb
import numpy as np
from benchmarks.tasks.protocol import column, judgements, read
from datasets import Dataset, DatasetDict
from mteb.models import ModelMeta
from mteb.models.abs_encoder import AbsEncoder

__all__ = ["mteb_scores"]


class Model(AbsEncoder):
    """What `encode` makes of texts, as MTEB asks for it."""

    def __init__(self, encode):
        self._encode = encode
        self.mteb_model_meta = ModelMeta.create_empty({"name": "millstream/model", "revision": "1"})

    def encode(self, inputs, **_):
        return np.vstack([self._encode(batch["text"]) for batch in inputs])


def columns(rows, *names):
    return Dataset.from_dict({name: column(rows, name) for name in names})


def labelled(folder):
    parts = {part: read(folder / f"{part}.jsonl") for part in ("train", "test")}
    return DatasetDict({part: columns(rows, "text", "label") for part, rows in parts.items()})


def retrieval(folder):
    return {
        "corpus": columns(read(folder / "corpus.jsonl"), "id", "title", "text"),
        "queries": columns(read(folder / "queries.jsonl"), "id", "text"),
        "relevant_docs": judgements(folder),
        "top_ranked": None,
    }


def tasks(folder):
    """MTEB's task for each of ours, with its files."""
    pairs = columns(read(folder / "stsb-dev.jsonl"), "sentence1", "sentence2", "score")
    questions = mteb.get_task("XQuADRetrieval", hf_subsets=["en"])
    [split] = questions.metadata.eval_splits
    found = {
        "STS-B dev": (mteb.get_task("STSBenchmark"), {"test": pairs}),
        "Banking77": (mteb.get_task("Banking77Classification"), labelled(folder / "banking77")),
        "TweetSentiment": (
            mteb.get_task("TweetSentimentExtractionClassification"),
            labelled(folder / "tweet_sentiment"),
        ),
        "XQuAD en": (questions, {"en": {split: retrieval(folder / "xquad_en")}}),
    }
    for name, (task, files) in found.items():
        task.dataset, task.data_loaded = files, True
        yield name, task


def mteb_scores(folder, encode):
    """MTEB's score of 100 of each task."""
    scores = {}
    for name, task in tasks(folder):
        [result] = mteb.evaluate(Model(encode), task, cache=None, show_progress_bar=False).task_results
        scores[name] = 100 * result.get_score()
    return scores
