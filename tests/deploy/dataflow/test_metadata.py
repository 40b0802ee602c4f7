"""What the Flex Templates say of their parameters: by Google's rules, and what the launcher takes."""

import json
import re
import tomllib
from pathlib import Path
from typing import Literal, get_args, get_origin, get_type_hints

import pytest
import typer.main
from apache_beam.options.pipeline_options import PipelineOptions

from pipelines.cli.app import app
from pipelines.cli.backfill import backfill
from pipelines.cli.stream.command import stream
from pipelines.cli.trust import verifying

ROOT = Path(__file__).parents[3]
FOLDER = ROOT / "deploy/dataflow"
TEMPLATES = {name: json.loads((FOLDER / f"{name}.json").read_text()) for name in ("backfill", "stream")}
PARAMETERS = [(name, one) for name, template in TEMPLATES.items() for one in template["parameters"]]
NAMES = {f"{name}-{one['name']}": (name, one) for name, one in PARAMETERS}

# The fields of TemplateMetadata and ParameterMetadata of the Dataflow API, v1b3.
TEMPLATE_FIELDS = {
    *("name", "description", "parameters", "streaming"),
    *("supportsAtLeastOnce", "supportsExactlyOnce", "defaultStreamingMode"),
}
FIELDS = {
    *("name", "label", "helpText", "isOptional", "regexes", "paramType", "customMetadata", "groupName"),
    *("parentName", "parentTriggerValues", "enumOptions", "defaultValue", "hiddenUi"),
}
KINDS = {"TEXT", "NUMBER", "ENUM", "BOOLEAN", "GCS_READ_FILE", "GCS_WRITE_FOLDER"}  # those of the API in use

