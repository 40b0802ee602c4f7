"""The tasks and how they are scored: MTEB's classifier, numbers of texts and measures, written anew.

MTEB itself is not used, so how far this is the same is measured: by the teacher's figures, which are known.
Which training texts are drawn may differ, and moves the classification tasks by several tenths.
"""

import json
from collections import Counter

import numpy as np
from scipy.stats import spearmanr
from sklearn.linear_model import LogisticRegression

__all__ = ["TASKS", "Task"]

EXPERIMENTS, SEED, MOST_ITERATIONS = 10, 42, 100  # of MTEB's classification tasks
CUT = 10  # of nDCG


def read(path):
    with path.open(encoding="utf-8") as lines:
        return [json.loads(line) for line in lines]


def unit(vectors):
    vectors = np.asarray(vectors, np.float32)
    return vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)


def sts(folder, encode):
    """Spearman's correlation of cosines with people's scores."""
    pairs = read(folder / "stsb-dev.jsonl")
    first, second = (unit(encode([pair[side] for pair in pairs])) for side in ("sentence1", "sentence2"))
    return float(spearmanr((first * second).sum(axis=1), [pair["score"] for pair in pairs]).statistic)


def draw(labels, per_label, random, order):
    """Numbers of so many texts of each label; the order is shuffled further for the next draw, as in MTEB."""
    random.shuffle(order)
    taken, drawn = Counter(), []
    for number in order:
        if taken[labels[number]] < per_label:
            drawn.append(number)
            taken[labels[number]] += 1
    return drawn


def classification(folder, encode, per_label):
    """Mean accuracy of ten logistic regressions, each on a few texts of every label."""
    train, test = read(folder / "train.jsonl"), read(folder / "test.jsonl")
    labels = [row["label"] for row in train]
    random, order = np.random.RandomState(SEED), list(range(len(train)))
    draws = [draw(labels, per_label, random, order) for _ in range(EXPERIMENTS)]
    needed = sorted(set().union(*draws))
    vectors = dict(zip(needed, np.asarray(encode([train[i]["text"] for i in needed])), strict=True))
    asked, truth = np.asarray(encode([row["text"] for row in test])), [row["label"] for row in test]
    scores = []
    for drawn in draws:
        classifier = LogisticRegression(random_state=SEED, max_iter=MOST_ITERATIONS)
        classifier.fit(np.stack([vectors[i] for i in drawn]), [labels[i] for i in drawn])
        scores.append(classifier.score(asked, truth))
    return float(np.mean(scores))


def banking(folder, encode):
    """77 intents of a bank's customers."""
    return classification(folder / "banking77", encode, 8)


def tweets(folder, encode):
    """Three sentiments."""
    return classification(folder / "tweet_sentiment", encode, 32)


def retrieval(folder, encode):
    """nDCG@10 of passages for questions; each question has its passages, all as relevant."""
    root = folder / "xquad_en"
    corpus, queries = read(root / "corpus.jsonl"), read(root / "queries.jsonl")
    relevant = {}
    for row in read(root / "qrels.jsonl"):
        relevant.setdefault(row["query-id"], set()).add(row["corpus-id"])
    passages = unit(encode([f"{row['title']} {row['text']}".strip() for row in corpus]))
    cosines = unit(encode([row["text"] for row in queries])) @ passages.T
    gains = 1 / np.log2(np.arange(CUT) + 2)
    scores = []
    for query, row in zip(queries, cosines, strict=True):
        wanted = relevant.get(query["id"])
        if wanted:
            hits = [corpus[i]["id"] in wanted for i in np.argsort(-row, kind="stable")[:CUT]]
            scores.append(float(np.dot(hits, gains[: len(hits)]) / gains[: len(wanted)].sum()))
    return float(np.mean(scores))


class Task:
    """A task.

    Attributes:
        name: as it is shown.
        goal: the score that the model fitted to general sentences is to reach, of 100.
        aim: the score that would be very good.
        known: what MTEB says of all-MiniLM-L6-v2 (of STS-B dev: what the teacher is known to reach).
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
    Task("XQuAD en", retrieval, 91.2, 92.0, 94.36),
]
