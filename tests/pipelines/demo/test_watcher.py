"""What the demonstration shows of the worker's outputs."""

from pipelines.demo.watcher import score_lines


def test_each_head_has_a_line():
    scores = {
        "known_id": None,
        "known_similarity": 0.5,
        "my_group_template": "paid at <*>",
        "my_group_group": "a1",
    }
    assert [line.plain.strip() for line in score_lines(scores)] == [
        "known: id none, similarity 0.50",
        "my_group: template paid at <*>, group a1",
    ]
    assert score_lines({}) == []