TIMES = ("window", "lateness", "out_of_orderness", "max_ahead", "idle", "every", "drift_window")
GOOD = {
    "model": ["gs://b/models/minilm@7", "s3://b/m@latest", "gs://b/m@sha256:0123456789ab"],
    "input": ["gs://b/events/*.parquet", "s3://b/events"],
    "stream-input": ["kafka:events", "files:gs://b/in/*.jsonl", "pubsub:projects/p-1/subscriptions/events"],
    "output": ["gs://b/vectors"],
    "stream-output": ["parquet:gs://b/vectors", "kafka:vectors", "pubsub:projects/p-1/topics/vectors"],
    "text": ["message", "{merchant} in {city}: {user.name}"],
    "keep": ["id", "id,merchant"],
    "vectors": ["list", "binary"],
    "dtype": ["float32", "float16", "int8"],
    "heads": ["fraud", "fraud,novelty", "none"],
    "mask": ["ip", "ip,number", "ip\norder=ORD-[0-9]{2,5} x"],
    "mask_fields": ["note", "note,user.card"],
    "partition_by": ["day(at)", "day(at),country"],
    "input_format": ["parquet", "jsonl", "csv", "text"],
    "rows_per_file": ["1", "65536"],
    "sdk_container_image": ["europe-docker.pkg.dev/p/r/millstream:1", f"gcr.io/p/i@sha256:{'0' * 64}"],
    "number_of_worker_harness_threads": ["4"],
    "brokers": ["kafka:9092", "a.b.c:9092,10.0.0.1:9093"],
    "property": ["sasl.username=me", "sasl.username=me\nsasl.password=@/run/secret"],
    "event_time": ["at", "meta.time"],
    "time": ["30s", "5m", "1h", "1.5h"],
    "shards": ["1", "16"],
    "readers": ["1", "16"],
    "follow": ["latest"],
    "sample": ["gs://b/sample.jsonl"],
    "attributes": ["merchant", "merchant,city"],
    "time_attribute": ["at"],
    "id_attribute": ["id"],
    "drift_records": ["100", "5000"],
    "drift_output": ["files:gs://b/drift"],
    "output_format": ["json", "msgpack", "arrow"],
    "key": ["id", "{merchant}/{id}"],
    "delimiter": [";", "|", "tab", "\\x01"],
    "quote": ["'", '"', "none"],
    "escape": ["\\", "none"],
    "encoding": ["utf-16", "cp1252"],
    "strict": ["true", "false"],
    "tombstones": ["pass", "drop", "dead-letter"],
    "delete_columns": ["true", "false"],
    "accept_new_input": ["true", "false"],
    "dead_letters": ["kafka:dead", "files:gs://b/dead", "pubsub:projects/p-1/topics/dead"],
    "trust": ["/keys/release.pub", "/keys/a.pub\n/keys/b.pub"],
    "trust_policy": ["require", "warn"],
}
BAD = {
    "model": ["minilm@7", "gs://b/models/minilm", "gs://b/m@0", "gs://b/m@newest"],
    "input": ["/local/file", "events"],
    "stream-input": ["kafka:", "files:/local", "gs://b/in", "pubsub:events", "pubsub:projects/p/topics/t"],
    "output": ["vectors", "/tmp/x"],
    "stream-output": ["gs://b/vectors", "parquet:/tmp", "pubsub:projects/p/subscriptions/s"],
    "text": ["", "  "],
    "keep": [",", "id,"],
    "vectors": ["lists"],
    "dtype": ["float64"],
    "heads": [",", "fraud,", "a head"],
    "mask": ["", " ip"],
    "mask_fields": [",", "note,", "a note"],
    "partition_by": [",", "day(at),", "day at"],
    "input_format": ["avro"],
    "rows_per_file": ["0", "-1", "1e6"],
    "sdk_container_image": ["millstream", "https://x/y"],
    "number_of_worker_harness_threads": ["0", "x"],
    "brokers": ["kafka", "kafka:9092,"],
    "property": ["sasl.username", "a=1\nb"],
    "event_time": ["a field"],
    "time": ["soon", "5 minutes", "m"],
    "shards": ["0", "many"],
    "readers": ["0", "many"],
    "follow": ["7"],
    "sample": ["sample.jsonl"],
    "attributes": [",", "a,"],
    "time_attribute": ["a name"],
    "id_attribute": [""],
    "drift_records": ["10", "many"],
    "drift_output": ["topic:drift", "files:/tmp/drift"],
    "output_format": ["avro"],
    "key": ["", " "],
    "delimiter": ["", "ab"],
    "quote": ["", "both"],
    "escape": ["", "backslash"],
    "encoding": ["", "utf 8"],
    "strict": ["yes", ""],
    "tombstones": ["keep"],
    "delete_columns": ["1"],
    "accept_new_input": ["1"],
    "dead_letters": ["dead", "parquet:gs://b/dead"],
    "trust": ["", "release.pub", "gs://b/release.pub"],
    "trust_policy": ["trust", ""],
}


def options(command):
    group = typer.main.get_command(app)
    found = group.commands[command].params
    return {flag: option for option in found for flag in option.opts if flag.startswith("--")}


def choices(command, option):
    """The values that an option takes, where they are few."""
    hint = get_type_hints(verifying({"backfill": backfill, "stream": stream}[command]))[option.name]
    return [
        value for kind in (hint, *get_args(hint)) if get_origin(kind) is Literal for value in get_args(kind)
    ]


def examples(book, template, parameter):
    name = "time" if parameter["name"] in TIMES else parameter["name"]
    return book.get(f"{template}-{name}") or book[name]


@pytest.mark.parametrize("name", TEMPLATES)
def test_a_template_has_the_fields_of_the_api(name):
    template = TEMPLATES[name]
    assert set(template) <= TEMPLATE_FIELDS
    assert template["name"]
    assert template["description"]
    assert len({one["name"] for one in template["parameters"]}) == len(template["parameters"])
    assert template["streaming"] == (name == "stream")
    if "defaultStreamingMode" in template:  # valid only where there is a choice
        assert template["supportsAtLeastOnce"]
        assert template["supportsExactlyOnce"]
        assert template["defaultStreamingMode"] in ("EXACTLY_ONCE", "AT_LEAST_ONCE")


@pytest.mark.parametrize("case", NAMES)
def test_a_parameter_has_the_fields_of_the_api(case):
    _, parameter = NAMES[case]
    assert set(parameter) <= FIELDS
    assert re.fullmatch(r"[a-z][a-z0-9_]*", parameter["name"])
    for field in ("label", "helpText"):
        assert parameter[field].strip() == parameter[field] != ""
    assert parameter["paramType"] in KINDS
    assert ("enumOptions" in parameter) == (parameter["paramType"] == "ENUM")
    assert parameter["isOptional"] or "defaultValue" not in parameter


