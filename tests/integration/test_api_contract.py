"""web/openapi.json against the daemon: two validators read it, it names every route of the sources and no other, and every
operation is used once at least, with what comes back checked against its schema."""
import base64
import json
import os
import re
import subprocess
import time
import urllib.parse

import jsonschema
import pytest

from conftest import ROOT, Mill, wait_until
from serving import Daemon

FILE = ROOT / "web" / "openapi.json"
API = json.loads(FILE.read_text())
OPERATIONS = {op["operationId"]: (method.upper(), path, op) for path, item in API["paths"].items()
              for method, op in item.items() if isinstance(op, dict) and "operationId" in op}
ROUTE = re.compile(r'\{\s*"([A-Z]+)",\s*"(/[^"]*)",[^{}]*?"(\w+)"\s*\}')


# ---- the description itself


def node(*words, **more):
    env = dict(os.environ, REDOCLY_TELEMETRY="off", CI="1")
    return subprocess.run(words, cwd=ROOT / "tests", env=env, capture_output=True, text=True, timeout=60, **more)


def test_swagger_parser_reads_it():
    read = node("node", "openapi/validate.mjs", str(FILE))
    assert read.returncode == 0 and int(read.stdout) == len(OPERATIONS), read.stdout + read.stderr


def test_redocly_reads_it():
    read = node("node_modules/.bin/redocly", "lint", "--format=json", "--config", "openapi/redocly.yaml", str(FILE))
    totals = json.loads(read.stdout)["totals"]
    assert read.returncode == 0 and totals["errors"] == totals["warnings"] == 0, read.stdout + read.stderr


def test_it_names_the_routes_and_no_other():
    found = {}
    for source in [*(ROOT / "core/http/api").glob("*.c"), *(ROOT / "core/cli").glob("serve*.c")]:
        for method, path, operation in ROUTE.findall(source.read_text()):
            assert operation not in found, f"{operation} is the name of two routes"
            found[operation] = (method, path.replace("...}", "}"))
    described = {operation: (method, path) for operation, (method, path, _) in OPERATIONS.items()}
    assert found == described


# ---- every operation, used


class Contract:
    """Sends requests and holds requests and answers against the description."""

    def __init__(self, daemon):
        self.daemon, self.used = daemon, {}
        self.resolver = jsonschema.RefResolver.from_schema(API)
        self.patterns = sorted(((re.compile("^" + re.sub(r"\\\{(\w+)\\\}", self.piece, re.escape(path)) + "$"), path)
                                for path in API["paths"]), key=lambda p: (p[1].count("{"), -len(p[1])))

    @staticmethod
    def piece(match):
        return ".+" if match[1] in ("path", "key") else "[^/]+"

    def resolve(self, node):
        while "$ref" in node:
            node = self.resolver.resolve(node["$ref"])[1]
        return node

    def check(self, value, schema, where):
        errors = list(jsonschema.Draft202012Validator(schema, resolver=self.resolver).iter_errors(value))
        best = jsonschema.exceptions.best_match(errors)
        assert not errors, f"{where}: {best.message} at {list(best.absolute_path)}\n{json.dumps(value)[:2000]}"

    def find(self, method, path):
        for pattern, template in self.patterns:
            if pattern.match(path) and method.lower() in API["paths"][template]:
                return API["paths"][template][method.lower()]
        raise AssertionError(f"{method} {path} is not described")

    def check_body(self, op, body, where):
        if isinstance(body, (dict, list)):
            self.check(body, op["requestBody"]["content"]["application/json"]["schema"], f"{where}, request")

    def __call__(self, operation, method, path, body=None, status=None, wrong=False, **more):
        """wrong: the request is meant to be refused, so its body need not fit."""
        op = self.find(method, urllib.parse.urlsplit(path).path)
        where = f"{method} {path}"
        assert op["operationId"] == operation, f"{where} is {op['operationId']}"
        if not wrong:
            self.check_body(op, body, where)
        answer = self.daemon.request(method, path, body, **more)
        where = f"{where} {answer.status}"
        assert status is None or answer.status == status, f"{where}: {answer.text[:1000]}"
        assert str(answer.status) in op["responses"], f"{where} is not described: {answer.text[:1000]}"
        described = self.resolve(op["responses"][str(answer.status)])
        for name, header in described.get("headers", {}).items():
            assert name in answer.headers, f"{where}: the header {name} is missing"
        kind = (answer.headers.get("Content-Type") or "").split(";")[0]
        content = described.get("content", {})
        if answer.body or content:
            assert kind in content, f"{where}: {kind} is not described, {list(content)} are"
            if kind.endswith("json"):
                self.check(answer.json, content[kind]["schema"], where)
        self.used.setdefault(operation, set()).add(answer.status)
        return answer


