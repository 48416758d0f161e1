"""What jobs make and say, over HTTP: events by server-sent events and long poll, artifacts, links, logs as they grow."""
import http.client
import json
import subprocess
import threading
import time
import urllib.parse

import pytest

from conftest import Mill, wait_until
from serving import Daemon

NOTE = "stagemill: 1\nname: note\nparams:\n  text: { type: text, default: hello }\n" \
       "stages:\n  - { id: write, uses: noop, with: { text: \"${{ params.text }}\" } }\nresult:\n  text: ${{ stages.write.text }}\n"
SLOW = "stagemill: 1\nname: slow\nparams:\n  for: { type: duration, default: 700ms }\n" \
       "stages:\n  - { id: first, uses: noop }\n  - { id: wait, uses: slow, needs: first, with: { for: \"${{ params.for }}\" } }\n"
FLAKY = "stagemill: 1\nname: flaky\nstages:\n  - { id: shaky, uses: flaky, retry: { attempts: 2, backoff: 100ms }, with: { failures: 1 } }\n"


@pytest.fixture(scope="module")
def daemon(tmp_path_factory):
    mill = Mill(tmp_path_factory.mktemp("follow"))
    with Daemon(mill, settings="limits: { attempts: 2 }\n", pipelines={"note": NOTE, "slow": SLOW, "flaky": FLAKY}) as made:
        made.alice, made.bob = made.mint("alice"), made.mint("bob")
        yield made
    mill.clean()


class Sse:
    """A client of server-sent events that keeps what it gets."""

    def __init__(self, daemon, path, token, **headers):
        self.connection = http.client.HTTPConnection("127.0.0.1", daemon.port, timeout=15)
        self.connection.request("GET", path, headers=dict({"Accept": "text/event-stream", "Authorization": f"Bearer {token}"}, **headers))
        self.answer = self.connection.getresponse()

    def __iter__(self):
        event = {}
        for line in self.answer:
            line = line.decode().rstrip("\n")
            if not line and "data" in event:
                yield event.get("id"), event["event"], json.loads(event["data"])
            if not line:
                event = {}
            elif not line.startswith(":"):
                key, _, value = line.partition(": ")
                event[key] = value

    def close(self):
        self.connection.close()


# ---- events of a job


def test_a_stream_of_a_job(daemon):
    job = daemon.submit("slow", token=daemon.alice)["id"]
    stream = Sse(daemon, f"/api/v1/jobs/{job}/events", daemon.alice)
    assert stream.answer.status == 200 and stream.answer.headers["Content-Type"].startswith("text/event-stream")
    events = list(stream)  # it ends with the job
    assert events[0][1] == "state" and events[-1][1] == "completed", [e[1] for e in events]
    assert any(kind == "progress" and id is None for id, kind, _ in events)
    first = events[0][2]["seq"]
    numbers = [int(id) for id, kind, _ in events[1:] if id]
    assert numbers == list(range(first + 1, daemon.job(job)["lastSeq"] + 1))
    assert all(e["type"] == kind and e["jobId"] == job for _, kind, e in events)
    again = list(Sse(daemon, f"/api/v1/jobs/{job}/events", daemon.alice))
    assert [kind for _, kind, _ in again] == ["state", "completed"] and again[0][2]["status"] == "completed"
    whole = list(Sse(daemon, f"/api/v1/jobs/{job}/events?since=0", daemon.alice))
    assert [int(id) for id, _, _ in whole] == list(range(1, numbers[-1] + 1))
    rest = list(Sse(daemon, f"/api/v1/jobs/{job}/events?since=0", daemon.alice, **{"Last-Event-ID": "2"}))
    assert [int(id) for id, _, _ in rest] == list(range(3, numbers[-1] + 1))
    assert Sse(daemon, f"/api/v1/jobs/{job}/events?since={numbers[-1]}", daemon.alice).answer.status == 204
    assert Sse(daemon, f"/api/v1/jobs/{job}/events", daemon.bob).answer.status == 404
    assert daemon.get(f"/api/v1/jobs/{job}/events?since=x", token=daemon.alice).status == 400


