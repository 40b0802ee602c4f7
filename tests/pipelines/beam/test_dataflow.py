import pytest

from encoder.errors import ConfigurationError, MissingExtra
from pipelines.beam import runner_options
from pipelines.beam.runner_options import IMAGE_VARIABLE, dataflow_arguments

GIVEN = ["--runner=DataflowRunner", "--project=p"]
ONE_PROCESS = "--experiments=no_use_multiple_sdk_containers"


@pytest.fixture(autouse=True)
def installed(monkeypatch):
    monkeypatch.setattr(runner_options, "find_spec", lambda _: object())
    monkeypatch.delenv(IMAGE_VARIABLE, raising=False)


def test_a_worker_is_one_process_of_the_image_that_the_environment_names(monkeypatch):
    monkeypatch.setenv(IMAGE_VARIABLE, "r/p/i:1")
    assert dataflow_arguments(GIVEN) == [*GIVEN, "--sdk_container_image=r/p/i:1", ONE_PROCESS]
    assert dataflow_arguments(dataflow_arguments(GIVEN)) == dataflow_arguments(GIVEN)


def test_what_is_given_counts(monkeypatch):
    monkeypatch.setenv(IMAGE_VARIABLE, "r/p/i:1")
    given = [*GIVEN, "--sdk_container_image=mine", "--experiments=use_multiple_sdk_containers"]
    assert dataflow_arguments(given) == given


@pytest.mark.parametrize("way", ["--sdk_container_image=i", "--requirements_file=r", "--extra_package=w.whl"])
def test_workers_may_get_their_code_in_other_ways(way):
    assert dataflow_arguments([*GIVEN, way]) == [*GIVEN, way, ONE_PROCESS]


def test_workers_without_code_are_refused_before_they_cost_anything():
    with pytest.raises(ConfigurationError, match="workers without Millstream: name an image"):
        dataflow_arguments(GIVEN)


@pytest.mark.parametrize("parent", [True, False])
def test_google_s_libraries_are_an_extra(parent, monkeypatch):
    def absent(name):
        if not parent:
            raise ModuleNotFoundError(name=name)

    monkeypatch.setattr(runner_options, "find_spec", absent)
    with pytest.raises(MissingExtra, match=r"pip install 'millstream\[gcp\]'"):
        dataflow_arguments(GIVEN)
