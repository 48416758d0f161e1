"""`stagemill serve` as its operator meets it: starting, refusing to, reloading, stopping, coming back."""
import json
import os
import signal
import socket
import stat
import time

from conftest import alive, children_of, wait_until
from serving import Daemon

NOOP = "stagemill: 1\nname: noop\nstages:\n  - { id: a, uses: noop, with: { text: hello } }\nresult: { said: \"${{ stages.a.text }}\" }\n"
SLOW = "stagemill: 1\nname: slow\nstages:\n  - { id: a, uses: noop, with: { text: kept } }\n  - { id: nap, uses: slow, needs: a, with: { for: %s } }\n"


def refused(mill, *words, **env):
    daemon = Daemon(mill, *words, wait=False, env=env)
    process = mill.start(*daemon.command(), env=daemon.env)
    out, err = process.communicate(timeout=20)
    assert "ready at" not in out
    return process.returncode, err


# ---- starting


def test_it_makes_a_key_prints_a_ready_url_and_runs_jobs(mill):
    with Daemon(mill, pipelines={"noop": NOOP}) as daemon:
        assert daemon.url.startswith("http://127.0.0.1:")
        key = daemon.state / "token.key"
        assert stat.S_IMODE(key.stat().st_mode) == 0o600
        assert daemon.get("/healthz", token=None).status == 200 and daemon.get("/readyz", token=None).status == 200
        assert daemon.get("/api/v1/jobs", token=None).status == 401
        job = daemon.wait_job(daemon.submit("noop")["id"])
        assert job["status"] == "completed" and job["result"] == {"said": "hello"}
        assert (daemon.state / "outputs" / job["id"] / "a").is_dir()
        assert daemon.token not in daemon.err
        assert daemon.stop() == 0


def test_tokens_are_minted_while_it_runs(mill):
    with Daemon(mill, pipelines={"noop": NOOP}) as daemon:
        alice, bob = daemon.mint("alice"), daemon.mint("bob", "read", "--ttl", "5m")
        mine = daemon.submit("noop", token=alice)["id"]
        assert daemon.get(f"/api/v1/jobs/{mine}", token=alice).status == 200
        assert daemon.get(f"/api/v1/jobs/{mine}", token=bob).status == 404
        granted = daemon.mint("bob", "follow", "--grant", f"job:{mine}")
        assert daemon.get(f"/api/v1/jobs/{mine}", token=granted).status in (200, 403)
        assert daemon.post("/api/v1/jobs", {"pipeline": "noop"}, token=bob).status == 403
    for words, says in ((["--scope", "raed"], "read"), (["--ttl", "1"], "1s"), (["--grant", "x"], "job:ID")):
        wrong = mill("token", "--state", daemon.state, "--sub", "x", *words)
        assert wrong.code == 2 and says in wrong.err, wrong.err
    assert mill("token", "--state", "nowhere", "--sub", "x").code == 2
    assert mill("token", "--state", daemon.state).code == 2


def test_another_address_needs_a_key_of_the_operators(mill):
    code, err = refused(mill, "--listen", "0.0.0.0:0")
    assert code == 2 and "--make-key" in err
    key = mill.folder / "made.key"
    with Daemon(mill, "--listen", "0.0.0.0:0", "--make-key", key, name="open", pipelines={"noop": NOOP}) as daemon:
        assert daemon.token is None and stat.S_IMODE(key.stat().st_mode) == 0o600
        made = mill("token", "--key", key, "--sub", "ops", "--scope", "admin", "--json")
        token = json.loads(made.out)["token"]
        assert daemon.get("/api/v1/stats", token=token).status == 200


def test_a_key_set_decides_who_comes_in(mill):
    mill.write("keys.yaml", "keys:\n  - { kid: main, alg: HS256, secret: a-secret-of-more-than-32-characters-for-tests }\n")
    os.chmod(mill.folder / "keys.yaml", 0o600)
    with Daemon(mill, settings="auth: { keys: keys.yaml }\n", pipelines={"noop": NOOP}) as daemon:
        assert daemon.token is None
        token = mill("token", "--key", "keys.yaml", "--sub", "ops", "--scope", "admin").out.strip()
        assert daemon.get("/api/v1/stats", token=token).status == 200
        foreign = mill("token", "--state", daemon.state, "--sub", "ops", "--scope", "admin").out.strip()
        assert daemon.get("/api/v1/stats", token=foreign).status == 401


