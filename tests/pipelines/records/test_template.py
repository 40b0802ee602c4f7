"""Which text of a record is embedded."""

import json
import pickle

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from encoder.errors import TemplateError
from pipelines.records.template import TextTemplate

BATCH = pa.RecordBatch.from_pylist(
    [
        {
            "message": "hi",
            "n": 12,
            "user": {"name": "Ann", "age": 1.5},
            "a.b": "dotted",
            "a": {"b": "nested"},
        },
        {"message": None, "n": None, "user": None, "a.b": None, "a": None},
        {"message": "", "n": -1, "user": {"name": None, "age": 2.0}, "a.b": "x", "a": {"b": None}},
    ],
    pa.schema(
        [
            ("message", pa.string()),
            ("n", pa.int64()),
            ("user", pa.struct([("name", pa.string()), ("age", pa.float64())])),
            ("a.b", pa.string()),
            ("a", pa.struct([("b", pa.string())])),
        ]
    ),
)


@pytest.mark.parametrize(
    ("text", "texts"),
    [
        ("message", ["hi", None, ""]),
        ("user.name", ["Ann", None, None]),
        ("{message}", ["hi", None, ""]),
        ("n", ["12", None, "-1"]),
        ("a.b", ["dotted", None, "x"]),
        ("{user.name} ({user.age}): {message}", ["Ann (1.5): hi", None, " (2): "]),
        ("{{{n}}} {{}}", ["{12} {}", None, "{-1} {}"]),
        ("{n}{n}", ["1212", None, "-1-1"]),
        ("{gone} {n}", [" 12", None, " -1"]),
        ("gone", [None, None, None]),
        ("user", ['{"name":"Ann","age":1.5}', None, '{"name":null,"age":2}']),
    ],
)
def test_a_template_is_filled_from_columns(text, texts):
    assert TextTemplate.parse(text).apply(BATCH).to_pylist() == texts
    assert TextTemplate.parse(text).apply(BATCH.slice(1)).to_pylist() == texts[1:]


def test_fields_and_columns_are_named_once_in_order():
    template = TextTemplate.parse("{b.c} {a} {b.d} {a}")
    assert template.fields == ("b.c", "a", "b.d")
    assert template.columns == ("b", "a")


def test_a_template_can_be_pickled_and_not_changed():
    template = TextTemplate.parse("{a}: {b}")
    assert pickle.loads(pickle.dumps(template)) == template
    with pytest.raises(AttributeError):
        template.source = "x"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is empty: name a column"),
        ("  ", "is empty: name a column"),
        ("a {", r"character 3: unmatched '\{': close it with '\}', or write \{\{"),
        ("{a} }", r"character 5: unmatched '\}': write \}\}"),
        ("{a{b}}", r"character 1: unmatched '\{'"),
        ("x {}", r"character 3: '\{\}' names no field"),
        ("{{a}}", "names no field: write one in braces"),
    ],
)
def test_errors_say_where_and_the_way_out(text, message):
    with pytest.raises(TemplateError, match=message):
        TextTemplate.parse(text)


@pytest.mark.parametrize("kind", [pa.string(), pa.large_string()])
def test_one_string_column_is_not_copied(kind):
    column = pa.array(["a", "b", None], kind)
    text = TextTemplate.parse("x").apply(pa.RecordBatch.from_arrays([column], ["x"]))
    assert text.type == kind
    assert text.buffers()[2].address == column.buffers()[2].address


@pytest.mark.parametrize(
    "column",
    [pa.array(["a", None, "a"]).dictionary_encode(), pa.array(["a", None, "a"], pa.string_view()),
     pa.array(["a", None, "a"], pa.large_string())],
)  # fmt: skip
def test_every_kind_of_string_column_fills_templates(column):
    batch = pa.RecordBatch.from_arrays([column, pa.array(["x", "y", "z"])], ["a", "b"])
    assert TextTemplate.parse("a").apply(batch).to_pylist() == ["a", None, "a"]
    assert TextTemplate.parse("{a}-{b}").apply(batch).to_pylist() == ["a-x", "-y", "a-z"]


@given(
    st.lists(st.fixed_dictionaries({"a": st.none() | st.text(), "b": st.none() | st.integers(-9, 9)})),
    st.text(),
)
def test_templates_give_what_plain_python_gives(rows, between):
    batch = pa.RecordBatch.from_pylist(rows, pa.schema([("a", pa.string()), ("b", pa.int64())]))
    literal = between.replace("{", "{{").replace("}", "}}")
    found = TextTemplate.parse(f"{{a}}{literal}{{b}}").apply(batch).to_pylist()
    plain = [("" if row["a"] is None else row["a"], "" if row["b"] is None else row["b"]) for row in rows]
    nothing = [row["a"] is None and row["b"] is None for row in rows]
    assert found == [None if no else f"{a}{between}{b}" for no, (a, b) in zip(nothing, plain, strict=True)]


def test_structs_are_json():
    texts = TextTemplate.parse("{user}{message}").apply(BATCH).to_pylist()
    assert json.loads(texts[0].removesuffix("hi")) == {"name": "Ann", "age": 1.5}
