"""Webhooks and mail as the daemon sends them: to a real HTTP server over a kill, and through a real Postfix."""
import hashlib
import hmac
import http.server
import json
import threading

import pytest

import postfix
from conftest import wait_until
from serving import Daemon

SECRET = "a secret of some length"
NOOP = "stagemill: 1\nname: {name}\nstages: [{{ id: a, uses: noop, with: {{ text: hällo }} }}]\nresult: {{ said: \"${{{{ stages.a.text }}}}\" }}\n"


class Hooks:
    """Keeps what is posted to it, and says for each whether its signature is right."""

    def __init__(self, port=0):
        heard = self.heard = []

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self):
                body = self.rfile.read(int(self.headers["Content-Length"]))
                stamp = self.headers["Stagemill-Timestamp"].encode()
                right = "v1=" + hmac.new(SECRET.encode(), stamp + b"." + body, hashlib.sha256).hexdigest()
                heard.append({"path": self.path, "signed": self.headers["Stagemill-Signature"] == right,
                              "event": self.headers["Stagemill-Event"], "id": self.headers["Stagemill-Delivery"],
                              "body": json.loads(body)})
                self.send_response(200)
                self.end_headers()

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", port), Handler)
        self.port = self.server.server_address[1]
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def close(self):
        self.server.shutdown()
        self.server.server_close()


def settings(port, *more):
    return "\n".join([f"webhooks: {{ urls: ['http://127.0.0.1:{port}/daemon'], secret: HOOK, allow-private: true }}", *more, ""])


def deliveries(daemon, query="", **more):
    answer = daemon.get(f"/api/v1/deliveries{query}", **more)
    assert answer.status == 200, answer
    return answer.json["deliveries"]


def test_daemon_pipeline_and_job_are_told_and_may_replay(mill):
    hooks = Hooks()
    pipeline = NOOP.format(name="noop") + f"notify: {{ webhooks: {{ url: 'http://127.0.0.1:{hooks.port}/pipe', on: started }} }}\n"
    with Daemon(mill, settings=settings(hooks.port), pipelines={"noop": pipeline}, env={"STAGEMILL_SECRET_HOOK": SECRET}) as daemon:
        alice, bob = daemon.mint("alice"), daemon.mint("bob")
        own = {"webhooks": [{"url": f"http://127.0.0.1:{hooks.port}/job", "on": ["completed", "failed"]}]}
        job = daemon.submit("noop", notify=own, token=alice)["id"]
        daemon.wait_job(job)
        wait_until(lambda: len(hooks.heard) == 3)
        assert sorted((h["path"], h["event"]) for h in hooks.heard) == [
            ("/daemon", "completed"), ("/job", "completed"), ("/pipe", "started")]
        assert all(h["signed"] for h in hooks.heard)
        events = {e["seq"]: e for e in daemon.get(f"/api/v1/jobs/{job}/events").json["events"]}
        assert all(h["body"] == events[h["body"]["seq"]] for h in hooks.heard)
        wait_until(lambda: len(deliveries(daemon, "?state=delivered")) == 3)
        listed = deliveries(daemon, f"?job={job}", token=alice)
        assert {d["source"] for d in listed} == {"settings", "pipeline", "job"} and listed[0]["seq"] >= listed[2]["seq"]
        assert deliveries(daemon, f"?job={job}", token=bob) == [] and deliveries(daemon, token=bob) == []
        one = listed[0]["id"]
        assert daemon.get(f"/api/v1/deliveries/{one}", token=bob).status == 404
        assert daemon.get(f"/api/v1/deliveries/{one}", token=alice).json["state"] == "delivered"
        assert daemon.post(f"/api/v1/deliveries/{one}/replay", token=bob).status == 404
        assert daemon.post(f"/api/v1/deliveries/{one}/replay", token=alice).status == 202
        wait_until(lambda: len(hooks.heard) == 4)
        assert hooks.heard[3]["id"] == one
        assert daemon.get("/api/v1/deliveries?state=lost").status == 400
        assert daemon.stop() == 0
        assert SECRET not in daemon.err
    hooks.close()


def test_a_kill_loses_no_delivery_and_repeats_none(mill):
    closed = Hooks()
    closed.close()  # nobody listens there for now
    with Daemon(mill, settings=settings(closed.port), pipelines={"noop": NOOP.format(name="noop")},
                env={"STAGEMILL_SECRET_HOOK": SECRET}) as daemon:
        jobs = [daemon.submit("noop", asset=f"a{i}")["id"] for i in range(3)]
        for job in jobs:
            daemon.wait_job(job)
        daemon.kill()
        hooks = Hooks(closed.port)
        daemon.start()
        wait_until(lambda: len(deliveries(daemon, "?state=delivered")) == 3, seconds=20)
        assert sorted(h["body"]["jobId"] for h in hooks.heard) == sorted(jobs)
        assert len(deliveries(daemon)) == 3
        daemon.restart()
        daemon.wait_job(daemon.submit("noop", asset="b")["id"])
        wait_until(lambda: len(hooks.heard) >= 4)
        assert len(hooks.heard) == 4
    hooks.close()


@pytest.mark.skipif(postfix.unavailable() != "", reason=postfix.unavailable())
def test_mail_goes_through_postfix_with_starttls_and_login(mill):
    with postfix.Postfix() as server:
        mail = (f"mail: {{ server: 'smtp://127.0.0.1:{server.port}', from: mill@example.org, user: {postfix.USER}, "
                "password: MAIL, to: [ann@example.org], on: [completed], tls: required }")
        env = {"STAGEMILL_SECRET_MAIL": postfix.PASSWORD, "SSL_CERT_FILE": str(server.folder / "cert.pem")}
        with Daemon(mill, settings=mail, pipelines={"noop": NOOP.format(name="noop")}, env=env) as daemon:
            others = [{"to": "later@example.org"}, {"to": "nobody@example.org"}]
            job = daemon.submit("noop", title="Größe.mp4", notify={"mail": others})["id"]
            daemon.wait_job(job)
            wait_until(lambda: all(d["attempts"] for d in deliveries(daemon)) and len(deliveries(daemon)) == 3, seconds=20)
            by = {d["to"]: d for d in deliveries(daemon)}
            assert by["ann@example.org"]["state"] == "delivered", by
            assert (by["later@example.org"]["state"], by["later@example.org"]["lastStatus"]) == ("waiting", 450)
            assert (by["nobody@example.org"]["state"], by["nobody@example.org"]["lastStatus"]) == ("dead", 550)
            wait_until(lambda: "Auto-Submitted" in server.box("ann"))
            text = server.box("ann")
            assert "ESMTPSA" in text and job in text and "h=C3=A4llo" in text, text
            assert "=?UTF-8?B?" in text
            daemon.stop()
            assert postfix.PASSWORD not in daemon.err