NOTE = "stagemill: 1\nname: note\ntitle: a note\nparams:\n  text: { type: text, default: hello, summary: what to write }\n" \
       "  sizes: { type: int, list: true, default: [1, 2] }\nstages:\n" \
       "  - { id: write, uses: noop, with: { text: \"${{ params.text }}\" } }\nresult:\n  text: ${{ stages.write.text }}\n"
SLOW = "stagemill: 1\nname: slow\nstages:\n  - { id: wait, uses: slow, with: { for: 60s } }\n"
FAIL = "stagemill: 1\nname: fail\nstages:\n  - { id: shaky, uses: flaky, retry: { attempts: 1 }, with: { failures: 99 } }\n"
BROKEN = "stagemill: 1\nname: broken\nstages:\n  - { id: a, uses: nop }\n"


@pytest.fixture(scope="module")
def use(tmp_path_factory):
    mill = Mill(tmp_path_factory.mktemp("contract"))
    with Daemon(mill, pipelines={"note": NOTE, "slow": SLOW, "fail": FAIL, "broken": BROKEN}) as daemon:
        contract = Contract(daemon)
        contract.alice = daemon.mint("alice", "submit,read,pipelines")
        yield contract
    mill.clean()


def test_jobs(use):
    daemon = use.daemon
    job = use("submitJob", "POST", "/api/v1/jobs", {"pipeline": "note", "params": {"text": "x"}, "asset": "film", "priority": "low",
              "notify": {"webhooks": [{"url": "https://hooks.example.org/a?token=abc", "on": ["failed"]}]}}, 202).json["id"]
    use("submitJob", "POST", "/api/v1/jobs", {"pipeline": "none"}, 400)
    use("submitJob", "POST", "/api/v1/jobs", {"inline": BROKEN}, 422)
    use("submitJob", "POST", "/api/v1/jobs", b"{}", 415, headers={"Content-Type": "text/plain"})
    done = daemon.wait_job(job)
    detail = use("getJob", "GET", f"/api/v1/jobs/{job}", status=200).json
    assert detail["notify"]["webhooks"][0]["url"] == "https://hooks.example.org/a?token=***", detail["notify"]
    use("getJob", "GET", "/api/v1/jobs/none", status=404)
    use("getJob", "GET", f"/api/v1/jobs/{job}", status=401, token=None)
    use("listJobs", "GET", "/api/v1/jobs?status=completed,failed&limit=1", status=200)
    use("listJobs", "GET", "/api/v1/jobs?limit=none", status=400)
    use("explainJob", "GET", f"/api/v1/jobs/{job}/explain", status=200)
    events = use("followJob", "GET", f"/api/v1/jobs/{job}/events?since=0", status=200).json
    assert events["ended"] and [e["seq"] for e in events["events"]] == list(range(1, done["lastSeq"] + 1))
    use("followJob", "GET", f"/api/v1/jobs/{job}/events", status=200, headers={"Accept": "text/event-stream"})
    use("followJob", "GET", f"/api/v1/jobs/{job}/events", status=204,
        headers={"Accept": "text/event-stream", "Last-Event-ID": str(done["lastSeq"])})
    artifact = use("listArtifacts", "GET", f"/api/v1/jobs/{job}/artifacts", status=200).json["artifacts"][0]
    use("getArtifact", "GET", artifact["href"], status=200)
    use("getArtifact", "GET", artifact["href"], status=206, headers={"Range": "bytes=0-0"})
    use("getArtifact", "GET", artifact["href"], status=304, headers={"If-None-Match": f'"{artifact["sha256"]}"'})
    use("getArtifact", "GET", artifact["href"] + "x", status=404)
    link = use("linkArtifacts", "POST", f"/api/v1/jobs/{job}/links", {"path": artifact["path"], "ttl": "5m"}, 201).json["url"]
    shared = link[len(daemon.url):]
    use("getShared", "GET", shared, status=200, token=None)
    use("getShared", "GET", shared.replace("/shared/", "/shared/1"), status=403, token=None)
    log = use("listLogs", "GET", f"/api/v1/jobs/{job}/logs", status=200).json["logs"][0]
    use("getLog", "GET", log["href"] + "?from=1&follow=true", status=200)
    use("getLog", "GET", f"/api/v1/jobs/{job}/logs/999999", status=404)
    use("deleteJob", "DELETE", f"/api/v1/jobs/{job}", status=204)


