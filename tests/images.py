"""Builds a Dockerfile and runs its image without a container engine, on this machine as the base image.

    image = build(ROOT / "deploy/image/Dockerfile", context=ROOT, folder=tmp_path)
    process = image.start(["worker", "--config", "/etc/worker.toml"], mounts={"/etc/worker.toml": path})

Every step really runs, at its real paths: a stage is an overlay over this machine's root, in a mount
namespace of its own, with this Python at /usr/local as in Python's images. What that cannot show is what the
real base image lacks. Needs Linux and root.
"""

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

from patience import PATIENCE

__all__ = ["Image", "build", "can_build", "instructions"]

BASE_PATH = "/usr/local/bin:/usr/bin:/bin"
SECONDS = 2 * PATIENCE  # of one instruction: some install packages
_VARIABLE = re.compile(r"\$\{(\w+)\}|\$(\w+)")
_MOUNT = """\
set -e
mount -t overlay overlay -o lowerdir=/,upperdir="$UPPER",workdir="$WORK" "$ROOT"
for name in proc dev sys; do mount --rbind /$name "$ROOT/$name"; done
mount -t tmpfs tmpfs "$ROOT/tmp"
mount --bind "$PYTHON" "$ROOT/usr/local"
"""


def can_build():
    """Whether this process may mount."""
    return sys.platform == "linux" and os.geteuid() == 0 and shutil.which("unshare") is not None


def instructions(dockerfile):
    """Its instructions as (name, text), lines joined, comments left out."""
    lines = [line for line in dockerfile.read_text().splitlines() if not line.lstrip().startswith("#")]
    joined = re.sub(r"\\\n\s*", "", "\n".join(lines))
    return [tuple(line.split(maxsplit=1)) for line in joined.splitlines() if line.strip()]


