"""What a billion records cost, and how rates grow with cores: a model of measured rates and list prices.

    python deploy/cost/cost.py [--rates rates.json] [--prices prices.toml] [--draw ../../docs/notes/scale.svg]
        [--cores 1 2 4 ...]

It prints a table, and draws. The rates are those of `tests/benchmarks/scale.py`.

- Cores of one machine share its memory: `n` of them do `n r / (1 + s (n - 1))` records a second, where one
  does `r` and `s` is such that two do what was measured (Amdahl's law; s is the part that does not run side
  by side). Machines share nothing, since a record's text, vector and file are of one worker's making.
- A rate ends where the machines' network, the store's bytes or the store's new objects end.
- A billion records cost the machines for as long as they take, and what goes through a shuffle by the
  gigabyte.
"""

import argparse
import json
import tomllib
from dataclasses import dataclass
from math import ceil, inf
from pathlib import Path
from typing import Any

__all__ = ["Offer", "Rates", "table"]

HERE = Path(__file__).parent
CORES = (1, 2, 4, 8, 16, 32, 64, 128, 256)
BILLION = 10**9
_FILE_ROWS = 65_536  # records of a file, by default
_BYTES_PER_GBIT = 1e9 / 8


@dataclass(frozen=True)
class Rates:
    """What was measured of one way to run a backfill.

    Attributes:
        one, two: records a second on one core and on two.
        bytes_in, bytes_out: of a record, in its files.
    """

    one: float
    two: float
    bytes_in: float
    bytes_out: float

    @property
    def serial(self) -> float:
        """The part of a record's time in which a machine's other cores wait; not below 0."""
        return max(0.0, 2 * self.one / self.two - 1)

    def machine(self, cores: int) -> float:
        """Records a second of so many cores of one machine, by Amdahl's law."""
        return cores * self.one / (1 + self.serial * (cores - 1))


@dataclass(frozen=True)
class Offer:
    """Machines at a price; the fields are those of `prices.toml`."""

    name: str
    rates: str
    machine_cores: int
    core_hour: float
    gbit_per_core: float
    gbit_most: float
    machines_most: float = inf
    fixed_hour: float = 0.0
    shuffle_gb: float = 0.0
    shuffles: bool = False

    def machines(self, cores: int) -> tuple[int, int]:
        """How many machines so many cores are, and the cores of each."""
        return ceil(cores / self.machine_cores), min(cores, self.machine_cores)

    def limits(self, cores: int, rates: Rates, store: dict[str, float]) -> dict[str, float]:
        """Records a second that the cores, the network and the store allow, by name.

        Args:
            cores: of all machines together; whole machines beyond the first.
            rates: what was measured.
            store: `store_writes_per_second` and `store_gbit_per_second`.
        """
        machines, each = self.machines(cores)
        stored = max(rates.bytes_in, rates.bytes_out)  # the larger way
        moved = stored + (rates.bytes_in if self.shuffles else 0)
        network = machines * min(self.gbit_most, self.gbit_per_core * each) * _BYTES_PER_GBIT
        return {
            "cores": machines * rates.machine(each),
            "network": network / moved,
            "store's bytes": store["store_gbit_per_second"] * _BYTES_PER_GBIT / stored,
            "store's objects": store["store_writes_per_second"] * _FILE_ROWS,
        }

    def billion(self, cores: int, rate: float, bytes_in: float) -> tuple[float, float]:
        """What a billion records cost in machines and in the shuffle, at a rate on so many cores."""
        machines, each = self.machines(cores)
        hours = BILLION / rate / 3600
        shuffled = self.shuffle_gb * bytes_in if self.shuffles else 0.0  # a billion bytes are a gigabyte
        return hours * (machines * each * self.core_hour + self.fixed_hour), shuffled