def test_steering(use):
    daemon = use.daemon
    failed = use("submitJob", "POST", "/api/v1/jobs", {"pipeline": "fail", "title": "bad"}, 202).json["id"]
    daemon.wait_job(failed)
    use("getJob", "GET", f"/api/v1/jobs/{failed}", status=200)
    use("explainJob", "GET", f"/api/v1/jobs/{failed}/explain", status=200)
    use("retryJob", "POST", f"/api/v1/jobs/{failed}/retry", {"whole": True}, 202)
    daemon.wait_job(failed)
    job = use("submitJob", "POST", "/api/v1/jobs", {"pipeline": "slow"}, 202).json["id"]
    daemon.wait_job(job, "processing")
    use("getJob", "GET", f"/api/v1/jobs/{job}", status=200)
    use("deleteJob", "DELETE", f"/api/v1/jobs/{job}", status=409)
    use("releaseStage", "POST", f"/api/v1/jobs/{job}/release", {"stage": "wait", "decision": "rejected"}, 409)
    use("pauseJob", "POST", f"/api/v1/jobs/{job}/pause", {"until": "2099-01-01T00:00:00Z"}, 202)
    use("resumeJob", "POST", f"/api/v1/jobs/{job}/resume", {}, 202)
    use("cancelJob", "POST", f"/api/v1/jobs/{job}/cancel", status=202)
    daemon.wait_job(job)
    use("cancelJob", "POST", f"/api/v1/jobs/{job}/cancel", {}, 409)
    use("pauseQueue", "POST", "/api/v1/queue/pause", {"until": "2099-01-01T00:00:00Z"}, 200)
    waiting = use("submitJob", "POST", "/api/v1/jobs", {"pipeline": "slow"}, 202).json["id"]
    use("getJob", "GET", f"/api/v1/jobs/{waiting}", status=200)
    use("prioritizeJob", "POST", f"/api/v1/jobs/{waiting}/priority", {"priority": "high"}, 200)
    use("prioritizeJob", "POST", f"/api/v1/jobs/{waiting}/priority", {"priority": "urgent"}, 400, wrong=True)
    assert use("getQueue", "GET", "/api/v1/queue", status=200).json["paused"]
    bulk = {"action": "cancel", "filter": {"status": ["queued", "paused"], "pipeline": "slow"}}
    assert use("bulkJobs", "POST", "/api/v1/jobs/bulk", bulk, 200).json["matched"] == 1
    assert use("resumeQueue", "POST", "/api/v1/queue/resume", {}, 200).json == {"paused": False, "pausedUntil": None}
    use("pausePipeline", "POST", "/api/v1/pipelines/slow/pause", {}, 200)
    use("resumePipeline", "POST", "/api/v1/pipelines/slow/resume", status=200)
    use("pausePipeline", "POST", "/api/v1/pipelines/none/pause", {}, 404)


def test_a_person_releases(use):
    text = "stagemill: 1\nname: ask\nstages:\n  - { id: look, uses: hold, with: { title: look, fields: [word] } }\n" \
           "  - { id: go, uses: noop, needs: look, with: { text: \"${{ stages.look.word ?? 'none' }}\" } }\n" \
           "result:\n  text: ${{ stages.go.text }}\n"
    job = use("submitJob", "POST", "/api/v1/jobs", {"inline": text}, 202).json["id"]
    use.daemon.wait_job(job, "held")
    use("getJob", "GET", f"/api/v1/jobs/{job}", status=200)
    use("explainJob", "GET", f"/api/v1/jobs/{job}/explain", status=200)
    decision = {"stage": "look", "decision": "released", "values": {"word": "fine"}, "comment": "go ahead"}
    use("releaseStage", "POST", f"/api/v1/jobs/{job}/release", decision, 202)
    assert use.daemon.wait_job(job)["result"] == {"text": "fine"}