@dataclass
class Image:
    """A stage: what it added to its base, and how it starts.

    Attributes:
        base: the name of the image that it was begun from.
        folder: of the overlay: `upper` holds all that the stage added.
        environment: of its processes.
        user: UID:GID.
        entrypoint: the program, as a list.
        command: its arguments if none are given, as a list.
        ports: that it exposes.
    """

    base: str
    folder: Path
    environment: dict = field(default_factory=lambda: {"PATH": BASE_PATH})
    workdir: str = "/"
    user: str = "0:0"
    entrypoint: list = field(default_factory=list)
    command: list = field(default_factory=list)
    ports: list = field(default_factory=list)

    def __post_init__(self):
        for name in ("upper", "work", "root"):
            (self.folder / name).mkdir(parents=True)

    @property
    def upper(self):
        """The folder of what the stage added; its paths are those of the image."""
        return self.folder / "upper"

    def start(self, arguments, *, environment=None, mounts=None, entrypoint=None, **options):
        """Start the image as Kubernetes does with `readOnlyRootFilesystem`, its network being this machine's.

        Args:
            arguments: of the entry point.
            environment: more of it.
            mounts: files and folders of this machine by their path in the image; None for an empty folder
                that is writable, the others are not.
            entrypoint: another program.
            options: of Popen.
        """
        script = [_MOUNT]
        for path, source in (mounts or {}).items():
            target = f'"$ROOT"{shlex.quote(path)}'
            if source is None:
                mode = f"mode=0770,uid={self.user.split(':')[0]},gid={self.user.split(':')[1]}"
                script.append(f"mkdir -p {target}\nmount -t tmpfs -o {mode} tmpfs {target}")
            else:
                kind = "mkdir -p" if Path(source).is_dir() else f"mkdir -p $(dirname {target}) && touch"
                script.append(f"{kind} {target}\nmount --bind {shlex.quote(str(source))} {target}")
                script.append(f"mount -o remount,ro,bind {target}")
        script.append('mount -o remount,ro "$ROOT/tmp"\nmount -o remount,ro "$ROOT"')
        command = [*(entrypoint or self.entrypoint), *arguments]
        return self._popen("\n".join(script), command, self.user, environment, **options)

    def run(self, arguments, **options):
        """As `start`, until the process has ended."""
        process = self.start(arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **options)
        out, err = process.communicate(timeout=SECONDS)
        return subprocess.CompletedProcess(arguments, process.returncode, out, err)

    def _popen(self, script, command, user, environment=None, **options):
        own = {"LD_LIBRARY_PATH": "/usr/local/lib", "HOME": "/root" if user == "0:0" else "/"}
        variables = {**own, **self.environment, **(environment or {})}
        words = [
            *("chroot", f"--userspec={user}", "--groups=", str(self.folder / "root")),
            *("setpriv", "--no-new-privs", "env", "-i", "-C", self.workdir),
            *(f"{key}={value}" for key, value in variables.items()),
            *command,
        ]
        places = {"UPPER": self.upper, "WORK": self.folder / "work", "ROOT": self.folder / "root"}
        return subprocess.Popen(
            [
                "unshare",
                "--mount",
                "--propagation=private",
                "sh",
                "-c",
                f"{script}\nexec {shlex.join(words)}",
            ],
            env={**os.environ, **{k: str(v) for k, v in places.items()}, "PYTHON": sys.base_prefix},
            **options,
        )

    def step(self, command, environment):
        """RUN."""
        flags = re.match(r"(?:--mount=(\S+)\s+)?(.*)", command, re.DOTALL)
        script = _MOUNT
        if flags[1]:
            options = dict(part.split("=", 1) for part in flags[1].split(","))
            assert options["type"] == "cache"
            cache = Path(os.environ.get("PIP_CACHE_DIR", "~/.cache/pip")).expanduser()
            cache.mkdir(parents=True, exist_ok=True)
            target = f'"$ROOT"{options["target"]}'
            script += f"mkdir -p {target}\nmount --bind {shlex.quote(str(cache))} {target}\n"
        process = self._popen(
            script,
            ["sh", "-c", flags[2]],
            self.user,
            {key: value for key, value in os.environ.items() if key.startswith(("PIP_", "SSL_"))}
            | environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        out, _ = process.communicate(timeout=SECONDS)
        assert process.returncode == 0, f"RUN {flags[2]}\n{out[-3000:]}"


def build(dockerfile, context, folder):
    """Run all stages of a Dockerfile; the last one."""
    stages, names = [], {}
    known, arguments = {}, {}  # ARG before the first FROM, and those of the stage
    for name, text in instructions(dockerfile):
        if name == "ARG":
            key, _, value = text.partition("=")
            (arguments if stages else known)[key] = value or known[key]
        elif name == "FROM":
            base, _, stage = _filled(text, known).partition(" AS ")
            stages.append(Image(base, folder / f"stage{len(stages)}"))
            names[stage], arguments = stages[-1], {}
        elif name == "COPY":
            _copy(text.split(), stages[-1], context, names)
        elif name == "RUN":
            stages[-1].step(text, arguments)
        else:
            _set(stages[-1], name, _filled(text, arguments | stages[-1].environment))
    return stages[-1]


def _filled(text, variables):
    """With the variables of ARG and ENV."""
    return _VARIABLE.sub(lambda found: variables.get(found[1] or found[2], ""), text)


def _set(image, name, text):
    """An instruction that runs nothing."""
    if name == "ENV":
        image.environment |= dict(pair.split("=", 1) for pair in shlex.split(text))
    elif name == "WORKDIR":
        image.workdir = text
        (image.upper / text.lstrip("/")).mkdir(parents=True, exist_ok=True)
    elif name == "USER":
        image.user = text
    elif name == "EXPOSE":
        image.ports += map(int, text.split())
    elif name in ("ENTRYPOINT", "CMD"):
        setattr(image, {"ENTRYPOINT": "entrypoint", "CMD": "command"}[name], json.loads(text))
    else:
        raise ValueError(f"what does {name} do?")


def _copy(words, image, context, names):
    """Copy from the context; what comes from another stage is linked, since nobody changes it."""
    *sources, target = words
    origin, copy, ignored = context, shutil.copy2, shutil.ignore_patterns("__pycache__")
    if sources[0].startswith("--from="):
        origin, copy, ignored = names[sources.pop(0).removeprefix("--from=")].upper, os.link, None
    to = image.upper / str(Path(image.workdir) / target).lstrip("/")
    for source in sources:
        path = origin / source.lstrip("/")
        if path.is_dir():
            shutil.copytree(path, to, symlinks=True, ignore=ignored, copy_function=copy, dirs_exist_ok=True)
        else:
            to.mkdir(parents=True, exist_ok=True)
            copy(path, to / path.name)
