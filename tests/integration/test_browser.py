"""The dashboard in Chromium: against real daemons, and against a crowd that only a mock can be."""
import json
import os
import pathlib
import subprocess
import sys

import pytest
from serving import Daemon

ROOT = pathlib.Path(__file__).resolve().parents[2]
CLIPS = pathlib.Path(os.environ.get("STAGEMILL_CLIPS", ROOT / "build" / "clips"))
CLIP = CLIPS / "movie-hello.mp4"

SMALL = """
stagemill: 1
name: small
title: a poster and one small rendition
params:
  width: { type: int, default: 320, summary: "width of the poster" }
stages:
  - { id: info, uses: probe }
  - { id: poster, uses: thumbnail, with: { at: 10%, width: "${{ params.width }}" } }
  - id: stream
    uses: hls
    weight: 10
    with: { segment: 2s, ladder: [ { name: 360p, width: 640, height: 360, bitrate: 800k } ] }
result:
  playlist: ${{ stages.stream.master }}
  poster: ${{ stages.poster.file }}
"""

STEERED = """
stagemill: 1
name: steered
title: fails at first, then waits for a person
params:
  failures: { type: int, default: 1000, min: 0, max: 1000, summary: "attempts that fail" }
  wait: { type: duration, default: 0s, summary: "time that the last stage takes" }
stages:
  - { id: shaky, uses: flaky, with: { failures: "${{ params.failures }}", verdict: fail } }
  - { id: review, uses: hold, needs: [shaky], with: { title: "look at it", fields: [note] } }
  - { id: last, uses: slow, needs: [review], with: { for: "${{ params.wait }}" } }
result:
  note: ${{ stages.review.note }}
"""


class Script:
    """A node script of tests/browser whose lines are JSON."""

    def __init__(self, folder, name, *words):
        env = dict(os.environ, SCREENSHOT=str(folder / f"{name}.png"))
        self.process = subprocess.Popen(["node", name, *map(str, words)], cwd=ROOT / "tests" / "browser", text=True, env=env,
                                        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)

    def lines(self):
        for line in self.process.stdout:
            yield json.loads(line)

    def answer(self, word="done"):
        self.process.stdin.write(word + "\n")
        self.process.stdin.flush()

    def end(self, seconds=120):
        _, err = self.process.communicate(timeout=seconds)
        assert self.process.returncode == 0, err[-4000:]


def run(folder, name, *words, seconds=120):
    script = Script(folder, name, *words)
    try:
        found = list(script.lines())
        script.end(seconds)
    finally:
        script.process.kill()
    print(name, found[-1], file=sys.stderr)
    return found[-1]


@pytest.mark.parametrize("name", ["crowd.mjs", "access.mjs"])
def test_mock(tmp_path, name):
    run(tmp_path, name)


def test_clip_is_dropped_followed_over_a_kill_and_played(mill):
    with Daemon(mill, pipelines={"small": SMALL}) as daemon:
        script = Script(mill.folder, "journey.mjs", daemon.url, daemon.token, CLIP, "small")
        try:
            for line in script.lines():
                print(line, file=sys.stderr)
                if line.get("do") == "restart":
                    daemon.restart()
                    script.answer()
            script.end()
        finally:
            script.process.kill()


def test_everything_works_by_keyboard(mill):
    with Daemon(mill, pipelines={"small": SMALL}) as daemon:
        run(mill.folder, "keyboard.mjs", daemon.url, daemon.token, CLIP, "small")


def test_an_operator_at_work(mill):
    with Daemon(mill, pipelines={"steered": STEERED}) as daemon:
        run(mill.folder, "operate.mjs", daemon.url, daemon.token)
