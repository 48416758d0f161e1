"""The commands that speak to a daemon, with the names that scripts rely on."""
import json
import os
import time

import pytest
from conftest import Mill
from serving import Daemon

WORK = """
stagemill: 1
name: work
params: { text: { type: text, default: hello } }
stages:
  - { id: first, uses: noop, with: { text: "${{ params.text }}" } }
  - { id: second, uses: noop, needs: first }
result: { said: "${{ stages.first.text }}", inputs: "${{ stages.first.inputs }}" }
"""
BAD = "stagemill: 1\nname: bad\nparams: { f: { type: int, default: 9 } }\nstages: [{ id: f, uses: flaky, with: { failures: \"${{ params.f }}\" }, retry: { attempts: 1 } }]\n"
NAP = "stagemill: 1\nname: nap\nstages: [{ id: nap, uses: slow, with: { for: 30s } }]\n"


@pytest.fixture(scope="module")
def daemon(tmp_path_factory):
    made = Mill(tmp_path_factory.mktemp("daemon"))
    with Daemon(made, pipelines={"work": WORK, "bad": BAD, "nap": NAP}) as daemon:
        yield daemon
    made.clean()


@pytest.fixture
def cli(mill, daemon):
    """A client in a folder of its own that knows the daemon by its environment."""
    mill.env.update(STAGEMILL_SERVER=daemon.url, STAGEMILL_TOKEN=daemon.token)
    return mill


def words(line):
    return line.split()


def test_submit_prints_an_id_and_watch_follows_it_to_its_end(cli, daemon):
    made = cli("submit", "work", "-p", "text=hi")
    assert made.code == 0, made.err
    job = made.out.strip()
    watched = cli("watch", job)
    assert watched.code == 0 and "said: hi" in watched.out, (watched.out, watched.err)
    events = cli("watch", job, "--json").events
    assert events[0]["type"] == "state" and events[0]["status"] == "completed"
    shown = json.loads(cli("submit", "work", "--json", "--title", "A title", "--asset", "v1", "--priority", "high").out)
    assert shown["websocketUrl"].startswith("ws://") and shown["asset"] == "v1" and shown["priority"] == 75


def test_options_say_it_too_and_a_file_holds_the_token(mill, daemon):
    mill.write("token", daemon.token + "\n")
    by_file = ["--server", daemon.url, "--token-file", "token"]
    assert mill("submit", "work", *by_file, "--watch").code == 0
    assert mill("submit", "work", "--server", daemon.url, "--token", daemon.token).code == 0
    without = mill("submit", "work", "--server", daemon.url)
    assert without.code == 2 and "--token" in without.err
    assert mill("submit", "work", "--server", daemon.url, "--token", "x.y.z").code == 2
    assert mill("submit", "work").code == 2, "no daemon is named"
    gone = mill("submit", "work", "--server", "http://127.0.0.1:1")
    assert gone.code == 1 and "stagemill serve" in gone.err
    wrong = mill("submit", "wrok", *by_file)
    assert wrong.code == 2 and "did you mean work" in wrong.err


def test_a_local_file_is_uploaded_and_a_local_pipeline_sent_along(cli, daemon):
    (cli.folder / "in put.bin").write_bytes(os.urandom(3_000_000))
    cli.write("mine.yaml", WORK.replace("name: work", "name: mine").replace("id: first, uses: noop,", "id: first, uses: noop, inputs: { in: source },"))
    made = cli("submit", "mine.yaml", "in put.bin", "--watch")
    assert made.code == 0 and "inputs: 1" in made.out, (made.out, made.err)
    key = cli("upload", "in put.bin").out.strip()
    assert key.startswith("uploads/") and key.endswith(".bin")
    assert cli("submit", "mine.yaml", key, "--watch").code == 0
    job = cli("upload", "in put.bin", "--pipeline", "work").out.strip()
    assert cli("watch", job).code == 0
    missing = cli("submit", "work", "nowhere.mp4")
    assert missing.code == 2 and "nowhere.mp4" in missing.err


