"""Jobs over HTTP: submit, read, list, steer; what is foreign is not there."""
import json
import os
import re
import threading
import uuid

import pytest

from conftest import Mill, wait_until
from serving import Daemon

NOTE = "stagemill: 1\nname: note\nparams:\n  text: { type: text, default: hello }\n  key: { type: secret, default: secrets.KEY }\n" \
       "  doc: { type: file, default: '' }\nstages:\n  - { id: write, uses: noop, with: { text: \"${{ params.text }}\" } }\n" \
       "result:\n  text: ${{ stages.write.text }}\n"
SLOW = "stagemill: 1\nname: slow\nparams:\n  for: { type: duration, default: 30s }\n" \
       "stages:\n  - { id: first, uses: noop }\n  - { id: wait, uses: slow, needs: first, with: { for: \"${{ params.for }}\" } }\n"
FLAKY = "stagemill: 1\nname: flaky\nparams:\n  failures: { type: int, default: 5 }\nstages:\n" \
        "  - { id: ok, uses: noop }\n" \
        "  - { id: shaky, uses: flaky, needs: ok, retry: { attempts: 1 }, with: { failures: \"${{ params.failures }}\" } }\n"
READ = "stagemill: 1\nname: read\nstages:\n  - { id: read, uses: noop, inputs: { in: source } }\nresult:\n  bytes: ${{ stages.read.bytes }}\n"


@pytest.fixture(scope="module")
def daemon(tmp_path_factory):
    mill = Mill(tmp_path_factory.mktemp("api"))
    (mill.folder / "open").mkdir()
    (mill.folder / "open" / "a.txt").write_text("12345")
    (mill.folder / "closed.txt").write_text("secret of the server")
    os.symlink(mill.folder / "closed.txt", mill.folder / "open" / "link.txt")
    settings = f"inputs: {{ folders: [{mill.folder}/open] }}\nlimits: {{ attempts: 2 }}\n"
    env = {"STAGEMILL_SECRET_KEY": "sesame-street"}
    with Daemon(mill, settings=settings, pipelines={"note": NOTE, "slow": SLOW, "flaky": FLAKY, "read": READ}, env=env) as made:
        made.folder = mill.folder
        made.alice, made.bob = made.mint("alice"), made.mint("bob")
        made.author = made.mint("author", "submit,read,pipelines")
        yield made
    mill.clean()


def problem(answer, status, code=None):
    assert answer.status == status, answer
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert answer.json["status"] == status and answer.json["detail"] and answer.json["title"]
    assert code is None or answer.json["code"] == code, answer
    return answer.json["detail"]


def test_a_job_is_accepted_and_done(daemon):
    answer = daemon.post("/api/v1/jobs", {"pipeline": "note", "params": {"text": "hi"}, "title": "a note", "asset": "film-1",
                                          "priority": "high"}, token=daemon.alice)
    assert answer.status == 202 and answer.headers["Location"] == f"/api/v1/jobs/{answer.json['id']}"
    job = answer.json
    assert job["owner"] == "alice" and job["asset"] == "film-1" and job["title"] == "a note" and job["priority"] == 75
    assert job["websocketUrl"] == f"{daemon.ws}/ws?jobId={job['id']}"
    done = daemon.wait_job(job["id"], token=daemon.alice)
    assert done["status"] == "completed" and done["pct"] == 100 and done["result"] == {"text": "hi"}, done
    assert done["durationMs"] >= 0 and done["error" if "error" in done else "waitReason"] is None
    assert [(s["id"], s["uses"], s["status"], s["needs"]) for s in done["stages"]] == [("write", "noop", "finished", [])]
    assert done["attempts"][0]["outcome"] == "ok" and done["attempts"][0]["log"]["bytes"] > 0
    assert done["spec"]["params"]["text"] == "hi" and done["spec"]["pipelineFile"] == "note.yaml"
    for link in done["links"].values():
        assert daemon.get(link, token=daemon.alice).status == 200


