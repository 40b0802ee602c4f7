"""The goals, as far as their cases were measured."""

from benchmarks.speed.cases import ASCII, LANGUAGES, SHARE, TIMES

__all__ = ["goals", "ours", "ratio", "share"]


def goals(results):
    """Each goal with its figure and whether it is reached."""
    found = []
    for result in results:
        case, rate = result["case"], ours(result)
        if case["goal"]:
            wanted, value = case["goal"], rate["records_per_second"]
            found.append((f"{result['name']}: {wanted:,.0f} records/s", value, wanted, f"{value:,.0f}"))
        if case["texts"] in LANGUAGES:
            value = share(result)
            text = f"{case['texts']}: a third of the bytes/s of ASCII sentences"
            found.append((text, value, SHARE, f"{value:.2f}"))
        if case["group"] == "tokenizers":
            value = ratio(result)
            found.append((f"{result['name']}: {TIMES} times model2vec", value, TIMES, f"{value:.1f}"))
    return [
        {"goal": text, "value": value, "wanted": wanted, "reached": value >= wanted, "shown": shown}
        for text, value, wanted, shown in found
    ]


def share(result):
    """Ours' bytes a second of a language's texts, over those of ASCII."""
    return ours(result)["mb_per_second"] / result["systems"][ASCII]["mb_per_second"]


def ours(result):
    return result["systems"]["millstream"]


def ratio(result, name="millstream"):
    """How many times as fast as model2vec a system is."""
    peer = next(run for system, run in result["systems"].items() if system.startswith("model2vec"))
    return result["systems"][name]["records_per_second"] / peer["records_per_second"]
