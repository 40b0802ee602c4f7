"""The demonstration page's records and vectors, in Node."""

import json
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

BROWSER = Path(__file__).parents[2] / "deploy" / "browser"

pytestmark = pytest.mark.skipif(not shutil.which("node"), reason="needs Node.js (Debian: nodejs)")


def call(module, expression, *arguments):
    """The value of an expression of JavaScript that uses a module and arguments; or its error."""
    code = f"""import * as module from "{(BROWSER / module).as_uri()}";
    const args = JSON.parse(process.argv[1]);
    const run = () => {expression};
    try {{ console.log(JSON.stringify({{ value: run() }})); }}
    catch (error) {{ console.log(JSON.stringify({{ error: error.message }})); }}"""
    command = ["node", "--input-type=module", "-e", code, json.dumps(arguments)]
    return json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


@pytest.mark.parametrize(
    ("name", "text", "rows"),
    [
        ("a.csv", "id,text\n1,hello\n2,bye", [{"id": "1", "text": "hello"}, {"id": "2", "text": "bye"}]),
        ("a.csv", '\ufeffid;text\r\n1;"a; ""b""\nc"\r\n', [{"id": "1", "text": 'a; "b"\nc'}]),
        ("a.tsv", "id\ttext\n1\ta,b\n\n2\n", [{"id": "1", "text": "a,b"}, {"id": "2", "text": None}]),
        ("a.jsonl", '{"a": {"b": "x"}, "c": 1}\n\n{"a": null}\n', [{"a.b": "x", "c": 1}, {"a": None}]),
        ("a.json", '[{"a": "x"}, "y"]', [{"a": "x"}, {"text": "y"}]),
        ("a.log", "one\r\ntwo\n", [{"text": "one"}, {"text": "two"}]),
    ],
)
def test_records_of_all_formats_are_read(name, text, rows):
    assert call("records.js", "module.records(...args)", text, name) == {"value": rows}


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("a.csv", 'id,text\n1,"a" b\n', "row 2 has text behind a quoted field"),
        ("a.jsonl", '{"a": 1}\n{"a": \n', "record 2 is not JSON"),
    ],
)
def test_records_that_cannot_be_read_are_named(name, text, message):
    assert message in call("records.js", "module.records(...args)", text, name)["error"]


def test_the_field_with_the_longest_texts_comes_first():
    rows = [{"id": "1", "text": "a long text", "n": 3}, {"id": "2", "text": "another", "n": 4}]
    assert call("records.js", "module.textFields(...args)", rows) == {"value": ["text", "id"]}
    assert "no record has a text" in call("records.js", "module.textFields(...args)", [{"n": 1}])["error"]


def test_the_axes_are_those_of_the_greatest_variance():
    random = np.random.default_rng(0)
    vectors = random.standard_normal((300, 6)) * [9, 1, 4, 0.1, 0.1, 0.1]
    axes = call(
        "vectors.js", "module.components(args[0], 6).map((axis) => [...axis])", vectors.ravel().tolist()
    )
    mixed = np.abs(np.array(axes["value"]))
    np.testing.assert_allclose(mixed[:, [0, 2]], np.eye(2), atol=0.1)


def test_texts_of_two_kinds_are_two_groups_with_telling_names():
    texts = ["the card was declined"] * 5 + ["the password is wrong"] * 7
    vectors = [1, 0] * 5 + [0, 1] * 7
    found = call("vectors.js", "module.groups(args[0], 2, args[1], 2)", vectors, texts)["value"]
    assert found["assigned"] == [1] * 5 + [0] * 7
    assert [group["size"] for group in found["names"]] == [7, 5]
    assert "password" in found["names"][0]["words"]
    assert "the" not in found["names"][0]["words"] + found["names"][1]["words"]