def test_a_foreign_job_is_not_there(daemon):
    job = daemon.submit("note", token=daemon.alice)["id"]
    daemon.wait_job(job, token=daemon.alice)
    below = ["", "/events", "/artifacts", "/artifacts/write/text.txt", "/logs", "/logs/1", "/explain"]
    posts = {"/cancel": {}, "/retry": {}, "/pause": {}, "/resume": {}, "/priority": {"priority": 1}, "/links": {},
             "/release": {"stage": "write", "decision": "released"}}
    unknown = "0" * 26
    for who, id in ((daemon.bob, job), (daemon.alice, unknown), (daemon.alice, "x"), (daemon.alice, "y" * 300)):
        for path in below:
            problem(daemon.get(f"/api/v1/jobs/{id}{path}", token=who), 404, "not-found")
        for path, body in posts.items():
            problem(daemon.post(f"/api/v1/jobs/{id}{path}", body, token=who), 404, "not-found")
        problem(daemon.delete(f"/api/v1/jobs/{id}", token=who), 404, "not-found")
    assert [daemon.get(f"/api/v1/jobs/{job}{path}", token=None).status for path in below] == [401] * len(below)
    assert job not in [j["id"] for j in daemon.get("/api/v1/jobs", token=daemon.bob).json["jobs"]]
    assert job in [j["id"] for j in daemon.get("/api/v1/jobs?owner=alice").json["jobs"]]
    assert daemon.get("/api/v1/jobs?owner=alice", token=daemon.bob).json["jobs"] == []
    assert daemon.job(job)["owner"] == "alice"  # scope admin sees everybody's
    granted = daemon.mint("carol", "read", "--grant", f"job:{job}")
    assert daemon.job(job, token=granted)["id"] == job
    assert [j["id"] for j in daemon.get("/api/v1/jobs", token=granted).json["jobs"]] == [job]


@pytest.mark.parametrize("body, names", [
    ({}, "pipeline"), ({"pipeline": "notes"}, "note"), ({"pipeline": "note", "inline": "x"}, "one of the two"),
    ({"pipeline": "note", "parms": {}}, "params"), ({"pipeline": "note", "params": {"txt": "x"}}, "text"),
    ({"pipeline": "note", "params": []}, "params"), ({"pipeline": "note", "priority": 101}, "priority"),
    ({"pipeline": "note", "input": "gopher://x"}, "gopher"), ({"pipeline": "note", "title": "../x"}, "title"),
    ({"pipeline": "note", "asset": "a" * 256}, "asset"), ({"pipeline": 5}, "pipeline"),
    ({"pipeline": "note", "notify": {"webhooks": [{"url": "ftp://x"}]}}, "ftp"),
    ({"pipeline": "note", "notify": {"mail": [{"to": "nobody"}]}}, "nobody"),
    ({"pipeline": "note", "notify": {"mail": [{"to": "a@b.example", "on": ["sometimes"]}]}}, "on"), ([], "object")])
def test_a_wrong_submission_is_refused_by_name(daemon, body, names):
    assert names in problem(daemon.post("/api/v1/jobs", body, token=daemon.alice), 400)


def test_what_is_no_submission_is_refused(daemon):
    post = lambda body, kind: daemon.request("POST", "/api/v1/jobs", body, headers={"Content-Type": kind}, token=daemon.alice)
    problem(post("{", "application/json"), 400)
    problem(post("{}", "text/plain"), 415)
    problem(post(json.dumps({"pipeline": "note", "params": {"text": "x" * (2 << 20)}}), "application/json"), 413)
    problem(post('{"pipeline": "note", "pipeline": "slow"}', "application/json"), 400)
    problem(daemon.post("/api/v1/jobs", {"pipeline": "note"}, token=daemon.mint("reader", "read")), 403, "denied")


def test_files_of_the_server_are_not_read(daemon):
    for path in (f"{daemon.folder}/closed.txt", f"{daemon.folder}/open/link.txt", f"{daemon.folder}/open/../closed.txt",
                 f"{daemon.folder}/none.txt", "../closed.txt"):
        for body in ({"pipeline": "read", "input": path}, {"pipeline": "note", "params": {"doc": path}}):
            assert "inputs.folders" in problem(daemon.post("/api/v1/jobs", body, token=daemon.alice), 403, "denied")
    for path in (f"{daemon.folder}/open/a.txt", "a.txt"):
        job = daemon.submit("read", input=path, token=daemon.alice)["id"]
        done = daemon.wait_job(job, token=daemon.alice)
        assert done["result"] == {"bytes": 5} and done["spec"]["input"] == "a.txt", done
    job = daemon.submit("read", input=f"{daemon.folder}/closed.txt")["id"]  # scope admin names any file
    assert daemon.wait_job(job)["result"] == {"bytes": 20}
    problem(daemon.post("/api/v1/jobs", {"pipeline": "note", "params": {"key": "secrets.OTHER"}}, token=daemon.alice), 403)