def test_pipelines_stages_stats(use):
    listed = use("listPipelines", "GET", "/api/v1/pipelines", status=200).json["pipelines"]
    assert [p["name"] for p in listed] == ["broken", "fail", "note", "slow"]
    assert listed[0]["problems"] and listed[2]["params"][1]["default"] == [1, 2]
    assert use("getPipeline", "GET", "/api/v1/pipelines/note", status=200).json["yaml"] == NOTE
    use("getPipeline", "GET", "/api/v1/pipelines/none", status=404)
    use("checkPipeline", "POST", "/api/v1/pipelines/check", {"inline": BROKEN}, 200)
    use("checkPipeline", "POST", "/api/v1/pipelines/check", {"pipeline": "note"}, 200)
    use("checkPipeline", "POST", "/api/v1/pipelines/check", {}, 400)
    use("planPipeline", "POST", "/api/v1/pipelines/note/plan", {"params": {"text": "x"}}, 200)
    use("planPipeline", "POST", "/api/v1/pipelines/broken/plan", {}, 409)
    stage = use("getStage", "GET", "/api/v1/stages/noop", status=200).json
    jsonschema.Draft202012Validator.check_schema(stage["schema"])
    assert not list(jsonschema.Draft202012Validator(stage["schema"]).iter_errors({"text": "x", "n": 4}))
    assert list(jsonschema.Draft202012Validator(stage["schema"]).iter_errors({"txet": "x"}))
    assert "noop" in use("getStage", "GET", "/api/v1/stages/nopo", status=404).json["detail"]
    use("listStages", "GET", "/api/v1/stages", status=200)
    stats = use("getStats", "GET", "/api/v1/stats", status=200).json
    assert use("followMany", "GET", f"/api/v1/events?since={stats['cursor']}&all=true", status=200).json["events"] == []
    assert use("getStats", "GET", "/api/v1/stats", status=200, token=use.alice).json["done"] == 0


def test_tokens_and_daemon(use):
    use("whoami", "GET", "/api/v1/whoami", status=200, token=use.alice)
    ticket = use("issueTicket", "POST", "/api/v1/tickets", status=201, token=use.alice).json["ticket"]
    use("followMany", "GET", f"/api/v1/events?ticket={ticket}", status=200, token=None)
    use("followMany", "GET", f"/api/v1/events?ticket={ticket}", status=401, token=None)
    use("followMany", "GET", "/api/v1/events?all=true", status=403, token=use.alice)
    victim = use.daemon.mint("victim")
    use("revokeToken", "POST", "/api/v1/tokens/revoke", {"sub": "victim"}, 200)
    use("whoami", "GET", "/api/v1/whoami", status=401, token=victim)
    use("revokeToken", "POST", "/api/v1/tokens/revoke", {"sub": "x"}, 403, token=use.alice)
    assert use("getDescription", "GET", "/openapi.json", status=200, token=None).json == API
    use("getHealth", "GET", "/healthz", status=200, token=None)
    use("getReadiness", "GET", "/readyz", status=200, token=None)
    use("getMetrics", "GET", "/metrics", status=200)


def test_uploads_and_assets(use):
    more = {"token": use.alice}
    made = use("createUpload", "POST", "/api/v1/uploads", {"filename": "a.bin", "contentType": "application/octet-stream",
               "pipeline": "note"}, 201, **more).json
    use("createUpload", "POST", "/api/v1/uploads", {"filename": "a.bin"}, 400, wrong=True, **more)
    path = made["uploadUrl"][len(use.daemon.url):]
    use("putUpload", "PUT", path, b"12345", 200, token=None, headers={"Content-Type": "application/octet-stream"})
    use("putUpload", "PUT", path + "0", b"1", 403, token=None, headers={"Content-Type": "application/octet-stream"})
    use("listUploads", "GET", "/api/v1/uploads", status=200, **more)
    use("getUpload", "GET", f"/api/v1/uploads/{made['fileKey']}", status=200, **more)
    confirm = {"fileKey": made["fileKey"], "originalName": "holiday.bin", "fileName": made["fileName"], "bucketName": made["bucketName"]}
    done = use("confirmUpload", "POST", "/api/v1/uploads/confirm", confirm, 202, **more).json
    assert use("confirmUpload", "POST", "/api/v1/uploads/confirm", confirm, 202, **more).json == done
    use.daemon.wait_job(done["jobId"], **more)
    use("listAssets", "GET", "/api/v1/assets", status=200, **more)
    asset = f"/api/v1/assets/{done['assetId']}"
    use("getAsset", "GET", asset, status=200, **more)
    use("updateAsset", "PATCH", asset, {"title": "Holiday", "author": None}, 200, **more)
    use("listAssetJobs", "GET", asset + "/jobs", status=200, **more)
    use("getAsset", "GET", "/api/v1/assets/none", status=404, **more)
    spare = use("createUpload", "POST", "/api/v1/uploads", {"filename": "b.bin", "contentType": "video/mp4"}, 201, **more).json
    use("deleteUpload", "DELETE", f"/api/v1/uploads/{spare['fileKey']}", status=204, **more)


