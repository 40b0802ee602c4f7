"""How many texts a second millstream.js encodes in Node and Chromium, beside Python and transformers.js.

    python tests/benchmarks/browser.py [--turns 5] [--seconds 2] [--most 20000] [--core N] [--json FILE]
        [--transformers FOLDER]

All run by turns, each on one pinned core and with one thread, with the same int8 table of 256 dimensions;
medians are shown. The goal is 100,000 texts of 10 tokens a second in Node; exit code 1 says that it was
missed.

transformers.js runs the teacher itself, as ONNX of float32. It takes part if it is there: FOLDER is one in
which `npm install @huggingface/transformers` ran, and `pip install onnx` gives what writes the ONNX.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import threading
import time
from contextlib import ExitStack
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

ROOT = Path(__file__).parents[2]
# Programs here are named like packages. This tree's packages come first, then `benchmarks` of its tests.
sys.path = [str(ROOT), *(p for p in sys.path if Path(p) != Path(__file__).parent), str(ROOT / "tests")]
os.environ["TOKENIZERS_PARALLELISM"] = "false"

from benchmarks.speed.onnx_teacher import onnx_teacher
from benchmarks.speed.tables import distilled, other_table
from benchmarks.speed.texts import load_texts
from browser import CHROMIUM, open_page

KINDS = ("10 tokens", "log lines")
GOAL = 100_000  # texts of 10 tokens a second, in Node
FEW = 64  # texts for the teacher, which is slow
PACKAGE = "node_modules/@huggingface/transformers/dist"


def rate(run, texts, seconds):
    """Texts a second."""
    run(texts)
    start, n = time.perf_counter(), 0
    while (spent := time.perf_counter() - start) < seconds:
        run(texts)
        n += len(texts)
    return n / spent


def expression(encoder, texts, seconds, address):
    """JavaScript that measures an encoder: the same in Node and in a page, with other addresses."""
    return (
        f"(async () => {{ const program = await import('{address}/program/browser.mjs');"
        f"return program.rate(await program.{encoder}, '{address}/work/{texts}', {seconds}); }})()"
    )


def in_node(code):
    """The value of JavaScript, in a process of Node."""
    command = ["node", "--no-warnings", "--input-type=module", "-e", f"console.log(await {code})"]
    return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


class Handler(SimpleHTTPRequestHandler):
    """Serves the folder with what a page needs, quietly."""

    def log_message(self, *_):
        pass


def served(folder, stack):
    """The address of a server of the folder, and a page of it in Chromium."""
    server = stack.enter_context(ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, directory=folder)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    stack.callback(server.shutdown)
    page = stack.enter_context(open_page())
    address = f"http://127.0.0.1:{server.server_port}"
    page.go(f"{address}/work/empty.html")
    return address, page


def linked(folder, **targets):
    """A folder with links to others, which Node and the page read under the same names."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, target in targets.items():
        (folder / name).unlink(missing_ok=True)
        (folder / name).symlink_to(Path(target).absolute())
    return folder


def javascript(options, work, model, stack):
    """Functions that measure by the name of what they measure, each given the file of texts and seconds."""
    peers = {}
    if options.transformers:
        peers = {"models": onnx_teacher(work / "onnx"), "npm": options.transformers}
    program = Path(__file__).parent
    site = linked(
        work / "site", work=work, program=program, module=ROOT / "deploy/browser", model=model, **peers
    )
    (work / "empty.html").write_text('<!doctype html><link rel="icon" href="data:,">', "utf-8")
    places = {"Node": (site.as_uri(), in_node)}
    if CHROMIUM:
        address, page = served(site, stack)
        places["Chromium"] = (address, page.evaluate)
    found = {}
    for place, (address, run) in places.items():
        encoders = {place: f"millstream('{address}/module/millstream.js', '{address}/model/')"}
        if peers and place == "Node":
            package = f"{address}/npm/{PACKAGE}/transformers.node.mjs"
            encoders["transformers.js, Node"] = f"transformers('{package}', '{site}/models/')"
        elif peers:
            package = f"{address}/npm/{PACKAGE}/transformers.min.js"
            wasm = f"{address}/npm/node_modules/onnxruntime-web/dist/"
            encoders[f"transformers.js, {place}"] = f"transformers('{package}', '/models/', '{wasm}')"
        for name, encoder in encoders.items():
            found[name] = lambda texts, seconds, encoder=encoder, address=address, run=run: run(
                expression(encoder, texts, seconds, address)
            )
    return found


def measure(options):
    from model2vec import StaticModel
    from tokenizers import Tokenizer

    from encoder import Encoder

    work = ROOT / "build/bench"
    work.mkdir(parents=True, exist_ok=True)
    model = str(other_table(distilled(work), work, "int8", 256))
    os.sched_setaffinity(0, {options.core})  # Node's and Chromium's processes inherit it
    texts_of = load_texts({}, Tokenizer.from_file(f"{model}/tokenizer.json"), options.most)
    python = {
        "Python": Encoder.load(model, threads=1).encode,
        "model2vec": StaticModel.from_pretrained(model).encode,
    }
    results = {}
    with ExitStack() as stack:
        programs = javascript(options, work, model, stack)
        for kind in KINDS:
            texts = texts_of[kind]
            (work / f"{kind[:2]}-all.json").write_text(json.dumps(texts), "utf-8")
            (work / f"{kind[:2]}-few.json").write_text(json.dumps(texts[:FEW]), "utf-8")
            rates = {name: [] for name in (*programs, *python)}
            for _ in range(options.turns):
                for name, run in programs.items():
                    file = "few.json" if name.startswith("transformers.js") else "all.json"
                    rates[name].append(run(f"{kind[:2]}-{file}", options.seconds))
                for name, encode in python.items():
                    rates[name].append(rate(encode, texts, options.seconds))
            results[kind] = {name: statistics.median(found) for name, found in rates.items()}
            for name, found in results[kind].items():
                print(f"{kind:10} {name:26} {found:12,.0f} texts/s", flush=True)
    return results


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--turns", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=2)
    parser.add_argument("--most", type=int, default=20_000, help="texts of a kind")
    parser.add_argument("--core", type=int, default=min(os.sched_getaffinity(0)))
    parser.add_argument("--json", type=Path)
    parser.add_argument("--transformers", type=Path, help="folder with @huggingface/transformers from npm")
    options = parser.parse_args()
    results = measure(options)
    if options.json:
        options.json.write_text(json.dumps(results, indent=2), "utf-8")
    sys.exit(results[KINDS[0]]["Node"] < GOAL)


if __name__ == "__main__":
    main()