def inline(stages, head=""):
    return f"stagemill: 1\nname: mine\n{head}stages:\n{stages}"


def test_inline_pipelines(daemon):
    good = inline("  - { id: a, uses: noop, with: { text: inline } }\nresult:\n  text: ${{ stages.a.text }}\n")
    problem(daemon.post("/api/v1/jobs", {"inline": good}, token=daemon.alice), 403, "denied")
    job = daemon.post("/api/v1/jobs", {"inline": good}, token=daemon.author).json["id"]
    assert daemon.wait_job(job, token=daemon.author)["result"] == {"text": "inline"}
    answer = daemon.post("/api/v1/jobs", {"inline": inline("  - { id: a, uses: nop }\n")}, token=daemon.author)
    problem(answer, 422, "invalid")
    assert answer.json["problems"][0]["line"] == 4 and "noop" in json.dumps(answer.json["problems"])
    secret = inline("  - { id: a, uses: noop, with: { text: \"${{ secrets.KEY }}\" } }\n")
    problem(daemon.post("/api/v1/jobs", {"inline": secret}, token=daemon.author), 403, "denied")
    closed = daemon.folder / "closed.txt"
    for url in (str(closed), f"file://{closed}", "${{ format('{}', '" + str(closed) + "') }}", "${{ stages.b.text }}",
                "${{ stages.b.text ?? 'http://a.example/' }}", "${{ params.doc }}"):
        text = inline(f"  - {{ id: b, uses: noop }}\n  - {{ id: a, uses: fetch, needs: b, with: {{ url: \"{url}\" }} }}\n",
                      f"params:\n  doc: {{ type: text, default: '{closed}' }}\n")
        problem(daemon.post("/api/v1/jobs", {"inline": text}, token=daemon.author), 403, "denied")


def test_a_retry_reaches_no_further_than_its_submission(daemon):
    """Edited parameters of an inline pipeline go where they went at first: past the guard of its files."""
    text = inline("  - { id: b, uses: slow, with: { for: 30s } }\n  - { id: a, uses: fetch, needs: b, with: { url: \"${{ params.u }}\" } }\n",
                  "params:\n  u: { type: text, default: 'https://media.example.org/a' }\n")
    job = daemon.post("/api/v1/jobs", {"inline": text}, token=daemon.author).json["id"]
    daemon.post(f"/api/v1/jobs/{job}/cancel", token=daemon.author)
    daemon.wait_job(job, token=daemon.author)
    edits = {"params": {"u": f"{daemon.folder}/closed.txt"}}
    problem(daemon.post(f"/api/v1/jobs/{job}/retry", edits, token=daemon.author), 403, "denied")
    include = f"stagemill: 1\nname: mine\ninclude: {daemon.folder}/closed.txt\nstages:\n  - {{ id: a, uses: noop }}\n"
    answer = daemon.post("/api/v1/pipelines/check", {"inline": include}, token=daemon.author)
    assert not answer.json["ok"] and "secret of the server" not in answer.text


# ---- once for each key


def test_an_idempotency_key_makes_one_job(daemon):
    key = {"Idempotency-Key": str(uuid.uuid4())}
    answers = []
    threads = [threading.Thread(target=lambda: answers.append(
        daemon.post("/api/v1/jobs", {"pipeline": "note"}, token=daemon.alice, headers=key))) for _ in range(8)]
    [t.start() for t in threads]
    [t.join() for t in threads]
    assert {a.status for a in answers} == {202} and len({a.json["id"] for a in answers}) == 1, answers
    again = daemon.post("/api/v1/jobs", {"pipeline": "note"}, token=daemon.alice, headers=key)
    assert again.json["id"] == answers[0].json["id"] and again.headers["Idempotent-Replayed"] == "true"
    problem(daemon.post("/api/v1/jobs", {"pipeline": "note", "title": "x"}, token=daemon.alice, headers=key), 422)
    other = daemon.post("/api/v1/jobs", {"pipeline": "note"}, token=daemon.bob, headers=key)
    assert other.status == 202 and other.json["id"] != again.json["id"]  # a key is its owner's
    refused = {"Idempotency-Key": "refused-once"}
    problem(daemon.post("/api/v1/jobs", {"pipeline": "note", "params": {"x": 1}}, token=daemon.alice, headers=refused), 400)
    assert daemon.post("/api/v1/jobs", {"pipeline": "note"}, token=daemon.alice, headers=refused).status == 202
    problem(daemon.post("/api/v1/jobs", {"pipeline": "note"}, token=daemon.alice, headers={"Idempotency-Key": "x" * 300}), 400)


