"""What the site takes from the code, so that it cannot drift: MkDocs calls this module for every page.

A page asks for a part with a line of its own: `<!-- generated: NAME -->`, where NAME is a key of `PARTS`.
"""

import ast
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

ROOT = Path(__file__).parents[1]
GENERATED = re.compile(r"^<!-- generated: ([\w ]+) -->$", re.MULTILINE)
_MEMBERS = {  # Beam calls the other methods of its transforms and handlers
    "pipelines": (
        "    options:",
        "      members: [resolve, load, label, with_exception_handling, with_error_handler]",
    )
}
_TYPERS_OWN = ("help", "install_completion", "show_completion")
TOP_FILES = {  # pages of the site that stand at the top of the repository
    "CONTRIBUTING.md": "contributing/index.md",
    "SECURITY.md": "contributing/security.md",
    "CHANGELOG.md": "contributing/changelog.md",
}


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages that stand at the top of the repository."""
    for name, uri in TOP_FILES.items():
        files.append(File.generated(config, uri, content=_moved((ROOT / name).read_text("utf-8"))))
    return files


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Fill the generated parts of a page in."""
    return GENERATED.sub(lambda match: "\n".join(PARTS[match[1]]()), markdown)


def _moved(text: str) -> str:
    """A page from the top of the repository, with links as they are from `docs/contributing/`."""
    for name, uri in TOP_FILES.items():
        text = text.replace(f"]({name}", f"]({uri.removeprefix('contributing/')}")
    return text.replace("](docs/contributing/", "](").replace("](docs/", "](../")


def commands() -> Iterator[str]:
    """Every command with its options, from the commands themselves."""
    import typer.main

    from pipelines.cli.app import app

    root = typer.main.get_command(app)
    with root.make_context("millstream", [], resilient_parsing=True) as context:
        yield from _command(root, context, level=2)


def _command(command: Any, context: Any, level: int) -> Iterator[str]:
    if level > 2:
        yield from (f"{'#' * (level - 1)} {context.command_path}", "", *_paragraphs(command.help))
    if not hasattr(command, "commands"):
        pieces = " ".join(command.collect_usage_pieces(context))
        yield from ("```text", f"{context.command_path} {pieces}", "```", "")
    yield from _tables(command, context, lambda names: names)
    for name, inner in getattr(command, "commands", {}).items():
        if not inner.hidden:
            yield from _command(inner, type(context)(inner, info_name=name, parent=context), level + 1)


def worker_settings() -> Iterator[str]:
    """The worker's settings, by their keys in the file."""
    import typer.main

    from pipelines.cli.app import app

    root = typer.main.get_command(app)
    with root.make_context("millstream", [], resilient_parsing=True) as parent:
        command = root.commands["worker"]
        context = type(parent)(command, info_name="worker", parent=parent)
        yield from _tables(command, context, _key, leave_out=("config",))


def _tables(
    command: Any, context: Any, shown: Callable[[str], str], leave_out: tuple[str, ...] = ()
) -> Iterator[str]:
    """A table for each group of a command's options."""
    panels: dict[str, list[str]] = {"Arguments": []}
    for parameter in command.get_params(context):
        record = parameter.get_help_record(context)
        if record is None or parameter.name in (*_TYPERS_OWN, *leave_out):
            continue
        if parameter.param_type_name == "argument":
            panel, name = "Arguments", record[0]
        else:
            panel, name = parameter.rich_help_panel or "Options", shown(record[0])
        row = f"| {_code(name)} | {_meaning(parameter, record, context)} |"
        panels.setdefault(panel, []).append(row)
    for panel, rows in panels.items():
        if rows:
            yield from (f"| {panel} | |", "| --- | --- |", *rows, "")


def _key(names: str) -> str:
    """The key in a file of an option `--pin / --no-pin` or `--brokers HOST:PORT`."""
    return names.partition(" / ")[0].removeprefix("--")


def _meaning(parameter: Any, record: tuple[str, str], context: Any) -> str:
    cell = [_cell(parameter.help or "")]
    default = re.search(r"default: (.*?)(?:; required|; x[<>]|; \d|\]$)", record[1])
    if parameter.required:
        cell.append("**Required.**")
    if default:
        cell.append(f"Default: {_code(default[1].removeprefix('(').removesuffix(')'))}.")
    if variable := _variable(parameter, context):
        cell.append(f"<br>{_code(variable)}")
    return " ".join(cell)


def _variable(parameter: Any, context: Any) -> str | None:
    """The environment variable that sets an option; where there are several, the one to use is the first."""
    if parameter.param_type_name != "option":
        return None
    if parameter.envvar:
        return str(parameter.envvar if isinstance(parameter.envvar, str) else parameter.envvar[0])
    return f"{context.auto_envvar_prefix}_{parameter.name.upper()}" if parameter.allow_from_autoenv else None


def metrics() -> Iterator[str]:
    """The worker's metrics, from the object that counts them."""
    from prometheus_client.metrics import MetricWrapperBase

    from pipelines.worker.telemetry.metrics import WorkerMetrics

    worker = WorkerMetrics()
    labels = {
        one.describe()[0].name: one._labelnames  # noqa: SLF001 - there is no other way to them
        for one in vars(worker).values()
        if isinstance(one, MetricWrapperBase)
    }
    yield from ("| metric | meaning |", "| --- | --- |")
    for family in worker.registry.collect():
        if family.name.startswith("millstream_"):
            name = f"{family.name}_total" if family.type == "counter" else family.name
            named = f"{{{','.join(labels[family.name])}}}" if labels[family.name] else ""
            yield f"| {_code(name + named)} | {family.type.capitalize()}: {_cell(family.documentation)} |"


def public_names(package: str) -> Callable[[], Iterator[str]]:
    """The names that a package exports, for mkdocstrings."""

    def part() -> Iterator[str]:
        tree = ast.parse((ROOT / package / "__init__.py").read_text("utf-8"))
        for node in tree.body:
            if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") == "__all__":
                for name in ast.literal_eval(node.value):
                    if not (ROOT / package / f"{name}.py").exists():  # modules have pages of their own
                        yield from (f"::: {package}.{name}", *_MEMBERS.get(package, ()), "")

    return part


def _paragraphs(text: str | None) -> Iterator[str]:
    """The paragraphs of a help text; those that show a command are blocks of code."""
    for paragraph in re.split(r"\n\s*\n", (text or "").strip()):
        words = " ".join(paragraph.replace("\b", "").split())
        shows_command = re.search(r"(^|\| )millstream ", words) and not words.endswith((".", ":"))
        yield from ("```text", words, "```", "") if shows_command else (words, "")


def _code(text: str) -> str:
    return f"`{text}`"


def _cell(text: str) -> str:
    """Text of the code as a cell of a table: pipes, tags and stars mean themselves."""
    return re.sub(r"([|<*_\[\]])", r"\\\1", " ".join(text.split()))


PARTS: dict[str, Callable[[], Iterator[str]]] = {
    "commands": commands,
    "worker settings": worker_settings,
    "metrics": metrics,
    **{f"python {package}": public_names(package) for package in ("encoder", "distill", "pipelines")},
}
