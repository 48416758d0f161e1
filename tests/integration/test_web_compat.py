"""Clients that were written against the names of the protocol alone, without our library, against a real daemon."""
import json
import os
import pathlib
import subprocess

import pytest
from conftest import wait_until
from serving import Daemon

ROOT = pathlib.Path(__file__).resolve().parents[2]
CLIPS = pathlib.Path(os.environ.get("STAGEMILL_CLIPS", ROOT / "build" / "clips"))
CLIP = CLIPS / "VID_20191220_170832.mp4"

DEMO = (ROOT / "pipelines" / "demo.yaml").read_text()
CLIP_PIPELINE = """
stagemill: 1
name: clip
stages:
  - { id: info, uses: probe }
  - { id: pictures, uses: thumbnail, with: { every: 500ms, width: 160 } }
  - { id: slow, uses: slow, needs: [pictures], with: { for: 600ms } }
result:
  clipUrls: ${{ stages.pictures.files }}
"""
BAD = """
stagemill: 1
name: bad
stages:
  - { id: shaky, uses: flaky, with: { failures: 1000, verdict: fail } }
"""
QUICK = """
stagemill: 1
name: quick
stages:
  - { id: only, uses: noop, with: { text: hello } }
result:
  text: hello
"""


@pytest.fixture(scope="module")
def daemon(tmp_path_factory):
    from conftest import Mill
    mill = Mill(tmp_path_factory.mktemp("compat"))
    with Daemon(mill, pipelines={"clip": CLIP_PIPELINE, "demo": DEMO, "bad": BAD, "quick": QUICK}) as made:
        yield made
    mill.clean()


class Client:
    def __init__(self, name, *words):
        self.process = subprocess.Popen(["node", name, *map(str, words)], cwd=ROOT / "tests" / "compat", text=True,
                                        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)

    def lines(self, seconds=30):
        out, err = self.process.communicate(timeout=seconds)
        assert self.process.returncode == 0, err
        return [json.loads(line) for line in out.splitlines()]

    def say(self, **message):
        self.process.stdin.write(json.dumps(message) + "\n")
        self.process.stdin.flush()

    def until(self, kind, **fields):
        """Reads messages until one matches; answers all of them."""
        found = []
        for line in self.process.stdout:
            found.append(json.loads(line))
            if found[-1]["type"] == kind and all(found[-1].get(key) == value for key, value in fields.items()):
                return found
        raise AssertionError(f"no {kind} {fields} in {found}\n{self.process.stderr.read()}")


def progress_hook(daemon, job, token=None):
    return Client("progress-hook.mjs", daemon.ws, job, daemon.token if token is None else token)


def test_progress_hook_follows_a_job_to_its_result(daemon):
    job = daemon.submit("demo", input=str(CLIP))
    shown = progress_hook(daemon, job["id"]).lines()
    assert shown[0]["status"] == "connected"
    assert shown[-1]["closed"][0] == 1000 and shown[-1]["status"] == "completed" and shown[-1]["progress"] == 100
    assert shown[-1]["clipUrls"] == ["stream/master.m3u8"]
    progress = [line["progress"] for line in shown]
    assert progress == sorted(progress)
    assert [line for line in shown if line["status"] == "processing" and line["stage"]]


def test_progress_hook_sees_the_end_of_a_job_that_had_ended(daemon):
    job = daemon.submit("bad")["id"]
    daemon.wait_job(job, "failed")
    shown = progress_hook(daemon, job).lines()
    assert shown[-1]["status"] == "failed" and shown[-1]["closed"][0] == 1000
    assert "moon" in shown[-1]["error"]


@pytest.mark.parametrize("job, token, code", [("", None, 4001), ("JOB", "", 4001), ("JOB", "nonsense", 4003), ("nosuchjob", "alice", 4003)])
def test_progress_hook_is_told_why_it_is_refused(daemon, job, token, code):
    job = daemon.submit("bad")["id"] if job == "JOB" else job
    token = daemon.mint("alice") if token == "alice" else token
    shown = progress_hook(daemon, job, token).lines()
    assert shown[-1]["closed"][0] == code


