"""Classification from few examples."""

from distill.evaluation.classification import few_shot_accuracy, few_shot_draws
from distill.evaluation.sets import Classification, Labelled


def test_it_draws_as_many_of_each_label_and_scores_the_test_texts(known_vectors):
    asked = []

    def noting(texts):
        asked.append(texts)
        return known_vectors(texts)

    train = Labelled([f"{x}{i}" for i in range(20) for x in "ad"], ["a", "d"] * 20)
    found = few_shot_accuracy(Classification("two", train, Labelled("bd" * 3, "ad" * 3), 4), noting)
    assert (found.value, found.low, found.high, found.n) == (1, 1, 1, 6)
    assert len(asked[0]) <= 40
    assert len(asked[1]) == 6


def test_draws_differ_and_hold_so_many_of_each():
    labels = ["x"] * 30 + ["y"] * 5
    first, second, *rest = few_shot_draws(labels, 8)
    assert sorted(labels[i] for i in first) == ["x"] * 8 + ["y"] * 5
    assert set(first) != set(second)
    assert len(rest) == 8


def test_the_interval_is_wider_where_fewer_texts_are_asked(known_vectors):
    train = Labelled([f"{x}{i}" for i in range(10) for x in "ad"], ["a", "d"] * 10)

    def width(n):
        test = Labelled("aadd" * n, "adad" * n)  # half of them are right
        found = few_shot_accuracy(Classification("two", train, test), known_vectors)
        assert found.value == 0.5
        return found.high - found.low

    assert width(50) < width(5) < 1
