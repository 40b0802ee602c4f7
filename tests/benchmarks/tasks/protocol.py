"""The tasks of the quality benchmark: their files, and how MTEB scores each (`distill.evaluation`).

`quality.py --mteb` compares the scores with those of MTEB's own code (`mteb_tasks`): they are the same.
"""

import json

from distill.evaluation import Classification, Labelled, Pairs, Retrieval
from distill.evaluation.classification import few_shot_accuracy
from distill.evaluation.retrieval import search_quality
from distill.evaluation.sts import similarity_correlation

__all__ = ["TASKS", "Task", "search"]


def read(path):
    with path.open(encoding="utf-8") as lines:
        return [json.loads(line) for line in lines]


def column(rows, name):
    return [row[name] for row in rows]


def sts(folder, encode):
    """Spearman's correlation of cosines with people's scores."""
    rows = read(folder / "stsb-dev.jsonl")
    sides = (column(rows, name) for name in ("sentence1", "sentence2", "score"))
    return similarity_correlation(Pairs("stsb-dev", *sides), encode).value


def classification(folder, encode, per_label):
    """Mean accuracy of ten logistic regressions, each on a few texts of every label."""
    parts = [read(folder / f"{part}.jsonl") for part in ("train", "test")]
    train, test = (Labelled(column(rows, "text"), column(rows, "label")) for rows in parts)
    return few_shot_accuracy(Classification(folder.name, train, test, per_label), encode).value


def banking(folder, encode):
    """77 intents of a bank's customers."""
    return classification(folder / "banking77", encode, 8)


def tweets(folder, encode):
    """Three sentiments."""
    return classification(folder / "tweet_sentiment", encode, 32)


def judgements(root):
    """Of each question, the scores of the passages that are relevant."""
    relevant = {}
    for row in read(root / "qrels.jsonl"):
        relevant.setdefault(row["query-id"], {})[row["corpus-id"]] = row["score"]
    return relevant


def search(root):
    """A retrieval task: passages with their titles, questions, and which passages answer which."""
    corpus, queries = (
        {row.get("id", row.get("_id")): f"{row.get('title', '')} {row['text']}".strip() for row in read(file)}
        for file in (root / "corpus.jsonl", root / "queries.jsonl")
    )
    return Retrieval(root.name, corpus, queries, judgements(root))


def xquad(folder, encode):
    """nDCG@10 of passages of an encyclopaedia for questions."""
    return search_quality(search(folder / "xquad_en"), encode)[0].value


def cranfield(folder, encode):
    """nDCG@10 of abstracts of aeronautics for questions."""
    return search_quality(search(folder / "cranfield"), encode)[0].value


class Task:
    """A task.

    Attributes:
        name: as it is shown.
        goal: the score that the model fitted to general sentences is to reach, of 100.
        aim: the score that would be very good.
        known: what MTEB says of all-MiniLM-L6-v2 (of STS-B dev and Cranfield: what the teacher is known to
            reach).
    """

    def __init__(self, name, score, goal, aim, known):
        self.name, self.goal, self.aim, self.known = name, goal, aim, known
        self._score = score

    def score(self, folder, encode):
        """The score of 100 of what `encode` makes of texts."""
        return 100 * self._score(folder, encode)


TASKS = [
    Task("STS-B dev", sts, 83.4, 84.5, 86.72),
    Task("Banking77", banking, 71.2, 73.0, 80.04),
    Task("TweetSentiment", tweets, 53.2, 55.5, 54.04),
    Task("XQuAD en", xquad, 91.2, 92.0, 94.36),
    Task("Cranfield", cranfield, 34.5, 37.0, 39.5),
]