def test_a_stream_goes_on_across_a_retry(daemon):
    job = daemon.submit("slow", params={"for": "60s"}, token=daemon.alice)["id"]
    daemon.wait_job(job, "processing", token=daemon.alice)
    daemon.post(f"/api/v1/jobs/{job}/cancel", token=daemon.alice)
    daemon.wait_job(job, token=daemon.alice)
    daemon.post(f"/api/v1/jobs/{job}/retry", {"params": {"for": "1ms"}}, token=daemon.alice)
    events = list(Sse(daemon, f"/api/v1/jobs/{job}/events?since=0", daemon.alice))
    kinds = [kind for id, kind, _ in events if id]
    assert "cancelled" in kinds[:-1] and kinds[-1] == "completed" and kinds.count("queued") == 2, kinds


def test_long_poll_loses_nothing(daemon):
    job = daemon.submit("slow", token=daemon.alice)["id"]
    seen, since, polls, answer = [], 0, 0, {"ended": False}
    while not answer["ended"]:
        answer = daemon.get(f"/api/v1/jobs/{job}/events?since={since}&wait=10", token=daemon.alice).json
        seen += [e["seq"] for e in answer["events"]]
        since, polls = answer["lastSeq"], polls + 1
        assert polls < 50
    assert seen == list(range(1, since + 1)) and answer["status"] == "completed" and answer["pct"] == 100
    begun = time.monotonic()
    assert daemon.get(f"/api/v1/jobs/{job}/events?since={since}&wait=10", token=daemon.alice).json["events"] == []
    assert time.monotonic() - begun < 5  # nothing will come: it does not wait
    waiting = daemon.submit("slow", params={"for": "20s"}, token=daemon.alice)["id"]
    begun, last = time.monotonic(), daemon.wait_job(waiting, "processing", token=daemon.alice)["lastSeq"]
    end = time.monotonic() + 10
    while daemon.get(f"/api/v1/jobs/{waiting}/events?since={last}&wait=1", token=daemon.alice).json["events"]:
        last = daemon.job(waiting, token=daemon.alice)["lastSeq"]
        assert time.monotonic() < end
    daemon.post(f"/api/v1/jobs/{waiting}/cancel", token=daemon.alice)


# ---- events of many


def test_own_events_and_nobody_elses(daemon):
    token, other = daemon.mint("many"), daemon.mint("other")
    begin = daemon.get("/api/v1/events", token=token).json["cursor"]
    mine = [daemon.submit("note", token=token, asset="shared-word")["id"] for _ in range(3)]
    theirs = daemon.submit("note", token=other)["id"]
    for job, who in [(j, token) for j in mine] + [(theirs, other)]:
        daemon.wait_job(job, token=who)

    def told(query, who):
        cursor, events = begin, []
        while True:
            page = daemon.get(f"/api/v1/events?since={cursor}&{query}", token=who).json
            events += page["events"]
            if not page["events"]:
                return events
            cursor = page["cursor"]

    own = told("", token)
    assert {e["jobId"] for e in own if "jobId" in e} == set(mine)
    cursors = [e["cursor"] for e in own]
    assert cursors == sorted(set(cursors))
    for job in mine:
        numbers = [e["seq"] for e in own if e.get("jobId") == job]
        assert numbers == list(range(1, len(numbers) + 1)), numbers
    assert {e["jobId"] for e in told("asset=shared-word", token) if "jobId" in e} == set(mine)
    assert daemon.get("/api/v1/events?asset=shared-word", token=other).status == 404
    assert {e["jobId"] for e in told("all=true", "")} >= {*mine, theirs}
    streamed = Sse(daemon, f"/api/v1/events?since={begin}", token)
    got = []
    for id, kind, event in streamed:
        got.append((int(id), event))
        if len(got) == len(own):
            break
    streamed.close()
    assert [e for _, e in got] == own and [c for c, _ in got] == cursors
    assert daemon.get("/api/v1/events?batch=none", token=token).status == 404
    assert daemon.get("/api/v1/events?asset=a&batch=b", token=token).status == 400