# ---- with the file in it


def form(parts, boundary="b-o-u-n-d"):
    out = b""
    for name, filename, data in parts:
        out += f'--{boundary}\r\nContent-Disposition: form-data; name="{name}"'.encode()
        out += f'; filename="{filename}"'.encode() if filename else b""
        out += b"\r\n\r\n" + data + b"\r\n"
    return out + f"--{boundary}--\r\n".encode(), {"Content-Type": f"multipart/form-data; boundary={boundary}"}


def post_form(daemon, *parts, **more):
    body, headers = form(parts)
    headers.update(more.pop("headers", {}))
    return daemon.request("POST", "/api/v1/jobs", body, headers=headers, token=daemon.alice, **more)


def peak(daemon):
    """Most memory that the daemon ever had, in KiB."""
    return int(re.search(r"VmHWM:\s+(\d+)", open(f"/proc/{daemon.pid}/status").read())[1])


REQUEST = ("request", None, b'{"pipeline": "read"}')


def test_a_file_comes_with_its_submission(daemon):
    data, before = os.urandom(1 << 20) * 32 + b"\r\n--b-o-u-n-\r\n--", peak(daemon)
    for parts in ([REQUEST, ("file", "clip.bin", data)], [("file", "../../clip.bin", data), REQUEST]):
        answer = post_form(daemon, *parts)
        assert answer.status == 202, answer
        done = daemon.wait_job(answer.json["id"], token=daemon.alice)
        assert done["result"] == {"bytes": len(data)} and done["title"] == "clip.bin", done
        stored = list((daemon.state / "outputs" / done["id"]).glob(".input/*"))
        assert peak(daemon) - before < 16 << 10, "the file was held in memory"
        assert [p.name for p in stored] == ["clip.bin"] and stored[0].read_bytes() == data
        assert daemon.delete(f"/api/v1/jobs/{done['id']}", token=daemon.alice).status == 204
        wait_until(lambda: not stored[0].exists())


def test_a_form_repeated_makes_one_job(daemon):
    before, key, data, answers = set(os.listdir(daemon.state / "outputs")), {"Idempotency-Key": str(uuid.uuid4())}, os.urandom(200000), []
    threads = [threading.Thread(target=lambda: answers.append(post_form(daemon, ("file", "a.bin", data), REQUEST, headers=key)))
               for _ in range(5)]
    [t.start() for t in threads]
    [t.join() for t in threads]
    assert {a.status for a in answers} == {202} and len({a.json["id"] for a in answers}) == 1, answers
    job = answers[0].json["id"]
    assert daemon.wait_job(job, token=daemon.alice)["result"] == {"bytes": len(data)}
    wait_until(lambda: set(os.listdir(daemon.state / "outputs")) - before == {job})
    problem(post_form(daemon, ("file", "a.bin", data[:-1]), REQUEST, headers=key), 422)
    assert (daemon.state / "outputs" / job / ".input" / "a.bin").stat().st_size == len(data)


