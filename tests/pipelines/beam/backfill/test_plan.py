import pytest

from encoder.errors import ConfigurationError, InputError, OutputConflict, TemplateError
from pipelines.beam.backfill.plan import plan_backfill
from pipelines.enrich.enrichment import Enrichment


@pytest.fixture
def plan(tmp_path, model):
    (tmp_path / "in").mkdir()
    (tmp_path / "in/a.jsonl").write_text('{"id": 1, "text": "a", "n": {"x": 1}}\n')

    def make(pattern="in/a.jsonl", output="out", text="text", ref=model, **options):
        pattern, output = str(tmp_path / pattern), output if "://" in output else str(tmp_path / output)
        words = {name: options.pop(name) for name in ("keep", "dtype") if name in options}
        enrichment = Enrichment.parse(text, **words)
        return plan_backfill(model=str(ref), pattern=pattern, output=output, enrichment=enrichment, **options)

    return make


def test_a_plan_says_all_and_writes_nothing(plan, tmp_path):
    job = plan(text="{n.x}{text}", keep=["text", "id", "text"], dtype="int8", chunk_rows=9)
    assert job.schema.names == ["text", "id", "n"]
    assert job.enrichment.keep == ("text", "id")
    assert (job.chunk_rows, job.model.dim, job.enrichment.vectors.dtype) == (9, 16, "int8")
    assert job.output == (tmp_path / "out").as_uri()
    assert [file.path for file in job.inputs] == [str(tmp_path / "in/a.jsonl")]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in"]


@pytest.mark.parametrize(
    ("options", "error", "says"),
    [
        ({"text": "nope"}, TemplateError, "'nope'.* id, text, n"),
        ({"text": "{"}, TemplateError, "unmatched"),
        ({"keep": ["nope"]}, TemplateError, "'nope'"),
        ({"pattern": "b.jsonl"}, InputError, "no input files"),
        ({"output": "ftp://x/y"}, ConfigurationError, "unknown scheme"),
        ({"input_format": "xml"}, ConfigurationError, "unknown format 'xml'"),
    ],
)
def test_what_is_wrong_is_an_error(plan, options, error, says):
    with pytest.raises(error, match=says):
        plan(**options)


@pytest.mark.parametrize(
    ("pattern", "output", "together"),
    [
        ("in", "in", True),
        ("in/", "in/sub/out", True),
        ("in/../in", "in/sub", True),
        ("in/**", "in/sub", True),
        ("in/a.jsonl", "in", True),
        ("in", "in2", False),
        ("in", "out/in", False),
        ("in/*.jsonl", "in/out", False),
        ("in/**/*.jsonl", "in/out", False),
        ("in/a.jsonl", "in/out", False),
    ],
)
def test_inputs_and_output_lie_apart(plan, pattern, output, together):
    if together:
        with pytest.raises(OutputConflict, match="name another folder"):
            plan(pattern, output)
    else:
        assert plan(pattern, output).output.endswith(output)
