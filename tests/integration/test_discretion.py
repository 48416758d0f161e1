"""No secret and no token in any log, file or database after a run that used all of them."""
import json
import os
import pathlib
import re
import urllib.request

import pytest
from serving import Daemon

SECRET = "s3cr3t-Value/with+signs-0815"
PIPELINE = """
stagemill: 1
name: whisper
stages:
  - { id: say, uses: noop, with: { text: "it is ${{ secrets.WHISPER }} here" } }
  - { id: fail, uses: flaky, with: { failures: 9 }, retry: { attempts: 1 }, continue-on-error: true }
result: { said: "${{ stages.say.text }}" }
"""


def streamed(url):
    with urllib.request.urlopen(url, timeout=20) as answer:
        return answer.read()


@pytest.mark.parametrize("form", ["text", "json"])
def test_nothing_that_was_entrusted_stands_anywhere(mill, form):
    hook = "https://user:hook-password-4711@example.invalid/x"
    settings = f"log: {{ format: {form}, level: debug }}\n"
    env = {"STAGEMILL_SECRET_WHISPER": SECRET}
    with Daemon(mill, settings=settings, pipelines={"whisper": PIPELINE}, env=env) as daemon:
        alice = daemon.mint("alice", "submit,read")
        ticket = daemon.post("/api/v1/tickets", token=alice).json["ticket"]
        job = daemon.submit("whisper", token=alice, notify={"webhooks": [{"url": hook}]})["id"]
        ended = daemon.wait_job(job)
        assert SECRET not in json.dumps(ended) and ended["result"]["said"]
        streamed(f"{daemon.url}/api/v1/jobs/{job}/events?token={alice}&since=99")
        assert daemon.get(f"/api/v1/jobs/{job}/events?ticket={ticket}", token=None, headers={"Accept": "text/event-stream"}).status == 200
        link = daemon.post(f"/api/v1/jobs/{job}/links", {}, token=alice).json["url"]
        signature = re.search(r"/shared/\d+/([^/]+)", link)[1]
        daemon.get(link, token=None)
        daemon.get(f"/api/v1/jobs?token={alice}", token=None)
        daemon.request("GET", "/api/v1/jobs", headers={"Authorization": f"Basic {alice}"}, token=None)
        upload = daemon.post("/api/v1/uploads", {"filename": "a.mp4", "contentType": "video/mp4"}, token=alice).json["uploadUrl"]
        put_signature = re.search(r"signature=([^&]+)", upload)[1]
        assert daemon.put(upload, b"clip", headers={"Content-Type": "video/mp4"}, token=None).status in (200, 201, 204)
        assert daemon.stop() == 0
        log = daemon.err
    entrusted = {"secret": SECRET, "token": alice, "operator's token": daemon.token, "ticket": ticket, "link": signature,
                 "upload": put_signature}
    for name, text in entrusted.items():
        assert text not in log, f"the {name} stands in the log"
    assert "hook-password-4711" not in log
    if form == "json":
        assert all(json.loads(line)["level"] for line in log.splitlines() if line.strip())
    for folder, _, names in os.walk(daemon.state):
        if folder.endswith("/say"):
            continue  # the stage's own artifact: what a stage makes of a secret that it was given is its affair
        for name in names:
            content = pathlib.Path(folder, name).read_bytes()
            for what in (SECRET, alice, daemon.token, ticket, signature):
                assert what.encode() not in content, f"{what} stands in {folder}/{name}"