def test_a_narrow_token_sees_what_it_names(daemon):
    job = daemon.submit("note", token=daemon.alice)["id"]
    other = daemon.submit("note", token=daemon.alice)["id"]
    daemon.wait_job(job, token=daemon.alice)
    narrow = daemon.mint("alice", "follow", "--grant", f"job:{job}")
    for path in ("", "/events?since=0", "/artifacts", "/artifacts/write/text.txt"):
        assert daemon.get(f"/api/v1/jobs/{job}{path}", token=narrow).status == 200, path
        assert daemon.get(f"/api/v1/jobs/{other}{path}", token=narrow).status == 404, path
    for path in ("/api/v1/jobs", "/api/v1/events", "/api/v1/stats", f"/api/v1/jobs/{job}/logs"):
        assert daemon.get(path, token=narrow).status == 403, path
    assert daemon.post(f"/api/v1/jobs/{job}/cancel", token=narrow).status == 403


def test_counters_kept_from_events_equal_stats(daemon):
    token = daemon.mint("counter")
    before = daemon.get("/api/v1/stats", token=token).json
    words = {"queued": "waiting", "started": "processing", "retrying": "retrying", "completed": "done", "failed": "failed",
             "cancelled": "cancelled"}
    jobs = [daemon.submit(("note", "flaky", "slow")[n % 3], token=token)["id"] for n in range(9)]
    daemon.post(f"/api/v1/jobs/{jobs[8]}/cancel", token=token)
    for job in jobs:
        daemon.wait_job(job, token=token)
    after, where, cursor = daemon.get("/api/v1/stats", token=token).json, {}, before["cursor"]
    while cursor < after["cursor"]:
        page = daemon.get(f"/api/v1/events?since={cursor}", token=token).json
        for event in page["events"]:
            if event["cursor"] <= after["cursor"] and event["type"] in words:
                where[event["jobId"]] = words[event["type"]]
        if not page["events"]:
            break
        cursor = page["cursor"]
    counted = {key: before[key] + list(where.values()).count(key) for key in words.values()}
    assert counted == {key: after[key] for key in words.values()}
    assert after["done"] == 8 and after["cancelled"] == 1 and after["successRate"] == 1 and after["meanDurationMs"] > 0
    assert {p["pipeline"]: p["done"] for p in after["pipelines"]} == {"note": 3, "flaky": 3, "slow": 2}


# ---- artifacts


def test_artifacts_are_safe_to_look_at(daemon):
    job = daemon.submit("note", params={"text": "<script>alert(1)</script>"}, token=daemon.alice)["id"]
    daemon.wait_job(job, token=daemon.alice)
    made = daemon.get(f"/api/v1/jobs/{job}/artifacts", token=daemon.alice).json["artifacts"]
    assert [(a["stage"], a["port"], a["path"], a["bytes"]) for a in made] == [("write", "out", "write/text.txt", 25)]
    answer = daemon.get(made[0]["href"], token=daemon.alice)
    assert answer.body == b"<script>alert(1)</script>" and answer.headers["Content-Type"].startswith("text/plain")
    assert answer.headers["ETag"] == f'"{made[0]["sha256"]}"' and answer.headers["X-Content-Type-Options"] == "nosniff"
    assert "sandbox" in answer.headers["Content-Security-Policy"] and "default-src 'none'" in answer.headers["Content-Security-Policy"]
    part = daemon.get(made[0]["href"], token=daemon.alice, headers={"Range": "bytes=1-6"})
    assert part.status == 206 and part.body == b"script" and part.headers["Content-Range"] == "bytes 1-6/25"
    assert daemon.get(made[0]["href"], token=daemon.alice, headers={"Range": "bytes=99-"}).status == 416
    assert daemon.get(made[0]["href"], token=daemon.alice, headers={"If-None-Match": answer.headers["ETag"]}).status == 304
    head = daemon.request("HEAD", made[0]["href"], token=daemon.alice)
    assert head.status == 200 and head.body == b"" and head.headers["Content-Length"] == "25"
    out = daemon.state / "outputs" / job
    (out / "write" / "unlisted.txt").write_text("not an artifact")
    for path in ("job.json", "write/unlisted.txt", "write/../job.json", "write/%2e%2e/job.json", "..%2f..%2fdata.mdb", "write", "write/",
                 ".stagemill", "%2fetc/passwd", "write/text.txt/", "write//text.txt"):
        assert daemon.get(f"/api/v1/jobs/{job}/artifacts/{path}", token=daemon.alice).status in (400, 404), path
    (out / "write" / "text.txt").unlink()
    (out / "write" / "text.txt").symlink_to("/etc/passwd")
    assert daemon.get(made[0]["href"], token=daemon.alice).status == 404