def test_an_uploaded_file_is_an_input(daemon):
    made = daemon.post("/api/v1/uploads", {"filename": "holiday clip.mp4", "contentType": "video/mp4"}, token=daemon.alice).json
    put = daemon.put(made["uploadUrl"], b"1234567", token=None, headers={"Content-Type": "video/mp4"})
    assert put.status == 200, put
    problem(daemon.post("/api/v1/jobs", {"pipeline": "read", "input": made["fileKey"]}, token=daemon.bob), 400, "not-found")
    job = daemon.submit("read", input=made["fileKey"], token=daemon.alice)
    done = daemon.wait_job(job["id"], token=daemon.alice)
    assert done["result"] == {"bytes": 7} and done["title"] == "holiday clip.mp4" and "/" not in done["spec"]["input"], done
    note = daemon.submit("note", params={"doc": made["fileKey"]}, token=daemon.alice)["id"]
    assert "/" not in daemon.job(note, token=daemon.alice)["spec"]["params"]["doc"]
    assert daemon.job(note)["spec"]["params"]["doc"].startswith("/")


def test_a_wrong_form_leaves_nothing_behind(daemon):
    before = set(os.listdir(daemon.state / "outputs"))
    file = ("file", "a", b"x" * 100000)
    problem(post_form(daemon, file), 400)
    problem(post_form(daemon, REQUEST, file, file), 400)
    problem(post_form(daemon, REQUEST, ("other", None, b"x")), 400)
    problem(post_form(daemon, ("request", None, b'{"pipeline": "read", "input": "a.txt"}'), file), 400)
    problem(post_form(daemon, ("request", None, b'{"pipeline": "none"}'), file), 400)
    body, headers = form([REQUEST, file])
    problem(daemon.request("POST", "/api/v1/jobs", body[:-60000], headers=headers, token=daemon.alice), 400)
    problem(daemon.request("POST", "/api/v1/jobs", body, headers={"Content-Type": "multipart/form-data"}, token=daemon.alice), 400)
    wait_until(lambda: set(os.listdir(daemon.state / "outputs")) <= before)


# ---- lists


def test_lists_have_pages_and_filters(daemon):
    token = daemon.mint("lister")
    ids = [daemon.submit("note", asset=f"asset-{n % 2}", token=token)["id"] for n in range(5)]
    for id in ids:
        daemon.wait_job(id, token=token)
    seen, cursor = [], None
    while True:
        page = daemon.get(f"/api/v1/jobs?limit=2{'&cursor=' + cursor if cursor else ''}", token=token).json
        seen += [job["id"] for job in page["jobs"]]
        cursor = page["next"]
        assert len(page["jobs"]) <= 2
        if not cursor:
            break
    assert seen == ids[::-1]
    count = lambda query: len(daemon.get(f"/api/v1/jobs?{query}", token=token).json["jobs"])
    assert count("asset=asset-1") == 2 and count("pipeline=slow") == 0 and count("status=failed,completed") == 5
    assert count("status=failed") == 0 and count("since=2020-01-01") == 5 and count("since=2100-01-01T00:00:00Z") == 0
    assert count("until=2020-01-01T00:00:00%2B02:00") == 0
    for query in ("status=done", "since=yesterday", "limit=0", "limit=1001", "cursor=@", "limit=x"):
        problem(daemon.get(f"/api/v1/jobs?{query}", token=token), 400)


def test_those_that_wait_know_their_place(daemon):
    token = daemon.mint("waiter")
    daemon.post("/api/v1/queue/pause", {})
    ids = [daemon.submit("note", token=token)["id"] for _ in range(3)]
    ids.insert(0, daemon.submit("note", priority="high", token=token)["id"])
    jobs = {j["id"]: j for j in daemon.get("/api/v1/jobs", token=token).json["jobs"]}
    assert [jobs[id]["queuePosition"] for id in ids] == [1, 2, 3, 4] and "paused" in jobs[ids[0]]["waitReason"], jobs
    assert daemon.job(ids[3], token=token)["queuePosition"] == 4
    daemon.post("/api/v1/queue/resume", {})
    for id in ids:
        assert "queuePosition" not in daemon.wait_job(id, token=token)


# ---- steering


