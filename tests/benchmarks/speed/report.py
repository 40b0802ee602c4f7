"""The results as Markdown tables."""

from benchmarks.speed.cases import ASCII
from benchmarks.speed.goals import ours, ratio, share

__all__ = ["report"]

_SYSTEMS = "| system | does | records/s | best | MB/s | ns/token | x model2vec | texts with equal ids |"
_VARIED = (
    "| texts, table | bytes, tokens a text | records/s | MB/s | ns/token | model2vec | x model2vec "
    "| x MB/s of ASCII |"
)


def report(found):
    """All tables, the goals, and the machine and versions that the figures belong to."""
    results = found["cases"]
    lines = []
    for result in results:
        if result["case"]["group"] == "main":
            lines += every_system(result)
    varied = [result for result in results if result["case"]["group"] != "main"]
    if varied:
        lines += ["", _VARIED, "|---|" + "---:|" * 7, *map(variation, varied)]
    lines += ["", "| goal | measured | |", "|---|---:|---|"]
    for goal in found["goals"]:
        lines.append(
            f"| {goal['goal']} | {goal['shown']} | {'reached' if goal['reached'] else '**missed**'} |"
        )
    versions = ", ".join(f"{name} {number}" for name, number in found["versions"].items())
    lines += ["", f"{found['machine']}; {versions}; {found['date']}; {found['method']}"]
    return "\n".join(lines)


def every_system(result):
    size = f"{result['bytes_per_text']:.0f} bytes and {result['tokens_per_text']:.0f} tokens a text"
    lines = ["", f"**{result['name']}**: {size}", "", _SYSTEMS, "|---|---|" + "---:|" * 6]
    for name, run in result["systems"].items():
        if run["skipped"]:
            lines.append(f"| {name} | {run['does']}; {run['skipped']} | | | | | | |")
            continue
        same = f"{run['same_ids']:.2%}" if "same_ids" in run else ""
        lines.append(
            f"| {name} | {run['does']} | {run['records_per_second']:,.0f} | {run['best']:,.0f} | "
            f"{run['mb_per_second']:.1f} | {run['ns_per_token']:,.1f} | {ratio(result, name):.1f} | {same} |"
        )
    return lines


def variation(result):
    run = ours(result)
    beside = f"{share(result):.2f}" if ASCII in result["systems"] else ""
    peer = run["records_per_second"] / ratio(result)
    return (
        f"| {result['name']} | {result['bytes_per_text']:,.0f}, {result['tokens_per_text']:,.0f} | "
        f"{run['records_per_second']:,.0f} | {run['mb_per_second']:.1f} | {run['ns_per_token']:,.1f} | "
        f"{peer:,.0f} | {ratio(result):.1f} | {beside} |"
    )