def test_links_open_what_they_name_until_they_expire(daemon):
    job = daemon.submit("note", token=daemon.alice)["id"]
    daemon.wait_job(job, token=daemon.alice)
    link = lambda body: daemon.post(f"/api/v1/jobs/{job}/links", body, token=daemon.alice)
    whole, folder, file = link({}).json, link({"path": "write/"}).json, link({"path": "write/text.txt", "ttl": "1s"}).json
    assert daemon.get(whole["url"] + "write/text.txt", token=None).text == "hello"
    assert daemon.get(folder["url"] + "text.txt", token=None).text == "hello"
    assert daemon.get(file["url"], token=None).text == "hello"
    assert daemon.get(whole["url"] + "write/none", token=None).status == 404
    other = daemon.submit("note", token=daemon.alice)["id"]
    assert daemon.get(whole["url"].replace(job, other) + "write/text.txt", token=None).status == 403
    assert daemon.get(file["url"].replace("text.txt", "text.txu"), token=None).status == 403
    assert daemon.get(folder["url"].replace("/write/", "/") + "job.json", token=None).status == 403
    later = urllib.parse.urlsplit(whole["url"]).path.split("/")
    later[-3] = str(int(later[-3]) + 60)
    assert daemon.get("/".join(later) + "write/text.txt", token=None).status == 403
    assert link({"path": "write/none.txt"}).status == 404 and link({"ttl": "31d"}).status == 400 and link({"ttl": "x"}).status == 400
    assert daemon.post(f"/api/v1/jobs/{job}/links", {}, token=daemon.bob).status == 404
    wait_until(lambda: daemon.get(file["url"], token=None).status == 403, seconds=5)


# ---- logs


def test_a_log_is_followed_while_it_grows(daemon):
    job = daemon.submit("slow", params={"for": "1500ms"}, token=daemon.alice)["id"]
    logs = wait_until(lambda: [log for log in daemon.get(f"/api/v1/jobs/{job}/logs", token=daemon.alice).json["logs"]
                               if log["live"] and log["stages"] == "wait"])
    begun, got = time.monotonic(), []
    thread = threading.Thread(target=lambda: got.append(daemon.get(logs[0]["href"] + "?follow=true", token=daemon.alice)))
    thread.start()
    thread.join(10)
    assert got and got[0].status == 200 and got[0].headers["Content-Type"].startswith("text/plain")
    assert daemon.wait_job(job, token=daemon.alice)["status"] == "completed" and time.monotonic() - begun > 0.5
    first = [log for log in daemon.get(f"/api/v1/jobs/{job}/logs", token=daemon.alice).json["logs"] if log["stages"] == "first"][0]
    text = daemon.get(first["href"], token=daemon.alice).text
    assert "nothing to do for `first`" in text and len(text) == first["bytes"] and not first["live"]
    assert daemon.get(first["href"] + "?from=5", token=daemon.alice).text == text[5:]
    assert daemon.get(first["href"] + "?from=-1", token=daemon.alice).status == 400