def test_cancel_retry_delete(daemon):
    job = daemon.submit("slow", token=daemon.alice)["id"]
    daemon.wait_job(job, "processing", token=daemon.alice)
    problem(daemon.delete(f"/api/v1/jobs/{job}", token=daemon.alice), 409, "conflict")
    assert daemon.post(f"/api/v1/jobs/{job}/cancel", token=daemon.alice).status == 202
    assert daemon.wait_job(job, token=daemon.alice)["status"] == "cancelled"
    problem(daemon.post(f"/api/v1/jobs/{job}/cancel", token=daemon.alice), 409, "conflict")
    answer = daemon.post(f"/api/v1/jobs/{job}/retry", {"params": {"for": "10ms"}}, token=daemon.alice)
    assert answer.status == 202 and answer.json["round"] == 2, answer
    done = daemon.wait_job(job, token=daemon.alice)
    assert done["status"] == "completed" and done["round"] == 2
    problem(daemon.post(f"/api/v1/jobs/{job}/retry", token=daemon.alice), 409, "conflict")
    assert daemon.delete(f"/api/v1/jobs/{job}", token=daemon.alice).status == 204
    problem(daemon.get(f"/api/v1/jobs/{job}", token=daemon.alice), 404)


def test_pause_resume_priority(daemon):
    job = daemon.submit("slow", params={"for": "300ms"}, token=daemon.alice)["id"]
    assert daemon.post(f"/api/v1/jobs/{job}/pause", {"until": "2099-01-01T00:00:00Z"}, token=daemon.alice).status == 202
    paused = daemon.wait_job(job, "paused", token=daemon.alice)
    assert paused["pausedUntil"].startswith("2099-01-01T00:00:00"), paused
    assert daemon.post(f"/api/v1/jobs/{job}/priority", {"priority": 3}, token=daemon.alice).json["priority"] == 3
    explained = daemon.get(f"/api/v1/jobs/{job}/explain", token=daemon.alice).json
    assert explained["status"] == "paused" and explained["reason"] and "resume" in explained["nextStep"], explained
    assert daemon.post(f"/api/v1/jobs/{job}/resume", token=daemon.alice).status == 202
    assert daemon.wait_job(job, token=daemon.alice)["status"] == "completed"
    for body in ({"until": "2001-01-01"}, {"until": "soon"}, {"till": 1}):
        problem(daemon.post(f"/api/v1/jobs/{job}/pause", body, token=daemon.alice), 400)


def test_a_failure_is_explained(daemon):
    job = daemon.submit("flaky", token=daemon.alice)["id"]
    failed = daemon.wait_job(job, token=daemon.alice)
    assert failed["status"] == "failed" and failed["error"]["stage"] == "shaky" and "moon" in failed["error"]["message"], failed
    explained = daemon.get(f"/api/v1/jobs/{job}/explain", token=daemon.alice).json
    shaky = [d for d in explained["details"] if d["stage"] == "shaky"][0]
    assert "moon" in shaky["error"] and "retry" in explained["nextStep"], explained
    answer = daemon.post(f"/api/v1/jobs/{job}/retry", {"from": "shaky", "params": {"failures": 0}}, token=daemon.alice)
    assert answer.status == 202, answer
    done = daemon.wait_job(job, token=daemon.alice)
    assert done["status"] == "completed" and [s["attempts"] for s in done["stages"]] == [1, 2], done


def test_bulk(daemon):
    token, bulk = daemon.mint("bulky"), "/api/v1/jobs/bulk"
    ids = [daemon.submit("slow", token=token)["id"] for _ in range(12)]
    mine = {"filter": {"pipeline": "slow"}, "action": "cancel"}
    dry = daemon.post(bulk, dict(mine, dryRun=True), token=token).json
    assert (dry["matched"], dry["done"], dry["failed"]) == (12, 0, []), dry
    assert daemon.post(bulk, mine, token=daemon.bob).json["matched"] == 0
    done = daemon.post(bulk, mine, token=token).json
    assert (done["matched"], done["done"]) == (12, 12), done
    for id in ids:
        daemon.wait_job(id, token=token)
    again = daemon.post(bulk, mine, token=token).json
    assert again["done"] == 0 and again["failedCount"] == 12 and again["failed"][0]["code"] == "conflict", again
    gone = daemon.post(bulk, {"action": "delete", "filter": {"status": ["cancelled"]}}, token=token).json
    assert gone["done"] == 12 and daemon.get("/api/v1/jobs", token=token).json["jobs"] == []
    for body in ({"action": "cancel"}, {"action": "stop", "filter": {}}, {"action": "priority", "filter": {}},
                 {"action": "cancel", "filter": {"stat": "x"}}, {"action": "cancel", "filter": [], "priority": 4}):
        problem(daemon.post(bulk, body, token=token), 400)