@pytest.mark.parametrize("case", NAMES)
def test_a_parameter_s_regexes_tell_good_from_bad(case):
    template, parameter = NAMES[case]

    def taken(value):
        return all(re.fullmatch(regex, value) for regex in parameter["regexes"])

    assert all(taken(value) for value in examples(GOOD, template, parameter))
    assert not [value for value in examples(BAD, template, parameter) if taken(value)]
    if "defaultValue" in parameter:
        assert taken(parameter["defaultValue"])
    for option in parameter.get("enumOptions", []):
        assert taken(option["value"])


@pytest.mark.parametrize("case", NAMES)
def test_the_launcher_takes_every_parameter(case):
    template, parameter = NAMES[case]
    option = options(template).get("--" + parameter["name"].replace("_", "-"))
    if option is None:  # Beam's
        value = examples(GOOD, template, parameter)[0]
        parsed = PipelineOptions([f"--{parameter['name']}={value}"]).get_all_options()
        assert str(parsed[parameter["name"]]) == value
        return
    assert parameter["isOptional"] == (not option.required)
    if "defaultValue" in parameter:
        assert parameter["defaultValue"] == str(option.default)
    assert [one["value"] for one in parameter.get("enumOptions", [])] == choices(template, option)


@pytest.mark.parametrize("name", TEMPLATES)
def test_every_flag_that_is_of_use_there_is_a_parameter(name):
    named = {"--" + one["name"].replace("_", "-") for one in TEMPLATES[name]["parameters"]}
    # Of a local runner, of a terminal, of the machine that the launcher runs on.
    of_no_use = {"--workers", "--json", "--detach", "--stop-at-end", "--cache-size"}
    assert set(options(name)) - of_no_use <= named
    assert {flag for flag, option in options(name).items() if option.required} <= named


def test_the_image_has_the_versions_that_jobs_are_submitted_with():
    text = (FOLDER / "Dockerfile").read_text()
    pinned = dict(line.split("==") for line in (ROOT / "constraints.txt").read_text().split() if "==" in line)
    assert re.search(r"^ARG BEAM=(.*)$", text, re.MULTILINE)[1] == pinned["apache-beam"]
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = re.search(r"millstream-\*\.whl\)\[([a-z,]+)\]", text)[1].split(",")
    assert set(extras) <= set(project["optional-dependencies"])
    needs = [need for extra in extras for need in project["optional-dependencies"][extra]]
    assert not [need for need in needs if need.startswith(("torch", "millstream"))]
    assert re.search(r"^ENTRYPOINT (.*)$", text, re.MULTILINE)[1] == '["/opt/apache/beam/boot"]'
    for copied in re.findall(r"^COPY (?!--from)(.+) \S+$", text, re.MULTILINE):
        for path in copied.replace("${TEMPLATE}", "stream").split():
            assert (ROOT / path).exists(), path


def test_the_commands_of_the_page_name_what_there_is():
    page = (ROOT / "docs/how-to/dataflow.md").read_text()
    for run in re.findall(r"gcloud dataflow flex-template run (?:.*\\\n)+.*", page):
        template = re.search(r"millstream-(\w+)\.json", run)[1]
        given = dict(
            one.split("=", 1)
            for words in re.findall(r"--parameters=(.*?)(?: \\)?$", run, re.MULTILINE)
            for one in words.split(",")
        )
        known = {one["name"]: one for one in TEMPLATES[template]["parameters"]}
        assert set(given) <= set(known)
        assert {name for name, one in known.items() if not one["isOptional"]} <= set(given)
        for name, value in given.items():
            plain = value.replace("$BUCKET", "my-bucket").strip("'")
            assert all(re.fullmatch(regex, plain) for regex in known[name]["regexes"]), (name, plain)
    [command] = re.findall(r"^millstream backfill (.*?)-- ", page, re.MULTILINE | re.DOTALL)
    assert set(re.findall(r"--[a-z-]+", command)) <= set(options("backfill"))