def test_what_is_in_the_way_is_named(mill):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        code, err = refused(mill, "--listen", f"127.0.0.1:{port}")
        assert code == 1 and str(port) in err, err
    with Daemon(mill, name="own") as daemon:
        code, err = refused(mill, "--state", daemon.state)
        assert code == 2 and str(daemon.pid) in err, err
    for words, says in ((["--listen", "127.0.0.1:8443s"], "TLS"), (["--set", "uplods.max=1G"], "uploads.max"),
                        (["--set", "uploads.max=much"], "size"), (["--pipelines", "nowhere"], "nowhere")):
        code, err = refused(mill, *words)
        assert code == 2 and says in err, (words, err)
    assert refused(mill, STAGEMILL_LIMITS_DRAIN="soon")[0] == 2
    checked = mill("serve", "--check", "--config", mill.write("bad.yaml", "uploads:\n  maxx: 5G\n"))
    assert checked.code == 2 and "bad.yaml:2:3" in checked.err and "`max`" in checked.err
    good = mill.write("good.yaml", "pipelines: [p]\n")
    (mill.folder / "p").mkdir()
    mill.write("p/noop.yaml", NOOP)
    assert mill("serve", "--check", "--config", good).out.endswith("ok, 1 pipeline\n")
    mill.write("p/noop.yaml", NOOP.replace("uses: noop", "uses: nop"))
    checked = mill("serve", "--check", "--config", good)
    assert checked.code == 2 and "noop.yaml:4:" in checked.err and "did you mean `noop`" in checked.err


# ---- reloading


def test_a_reload_takes_all_or_nothing_and_says_so(mill):
    with Daemon(mill, pipelines={"noop": NOOP}) as daemon:
        daemon.shelve("more", NOOP.replace("name: noop", "name: more"))
        daemon.configure("cors: { origins: [https://app.example.org] }\nlimits: { threads: 8 }\n")
        daemon.reload()
        daemon.wait_log("reloaded: changed settings: limits.threads, cors.origins")
        daemon.wait_log("take effect when the daemon is started again: limits.threads")
        answer = daemon.get("/api/v1/stats", headers={"Origin": "https://app.example.org"})
        assert answer.headers["Access-Control-Allow-Origin"] == "https://app.example.org"
        assert {p["name"] for p in daemon.get("/api/v1/pipelines").json["pipelines"]} == {"noop", "more"}

        daemon.configure("cors: { orgins: [] }\n")
        daemon.reload()
        daemon.wait_log("not reloaded, everything stays as it was")
        daemon.wait_log("did you mean `origins`?")

        daemon.configure("cors: { origins: [] }\n")
        daemon.shelve("more", "stagemill: 1\nname: more\nstages:\n  - { id: a, uses: nop }\n")
        before = daemon.err.count("not reloaded")
        daemon.reload()
        wait_until(lambda: daemon.err.count("not reloaded") > before)
        answer = daemon.get("/api/v1/stats", headers={"Origin": "https://app.example.org"})
        assert answer.headers["Access-Control-Allow-Origin"] == "https://app.example.org"  # still the old settings
        assert daemon.wait_job(daemon.submit("more")["id"])["status"] == "completed"  # and the old pipeline
        assert daemon.stop() == 0


def test_a_new_pipeline_is_there_a_moment_later_without_being_asked_for(mill):
    with Daemon(mill) as daemon:
        assert daemon.post("/api/v1/jobs", {"pipeline": "noop"}).status in (400, 404, 422)
        daemon.shelve("noop", NOOP)
        wait_until(lambda: daemon.post("/api/v1/jobs", {"pipeline": "noop"}).status == 202, seconds=5)


# ---- stopping and coming back


def attempts(job):
    return [a["outcome"] for a in job["attempts"]]


def test_sigterm_lets_attempts_finish_and_hands_the_others_back_without_costing_one(mill):
    pipelines = {"quick": SLOW.replace("name: slow", "name: quick") % "1s", "slow": SLOW % "60s"}
    with Daemon(mill, "--set", "limits.drain=3s", "--set", "limits.attempts=2", pipelines=pipelines) as daemon:
        quick, slow = daemon.submit("quick")["id"], daemon.submit("slow")["id"]
        for job in (quick, slow):
            wait_until(lambda: any(s["id"] == "nap" and s["status"] == "running" for s in daemon.job(job)["stages"]))
        family = children_of(daemon.pid)
        assert daemon.stop() == 0
        assert not any(alive(pid) for pid in family)
        daemon.start()
        assert daemon.wait_job(quick)["status"] == "completed"
        assert attempts(daemon.job(quick)) == ["ok", "ok"]
        again = daemon.wait_job(slow, "processing")
        wait_until(lambda: attempts(daemon.job(slow))[-1] == "running")
        nap = next(s for s in again["stages"] if s["id"] == "nap")
        assert nap["failedAttempts"] == 0 and "interrupted" in attempts(daemon.job(slow))
        daemon.signal(signal.SIGTERM)
        daemon.wait_log("stopping")
        daemon.signal(signal.SIGTERM)  # in a hurry
        assert daemon.wait(10) == 0