def test_jobs_are_listed_filtered_and_shown(cli, daemon):
    ids = [cli("submit", "work", "--asset", "listed").out.strip() for _ in range(3)]
    for job in ids:
        cli("watch", job, "-q")
    listed = json.loads(cli("jobs", "--asset", "listed", "--json").out)
    assert [j["id"] for j in listed] == ids[::-1]
    assert cli("jobs", "--asset", "listed", "--status", "failed").out == "no jobs\n"
    page = cli("jobs", "--asset", "listed", "--limit", "2").out
    assert ids[2] in page and ids[0] not in page
    rest = cli("jobs", "--asset", "listed", "--cursor", page.rsplit("--cursor ", 1)[1].strip()).out
    assert ids[0] in rest and ids[2] not in rest
    shown = cli("jobs", ids[1]).out
    assert "first" in shown and "second" in shown
    assert "there is no job" in cli("jobs", "0" * 26).err
    assert cli("explain", ids[1]).code == 0


def test_steering_a_job(cli, daemon):
    job = cli("submit", "nap").out.strip()
    assert cli("pause", job, "--until", "1h").code == 0
    assert cli("resume", job).code == 0
    assert cli("cancel", job).code == 0
    assert cli("watch", job).code == 4
    again = cli("cancel", job)
    assert again.code == 1 and job in again.err
    assert cli("pause", "--queue").code == 0
    waiting = cli("submit", "work").out.strip()
    time.sleep(0.3)
    assert "paused" in cli("explain", waiting).out
    assert cli("resume", "--queue").code == 0
    assert cli("watch", waiting).code == 0
    assert cli("pause", "--pipeline", "work").code == 0 and cli("resume", "--pipeline", "work").code == 0
    both = cli("pause", job, "--queue")
    assert both.code == 2 and "--queue" in both.err


def test_dead_letters_go_back_with_other_parameters(cli, daemon):
    job = cli("submit", "bad").out.strip()
    failed = cli("watch", job)
    assert failed.code == 1 and f"stagemill retry {job}" in failed.err
    assert "failed" in cli("explain", job).out
    assert cli("retry", job, "-p", "f=0").code == 0
    assert cli("watch", job).code == 0
    others = [cli("submit", "bad").out.strip() for _ in range(2)]
    for other in others:
        assert cli("watch", other, "-q").code == 1
    bulk = cli("retry", "--failed", "--pipeline", "bad")
    assert bulk.code == 0 and "2 of 2" in bulk.out, (bulk.out, bulk.err)
    assert cli("retry").code == 2


def test_logs_artifacts_and_stats(cli, daemon):
    job = cli("submit", "work", "-p", "text=in the log").out.strip()
    assert cli("watch", job).code == 0
    logs = cli("logs", job, "-f")
    assert logs.code == 0 and logs.out, logs.err
    listed = json.loads(cli("artifacts", "list", job, "--json").out)
    assert {a["stage"] for a in listed} == {"first", "second"}
    got = cli("artifacts", "get", job, "first", "-o", "got")
    assert got.code == 0, got.err
    assert [p.read_text() for p in (cli.folder / "got" / "first").iterdir()] == ["in the log"]
    assert cli("artifacts", "get", job, "third").code == 1
    stats = json.loads(cli("stats", "--json").out)
    assert stats["done"] >= 1 and "work" in cli("stats").out


def test_a_batch_is_watched_to_its_end(cli, daemon):
    cli.write("one.txt", "1")
    cli.write("two.txt", "2")
    done = cli("batch", "work", "one.txt", "two.txt", "--watch")
    assert done.code == 0 and "processed 2" in done.err, (done.out, done.err)
    batch = cli("batch", "work", "https://example.org/a").out.strip()
    assert cli("watch", "--batch", batch).code == 0
    assert cli("batch", "work").code == 2


def test_watching_survives_a_restart_of_the_daemon(mill):
    short = NAP.replace("30s", "3s")
    with Daemon(mill, pipelines={"nap": short}) as daemon:
        mill.env.update(STAGEMILL_SERVER=daemon.url, STAGEMILL_TOKEN=daemon.token)
        job = mill("submit", "nap").out.strip()
        watching = mill.start("watch", job, "--json")
        time.sleep(0.7)
        daemon.restart()
        out, err = watching.communicate(timeout=40)
        assert watching.returncode == 0, err
        seqs = [json.loads(line)["seq"] for line in out.splitlines() if json.loads(line)["type"] not in ("progress", "state")]
        assert seqs == sorted(set(seqs)), "every event once, in order"