def test_a_drain_ends_streams(tmp_path):
    mill = Mill(tmp_path)
    with Daemon(mill, pipelines={"slow": SLOW}) as daemon:
        job = daemon.submit("slow", params={"for": "60s"})["id"]
        streams = [Sse(daemon, f"/api/v1/jobs/{job}/events", daemon.token), Sse(daemon, "/api/v1/events?all=true", daemon.token)]
        readers = [threading.Thread(target=list, args=(s,)) for s in streams]
        [r.start() for r in readers]
        daemon.wait_job(job, "processing")
        daemon.post(f"/api/v1/jobs/{job}/cancel")
        daemon.wait_job(job)
        begun = time.monotonic()
        assert daemon.stop() == 0 and time.monotonic() - begun < 8
        [r.join(5) for r in readers]
        assert not any(r.is_alive() for r in readers)
    mill.clean()


def test_those_who_wait_leave_room_for_the_others(tmp_path):
    mill = Mill(tmp_path)
    with Daemon(mill, settings="limits: { threads: 8 }\n", pipelines={"slow": SLOW}) as daemon:
        job = daemon.submit("slow", params={"for": "60s"})["id"]
        streams = [Sse(daemon, f"/api/v1/jobs/{job}/events", daemon.token) for _ in range(20)]
        statuses = [s.answer.status for s in streams]
        assert 3 <= statuses.count(200) <= 6 and set(statuses) == {200, 503}, statuses
        refused = [s for s in streams if s.answer.status == 503][0]
        assert refused.answer.headers["Retry-After"] and json.loads(refused.answer.read())["status"] == 503
        assert daemon.get(f"/api/v1/jobs/{job}").status == 200
        last = daemon.wait_job(job, "processing")["lastSeq"]
        polls = [daemon.get(f"/api/v1/jobs/{job}/events?since={last}&wait=3").status for _ in range(3)]
        assert 503 in polls, polls  # a stage that starts meanwhile may be told at once
        for stream in streams:
            stream.close()
        wait_until(lambda: Sse(daemon, f"/api/v1/jobs/{job}/events", daemon.token).answer.status == 200)
        daemon.post(f"/api/v1/jobs/{job}/cancel")
    mill.clean()


def test_a_plan_looks_at_its_input(tmp_path):
    mill = Mill(tmp_path)
    encode = "stagemill: 1\nname: encode\nstages:\n  - { id: stream, uses: hls }\n"
    clip = tmp_path / "clip.mp4"
    subprocess.run(["ffmpeg", "-loglevel", "error", "-f", "lavfi", "-i", "testsrc=size=320x180:rate=10:duration=1", "-pix_fmt", "yuv420p",
                    str(clip)], check=True, timeout=30)
    with Daemon(mill, pipelines={"encode": encode}) as daemon:
        plan = daemon.post("/api/v1/pipelines/encode/plan", {"input": str(clip)}).json
        assert "320x180" in plan["text"] and any(n["what"] == "rung" for n in plan["steps"][0]["stages"][0]["notes"]), plan
        assert daemon.post("/api/v1/pipelines/encode/plan", {"input": str(clip)}, token=daemon.mint("alice")).status == 403
    mill.clean()


def test_a_key_makes_one_job_whatever_dies_in_between(tmp_path):
    mill = Mill(tmp_path)
    with Daemon(mill, pipelines={"slow": SLOW}) as daemon:
        daemon.post("/api/v1/queue/pause", {})
        token, keys = daemon.mint("alice"), []

        def submit(key):
            try:
                return daemon.post("/api/v1/jobs", {"pipeline": "slow"}, token=token, headers={"Idempotency-Key": key}, timeout=5)
            except OSError:
                return None

        for n in range(5):
            keys = [f"round-{n}-{k}" for k in range(6)]
            threads = [threading.Thread(target=submit, args=(key,)) for key in keys]
            [t.start() for t in threads]
            time.sleep(0.004 * n)
            daemon.restart()
            [t.join() for t in threads]
            first = [submit(key).json["id"] for key in keys]
            assert [submit(key).json["id"] for key in keys] == first and len(set(first)) == len(keys)
            assert daemon.get("/api/v1/stats", token=token).json["waiting"] == len(keys) * (n + 1)
    mill.clean()