def test_kill_9_loses_nothing_and_the_job_goes_on(mill):
    with Daemon(mill, pipelines={"slow": SLOW % "2s"}) as daemon:
        job = daemon.submit("slow")["id"]
        wait_until(lambda: any(s["id"] == "nap" and s["status"] == "running" for s in daemon.job(job)["stages"]))
        family = children_of(daemon.pid)
        daemon.restart()
        wait_until(lambda: not any(alive(pid) for pid in family))
        done = daemon.wait_job(job)
        assert done["status"] == "completed" and attempts(done).count("ok") == 2
        first = next(s for s in done["stages"] if s["id"] == "a")
        assert first["attempts"] == 1
        seqs = [e["seq"] for e in daemon.get(f"/api/v1/jobs/{job}/events").json["events"]]
        assert seqs == list(range(1, len(seqs) + 1))


# ---- the service manager


class Manager:
    def __init__(self, address):
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(address)
        self.socket.settimeout(20)

    def until(self, word):
        """The datagram that says so; what comes before it is passed over."""
        end = time.monotonic() + 20
        while time.monotonic() < end:
            heard = self.socket.recv(4096).decode()
            if word in heard:
                return heard
        raise AssertionError(f"the manager never heard {word}")


def test_the_service_manager_hears_how_it_is(mill):
    for number, name in enumerate((str(mill.folder / "notify"), f"\0stagemill-notify-{os.getpid()}")):
        manager = Manager(name)
        env = {"NOTIFY_SOCKET": name.replace("\0", "@"), "WATCHDOG_USEC": "400000"}
        with Daemon(mill, name=f"state{number}", env=env) as daemon:
            manager.until("READY=1")
            assert daemon.get("/readyz").status == 200
            manager.until("WATCHDOG=1")
            daemon.reload()
            assert "MONOTONIC_USEC=" in manager.until("RELOADING=1")
            manager.until("READY=1")
            daemon.signal(signal.SIGTERM)
            manager.until("STOPPING=1")
            assert daemon.wait() == 0
        manager.socket.close()


def test_metrics_are_for_this_machine_or_a_token(mill):
    with Daemon(mill, pipelines={"noop": NOOP}) as daemon:
        daemon.wait_job(daemon.submit("noop")["id"])
        text = daemon.get("/metrics", token=None).text
        assert 'stagemill_jobs{status="completed"} 1' in text
        assert 'stagemill_jobs_ended_total{pipeline="noop",status="completed"} 1' in text
        assert "stagemill_queue_wait_seconds_bucket" in text and "stagemill_stage_seconds_count" in text
        assert daemon.get("/metrics", token=None, headers={"X-Forwarded-For": "203.0.113.9"}).status == 401
        assert daemon.get("/metrics", token=daemon.mint("x", "submit")).status == 401


def test_log_lines_can_be_json_and_hold_no_token(mill):
    with Daemon(mill, "--json-log", "--set", "log.level=debug", pipelines={"noop": NOOP}) as daemon:
        daemon.get(f"/api/v1/stats?token={daemon.token}", token=None)
        daemon.wait_job(daemon.submit("noop")["id"])
        daemon.stop()
        lines = [json.loads(line) for line in daemon.err.splitlines()]
        assert any("serving on" in line["message"] for line in lines)
        assert daemon.token not in daemon.err and daemon.token.split(".")[2] not in daemon.err


# ---- tidying up


def test_jobs_beyond_their_retention_go_and_what_they_published_with_them(mill):
    with Daemon(mill, settings="retention: { completed-count: 1 }\n", pipelines={"noop": NOOP}) as daemon:
        jobs = [daemon.wait_job(daemon.submit("noop", title=str(n))["id"])["id"] for n in range(3)]
        outputs = daemon.state / "outputs"
        old = time.time() - 3600
        for job in jobs:
            os.utime(outputs / job, (old, old))
        (outputs / "not-a-job").mkdir()
        os.utime(outputs / "not-a-job", (old, old))
        daemon.reload()  # looks at once, not only when it is due
        daemon.wait_log("outputs of 2 removed jobs")
        assert [j["id"] for j in daemon.get("/api/v1/jobs").json["jobs"]] == jobs[2:]
        assert sorted(p.name for p in outputs.iterdir()) == sorted([jobs[2], "not-a-job"])
        assert not (daemon.state / "jobs" / jobs[0]).exists()