def test_resumable_uploads(use):
    more, tus = {"token": use.alice}, {"Tus-Resumable": "1.0.0"}
    use("tusOptions", "OPTIONS", "/api/v1/uploads/tus/", status=204, token=None)
    name = "filename " + base64.b64encode(b"a.bin").decode() + ",filetype " + base64.b64encode(b"video/mp4").decode()
    made = use("tusCreate", "POST", "/api/v1/uploads/tus/", status=201, headers=dict(tus, **{"Upload-Length": "5", "Upload-Metadata": name}), **more)
    path = urllib.parse.urlsplit(made.headers["Location"]).path
    piece = dict(tus, **{"Content-Type": "application/offset+octet-stream", "Upload-Offset": "0"})
    use("tusPatch", "PATCH", path, b"123", 204, headers=piece, **more)
    use("tusPatch", "PATCH", path, b"123", 409, headers=piece, **more)
    assert use("tusHead", "HEAD", path, status=200, headers=tus, **more).headers["Upload-Offset"] == "3"
    use("tusDelete", "DELETE", path, status=204, headers=tus, **more)


def test_deliveries(use):
    """The webhook of test_jobs' like: nobody is there to take it."""
    job = use("submitJob", "POST", "/api/v1/jobs", {"pipeline": "note", "notify": {"webhooks": [{"url": "http://127.0.0.1:9/hook"}]}}, 202).json["id"]
    use.daemon.wait_job(job)
    listed = wait_until(lambda: use("listDeliveries", "GET", f"/api/v1/deliveries?job={job}", status=200).json["deliveries"])
    use("getDelivery", "GET", f"/api/v1/deliveries/{listed[0]['id']}", status=200)
    use("getDelivery", "GET", "/api/v1/deliveries/none", status=404)
    use("replayDelivery", "POST", f"/api/v1/deliveries/{listed[0]['id']}/replay", {})


def test_batches(use):
    more = {"token": use.alice}
    body = {"pipeline": "note", "title": "two", "source": {"list": [{"input": "https://media.example.org/a"}, {"input": "nowhere/b"}]}}
    batch = use("submitBatch", "POST", "/api/v1/batches", body, 202, **more).json["id"]
    use("submitBatch", "POST", "/api/v1/batches", {"pipeline": "note", "source": {}}, 400, wrong=True, **more)
    use("listBatches", "GET", "/api/v1/batches", status=200, **more)
    end = time.monotonic() + 15
    while use("getBatch", "GET", f"/api/v1/batches/{batch}", status=200, **more).json["status"] in ("listing", "running"):
        assert time.monotonic() < end
        time.sleep(0.1)
    use("listBatchFiles", "GET", f"/api/v1/batches/{batch}/files", status=200, **more)
    use("followBatch", "GET", f"/api/v1/batches/{batch}/events?since=0", status=200, **more)
    use("getBatch", "GET", "/api/v1/batches/none", status=404, **more)
    use("cancelBatch", "POST", f"/api/v1/batches/{batch}/cancel", {}, 409, **more)
    use("retryBatch", "POST", f"/api/v1/batches/{batch}/retry", {}, **more)


def test_every_operation_was_used(use):
    """The last of this file: the others have used them. Of some no more than a refusal can be had in so short a time."""
    refused = {"cancelBatch", "retryBatch", "replayDelivery"}
    good = {operation for operation, statuses in use.used.items() if min(statuses) < 400 or operation in refused}
    assert sorted(set(OPERATIONS) - good) == []