def test_batch_follower_counts_every_file(daemon, tmp_path):
    broken = tmp_path / "broken.mp4"
    broken.write_bytes(b"no video at all" * 100)
    items = [{"input": str(CLIP)}, {"input": str(broken)}, {"input": str(CLIP), "params": {}, "title": "again"}]
    answer = daemon.post("/api/v1/batches", {"pipeline": "clip", "source": {"list": items}, "force": True})
    assert answer.status == 202, answer
    end = Client("batch-follower.mjs", daemon.ws, answer.json["id"], daemon.token).lines(60)[-1]
    assert end["type"] == "batch-completed" and end["total"] == 3 and end["finished"] == 3, end
    assert (end["processedFiles"], end["failedFiles"], end["oversizedFiles"], end["skippedFiles"]) == (2, 1, 0, 0), end


def test_rooms_by_asset_and_a_feed_of_everything(daemon):
    rooms = Client("rooms.mjs", daemon.ws, daemon.token)
    rooms.say(type="subscribe", topic="asset:red", id=1)
    rooms.until("subscribed", topic="asset:red")
    daemon.submit("bad", asset="blue")
    job = daemon.submit("bad", asset="red")["id"]
    heard = rooms.until("failed", jobId=job)
    assert {message["asset"] for message in heard if "asset" in message} == {"red"}
    rooms.say(type="unsubscribe", topic="asset:red", id=2)
    rooms.until("unsubscribed")
    daemon.wait_job(daemon.submit("bad", asset="red")["id"])
    rooms.say(type="subscribe", topic="all", id=3)
    assert [message["type"] for message in rooms.until("subscribed", topic="all")] == ["subscribed"]
    jobs = {daemon.submit("bad", asset=asset)["id"] for asset in ("red", "blue")}
    heard = rooms.until("failed") + rooms.until("failed")
    assert {message["jobId"] for message in heard if message["type"] == "failed"} == jobs
    for one in jobs:
        seqs = [message["seq"] for message in heard if message.get("jobId") == one and message["type"] != "progress"]
        assert seqs == list(range(1, len(seqs) + 1))
    rooms.process.stdin.write("quit\n")
    assert rooms.lines()[-1] == {"type": "closed", "code": 1000}


def test_presigned_upload(daemon):
    confirmed = Client("presigned-upload.mjs", daemon.url, daemon.token, CLIP, "clip").lines()[-1]
    job = daemon.wait_job(confirmed["jobId"], seconds=30)
    assert job["status"] == "completed" and job["asset"] == confirmed["assetId"]
    wait_until(lambda: daemon.get(f"/api/v1/assets/{confirmed['assetId']}").json.get("width"))


def blocks(kind):
    text = (ROOT / "web" / "README.md").read_text()
    return [part.split("```", 1)[0] for part in text.split(f"```{kind}\n")[1:]]


def test_readme_does_what_it_says(daemon, tmp_path):
    env = dict(os.environ, SERVER=daemon.url, TOKEN=daemon.token, PIPELINE="quick", UPLOAD_PIPELINE="clip", CLIP=str(CLIP))
    (tmp_path / "node_modules").symlink_to(ROOT / "tests" / "node_modules")
    (tmp_path / "package.json").write_text('{"type": "module"}')
    for block in blocks("sh"):
        subprocess.run(["sh", "-ec", block], cwd=tmp_path, env=env, check=True, timeout=20)
    said = []
    for i, block in enumerate(blocks("js")):
        (tmp_path / f"block{i}.mjs").write_text(block)
        run = subprocess.run(["node", f"block{i}.mjs"], cwd=tmp_path, env=env, text=True, capture_output=True, timeout=30)
        assert run.returncode == 0, run.stderr
        said.append(run.stdout)
    assert len(said) == 3
    assert "connected\n" in said[0] and "completed\n" in said[0] and 'result {"text":"hello"}' in said[0]
    assert f"uploaded {CLIP.stat().st_size} {CLIP.stat().st_size}\njob " in said[2]


def test_demo_takes_less_than_a_screen(daemon):
    pages = [daemon.get(f"/demo/{name}", token=None) for name in ("", "demo.js")]
    assert [page.status for page in pages] == [200, 200]
    assert sum(len(page.text.splitlines()) for page in pages) <= 60
