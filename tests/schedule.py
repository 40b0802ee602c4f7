"""Which of xdist's processes runs which tests, with `--dist loadscope`: no two heavy servers at once.

The tests of the engines all go to one process, so that there is one Flink and one Prism; they come first,
since they take longest. The tests of the secured broker go to one process too, for the same reason. Every
fault of `test_faults.py` and every page of the docs may go to any process. Of all others, the tests of a file
stay together.
"""

import pytest

_FIRST = ("tests/engines/",)
_TOGETHER = {
    "engines": ("tests/engines/",),
    "secured broker": ("tests/pipelines/worker/test_security.py", "tests/pipelines/worker/test_secrets.py"),
}
_APART = ("tests/pipelines/worker/test_faults.py", "tests/test_docs.py::test_the_examples_run")


def scope_of(node_id):
    """The name of the tests that run in one process, one after the other."""
    for name, starts in _TOGETHER.items():
        if node_id.startswith(starts):
            return name
    return node_id if node_id.startswith(_APART) else node_id.split("::")[0]


def rank(node_id, fixtures):
    """Where tests stand: the lowest first."""
    return (not node_id.startswith(_FIRST), "flink_cluster" in fixtures)


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config, items):
    if config.getoption("dist", "no") == "loadscope" or hasattr(config, "workerinput"):
        items.sort(key=lambda item: rank(item.nodeid, item.fixturenames))


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config, log):
    if config.option.dist != "loadscope":
        return None
    from xdist.scheduler import LoadScopeScheduling

    class Scheduling(LoadScopeScheduling):
        def _split_scope(self, nodeid):
            return scope_of(nodeid)

    config.option.loadscopereorder = False  # the order is that of the collection
    return Scheduling(config, log)
