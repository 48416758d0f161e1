"""Fixtures of the scenario tests: they drive the built `stagemill` as its users do, in a fresh folder each.

STAGEMILL_BUILD names the build tree (default: build/ beside the sources), STAGEMILL_MEDIA a folder where test media are
kept between runs (default: BUILD/media)."""
import json
import os
import pathlib
import signal
import subprocess
import sys
import time

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
BUILD = pathlib.Path(os.environ.get("STAGEMILL_BUILD", ROOT / "build")).resolve()
MEDIA = pathlib.Path(os.environ.get("STAGEMILL_MEDIA", BUILD / "media")).resolve()
STAGEMILL = BUILD / "bin" / "stagemill"
TEST_PLUGINS = BUILD / "tests" / "plugins"


class Result:
    """What a finished command left: code, out, err, and its events when it was asked for --json."""

    def __init__(self, process, out, err):
        self.code, self.out, self.err = process.returncode, out, err

    @property
    def events(self):
        return [json.loads(line) for line in self.out.splitlines() if line.startswith("{")]

    def of(self, kind, **fields):
        return [e for e in self.events if e["type"] == kind and all(e.get(k) == v for k, v in fields.items())]


class Mill:
    """`stagemill` in a folder of its own, with the test plugins beside the real ones."""

    def __init__(self, folder):
        self.folder = pathlib.Path(folder)
        self.started = []
        self.env = dict(os.environ, STAGEMILL_PLUGIN_PATH=str(TEST_PLUGINS), XDG_CACHE_HOME=str(MEDIA.parent / "test-cache"),
                        XDG_STATE_HOME=str(self.folder / "state-home"), LC_ALL="C.UTF-8")

    def start(self, *words, **options):
        """Starts a command and answers its Popen; ended with the test if it still runs."""
        options.setdefault("stdout", subprocess.PIPE)
        options.setdefault("stderr", subprocess.PIPE)
        env = dict(self.env, **options.pop("env", {}))
        process = subprocess.Popen([str(STAGEMILL), *map(str, words)], cwd=self.folder, env=env, text=True,
                                   stdin=subprocess.DEVNULL, **options)
        self.started.append(process)
        return process

    def __call__(self, *words, timeout=60, **options):
        process = self.start(*words, **options)
        out, err = process.communicate(timeout=timeout)
        return Result(process, out, err)

    def write(self, name, text):
        path = self.folder / name
        path.write_text(text)
        return path

    def job(self, out="out"):
        return json.loads((self.folder / out / "job.json").read_text())

    def clean(self):
        for process in self.started:
            if process.poll() is None:
                process.kill()
                process.communicate()


@pytest.fixture
def mill(tmp_path):
    if not STAGEMILL.exists():
        pytest.exit(f"{STAGEMILL} is not built", returncode=2)
    made = Mill(tmp_path)
    yield made
    made.clean()


def children_of(pid):
    """All descendants of a process, by /proc."""
    parents = {}
    for entry in pathlib.Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                fields = (entry / "stat").read_text().rsplit(")", 1)[1].split()
                parents[int(entry.name)] = int(fields[1])
            except (OSError, IndexError):
                pass
    found, more = set(), {pid}
    while more:
        more = {child for child, parent in parents.items() if parent in more} - found
        found |= more
    return found


def alive(pid):
    """True while a process runs; a zombie does not count."""
    try:
        return pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


def files_of(pid):
    """What a process has open; descriptors that close meanwhile are left out."""
    found = []
    for fd in os.listdir(f"/proc/{pid}/fd"):
        try:
            found.append(os.readlink(f"/proc/{pid}/fd/{fd}"))
        except FileNotFoundError:
            pass
    return found


def wait_until(condition, seconds=10, every=0.02):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        value = condition()
        if value:
            return value
        time.sleep(every)
    raise AssertionError(f"did not happen within {seconds} s")


def lines_until(process, kind, seconds=20, **fields):
    """Reads --json events of a running command until one matches; answers all of them."""
    events, end = [], time.monotonic() + seconds
    for line in process.stdout:
        event = json.loads(line)
        events.append(event)
        if event["type"] == kind and all(event.get(k) == v for k, v in fields.items()):
            return events
        assert time.monotonic() < end, f"no {kind} within {seconds} s"
    raise AssertionError(f"the command ended without {kind}: {process.stderr.read()}")
