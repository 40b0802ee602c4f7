"""A picture of the main cases: records a second of all systems, on a logarithmic scale."""

__all__ = ["plot"]

_INK = "#767676"  # readable on white and on black
_COLOURS = {"millstream": "#e8590c", "millstream, a part": "#f2b38c", "whole": "#4c8dd6", "part": "#9aa5b1"}


def plot(found, file):
    """Draw bars into a file (SVG, PNG, PDF, by its suffix), without a background of its own."""
    import matplotlib as mpl
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.patches import Patch

    results = [result for result in found["cases"] if result["case"]["group"] == "main"]
    if not results:
        raise SystemExit("a plot shows the main cases: measure them too (--cases main,...)")
    ink = dict.fromkeys(
        ("text.color", "axes.edgecolor", "axes.labelcolor", "xtick.color", "ytick.color"), _INK
    )
    with mpl.rc_context({**ink, "font.size": 10, "svg.hashsalt": "millstream"}):
        figure = Figure(figsize=(9, 0.6 + 0.4 * sum(2 + len(bars(r)) for r in results)), layout="constrained")
        FigureCanvasAgg(figure)
        heights = [len(bars(result)) for result in results]
        panels = figure.subplots(len(results), 1, sharex=True, squeeze=False, height_ratios=heights)[:, 0]
        for panel, result in zip(panels, results, strict=True):
            draw(panel, result)
        panels[-1].set_xlabel("records a second on one core (logarithmic)")
        kinds = {
            "Millstream": "millstream",
            "Millstream, a part": "millstream, a part",
            "others, whole": "whole",
            "others, a part of the work": "part",
        }
        patches = [Patch(color=_COLOURS[kind], label=label) for label, kind in kinds.items()]
        figure.legend(handles=patches, loc="outside upper right", ncols=4, frameon=False)
        figure.savefig(file, transparent=True, dpi=150)


def bars(result):
    measured = [(name, run) for name, run in result["systems"].items() if not run["skipped"]]
    return sorted(measured, key=lambda bar: bar[1]["records_per_second"])


def draw(panel, result):
    ordered = bars(result)
    rates = [run["records_per_second"] for _, run in ordered]
    drawn = panel.barh(range(len(ordered)), rates, color=[_COLOURS[kind(*bar)] for bar in ordered])
    panel.bar_label(drawn, [amount(rate) for rate in rates], padding=4)
    labels = [name if run["does"].startswith("whole") else f"{name}: {short(run)}" for name, run in ordered]
    panel.set_yticks(range(len(ordered)), labels)
    panel.set_xscale("log")
    panel.set_xlim(min(rates) / 3, max(rates) * 3)
    panel.spines[["top", "right"]].set_visible(False)
    panel.tick_params(axis="y", length=0)
    size = f"{result['bytes_per_text']:.0f} bytes, {result['tokens_per_text']:.0f} tokens"
    case = result["case"]
    title = f"{case['texts']} ({size}), {case['dim']} dimensions, {case['dtype']}"
    panel.set_title(title, loc="left", fontsize=11, fontweight="bold")


def kind(name, run):
    if name.startswith("millstream"):
        return "millstream" if run["does"] == "whole" else "millstream, a part"
    return "whole" if run["does"].startswith("whole") else "part"


def short(run):
    return run["does"].partition(",")[0]


def amount(rate):
    return f"{rate / 1e6:.2f} M" if rate >= 1e6 else f"{rate / 1e3:.0f} k" if rate >= 1e3 else f"{rate:.0f}"