def load(rates: Path, prices: Path) -> tuple[dict[str, Rates], list[Offer], dict[str, float]]:
    """The measured rates by way, the offers, and the store's limits."""
    found = json.loads(rates.read_text("utf-8"))
    sizes = found["bytes_in"], found["bytes_out"]
    known = {way: Rates(of["1"], of["2"], *sizes) for way, of in found["records_per_second"].items()}
    asked = tomllib.loads(prices.read_text("utf-8"))
    offers = [Offer(**one) for one in asked.pop("offers")]
    if unknown := {offer.rates for offer in offers} - known.keys():
        names = ", ".join(sorted(unknown))
        raise SystemExit(f"{rates} has no rates of {names}: measure them, or leave the offer out")
    return known, offers, asked


def table(
    rates: dict[str, Rates], offers: list[Offer], store: dict[str, float], cores: tuple[int, ...] = CORES
) -> list[dict[str, Any]]:
    """A row for each offer and number of cores: its rate, what ends it, and what a billion records cost."""
    rows = []
    for offer in offers:
        known = rates[offer.rates]
        for n in cores:
            if offer.machines(n)[0] > offer.machines_most:
                continue
            limits = offer.limits(n, known, store)
            end = min(limits, key=lambda name: limits[name])
            machines, shuffle = offer.billion(n, limits[end], known.bytes_in)
            row = {"offer": offer.name, "cores": n, "rate": limits[end], "limit": end}
            rows.append(row | {"machines": machines, "shuffle": shuffle, "billion": machines + shuffle})
    return rows


def markdown(rows: list[dict[str, Any]]) -> str:
    """The rows as a table of Markdown."""
    lines = ["| on | cores | M records/s | ends at | a billion takes | costs, $ | of it shuffle |"]
    lines.append("| --- | ---: | ---: | --- | ---: | ---: | ---: |")
    for row in rows:
        minutes = BILLION / row["rate"] / 60
        time = f"{minutes / 60:.1f} h" if minutes >= 100 else f"{minutes:.1f} min"
        cells = (row["offer"], row["cores"], f"{row['rate'] / 1e6:.2f}", row["limit"], time)
        money = (f"{row['billion']:.2f}", f"{row['shuffle']:.2f}" if row["shuffle"] else "")
        lines.append("| " + " | ".join(map(str, (*cells, *money))) + " |")
    return "\n".join(lines)


def draw(rows: list[dict[str, Any]], file: Path) -> None:
    """Draw rates and costs against cores, without a background of its own."""
    import matplotlib as mpl
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    ink = "#767676"  # readable on white and on black
    colours = ("text.color", "axes.edgecolor", "axes.labelcolor", "xtick.color", "ytick.color")
    with mpl.rc_context({**dict.fromkeys(colours, ink), "font.size": 10, "svg.hashsalt": "millstream"}):
        figure = Figure(figsize=(9, 3.8), layout="constrained")
        FigureCanvasAgg(figure)
        units = {"rate": "records a second", "billion": "$ a billion records"}
        for panel, (key, unit) in zip(figure.subplots(1, 2), units.items(), strict=True):
            for name in dict.fromkeys(row["offer"] for row in rows):
                mine = [row for row in rows if row["offer"] == name]
                panel.plot(
                    [row["cores"] for row in mine], [row[key] for row in mine], marker="o", ms=3, label=name
                )
            panel.set_xscale("log", base=2)
            panel.set_yscale("log")
            panel.set_xticks(ticks := sorted({row["cores"] for row in rows}), list(map(str, ticks)))
            panel.set_xlabel("cores")
            panel.set_title(unit, loc="left", fontsize=11, fontweight="bold")
            panel.spines[["top", "right"]].set_visible(False)
        figure.legend(
            *figure.axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=4, frameon=False
        )
        file.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(file, transparent=True, metadata={"Date": None} if file.suffix == ".svg" else None)


def main() -> None:
    """Print the table, and draw."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rates", type=Path, default=HERE / "rates.json")
    parser.add_argument("--prices", type=Path, default=HERE / "prices.toml")
    parser.add_argument("--cores", type=int, nargs="+", default=CORES)
    parser.add_argument("--draw", type=Path, help="a file: .svg, .png or .pdf")
    options = parser.parse_args()
    rows = table(*load(options.rates, options.prices), tuple(options.cores))
    print(markdown(rows))
    if options.draw:
        draw(rows, options.draw)


if __name__ == "__main__":
    main()
