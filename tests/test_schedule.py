"""Which tests stay in one process, and which come first."""

from schedule import rank, scope_of


def test_heavy_servers_are_in_one_process_each():
    assert scope_of("tests/engines/test_stream.py::a") == scope_of("tests/engines/test_topics.py::b")
    secured = [f"tests/pipelines/worker/test_{name}.py::a[x::y]" for name in ("security", "secrets")]
    assert len(set(map(scope_of, secured))) == 1


def test_faults_are_apart_and_the_tests_of_another_file_together():
    faults = [f"tests/pipelines/worker/test_faults.py::a[{n}]" for n in range(2)]
    assert len(set(map(scope_of, faults))) == 2
    assert (
        scope_of("tests/test_docs.py::a[1]") == scope_of("tests/test_docs.py::a[2]") == "tests/test_docs.py"
    )


def test_engines_come_first_and_flink_after_the_others():
    names = {"tests/test_docs.py::a": ["kafka"], "tests/engines/test_a.py::a": ["flink_cluster"]}
    names["tests/engines/test_a.py::b"] = ["prism_options"]
    order = sorted(names, key=lambda name: rank(name, names[name]))
    assert order == ["tests/engines/test_a.py::b", "tests/engines/test_a.py::a", "tests/test_docs.py::a"]
