"""Runs one task stage of a built plugin through task-harness and hands back its report."""
import json
import os
import pathlib
import subprocess
import time

REPOSITORY = pathlib.Path(__file__).resolve().parents[2]
BUILD = pathlib.Path(os.environ.get("STAGEMILL_BUILD", REPOSITORY / "build"))


class Report(dict):
    """The harness's JSON, with the things tests look at most as attributes."""

    verdict = property(lambda self: self["verdict"])
    message = property(lambda self: self["message"])
    results = property(lambda self: self["results"])
    lines = property(lambda self: "\n".join(entry["text"] for entry in self["log"]))


def arguments(plugin, stage, out, params, inputs, options):
    line = [str(BUILD / "tests" / "task-harness"), str(BUILD / "lib/stagemill/plugins" / f"{plugin}.so"), stage]
    for name, value in (params or {}).items():
        for item in value if isinstance(value, list) else [value]:
            line += ["--param", f"{name}={item}"]
    for flag, spec in inputs or []:
        line += [f"--{flag}", spec]
    for name, value in options.items():
        line += ["--" + name.replace("_", "-"), str(value)]
    return line + ["--out", str(out)]


def run_stage(plugin, stage, out, params=None, inputs=None, timeout=60, **options):
    line = arguments(plugin, stage, out, params, inputs, options)
    begun = time.monotonic()
    done = subprocess.run(line, capture_output=True, timeout=timeout)
    if done.returncode != 0:
        raise AssertionError(f"{line} exited {done.returncode}: {done.stderr.decode(errors='replace')}")
    report = Report(json.loads(done.stdout))
    report["wall_s"] = time.monotonic() - begun
    assert report["progress"]["backwards"] == 0, "progress went backwards"
    return report


def kill_stage(plugin, stage, out, params=None, inputs=None, **options):
    """Like run_stage for a run that ends by SIGKILL (kill_at=FRACTION)."""
    done = subprocess.run(arguments(plugin, stage, out, params, inputs, options), capture_output=True, timeout=60)
    assert done.returncode == -9, f"exited {done.returncode}: {done.stderr.decode(errors='replace')}"
