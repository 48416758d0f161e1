"""Stages that crash, hang, leak, fail now and then, or lie: the right verdict, the exact delays, nobody else harmed."""
import json
import subprocess
import time

import pytest


def one(uses, extra="", **settings):
    given = json.dumps(settings)
    return f"stagemill: 1\nname: fault\nstages:\n  - {{ id: it, uses: {uses}, with: {given}{extra} }}\n"


def stage(mill, id="it"):
    return next(s for s in mill.job()["stages"] if s["id"] == id)


def test_flaky_succeeds_after_exactly_the_configured_delays(mill):
    mill.write("p.yaml", one("flaky", ", retry: { attempts: 4, backoff: 300ms, factor: 2 }", failures=2))
    done = mill("run", "p.yaml", "-o", "out", "--json")
    assert done.code == 0, done.err
    assert [e["delayMs"] for e in done.of("retrying")] == [300, 600]
    assert [(e["currentAttempt"], e["maxRetries"]) for e in done.of("retrying")] == [(1, 3), (2, 3)]
    starts = [a["startedAt"] for a in mill.job()["attempts"]]
    ends = [a["endedAt"] for a in mill.job()["attempts"]]
    for delay, end, start in zip((0.3, 0.6), ends, starts[1:]):
        waited = seconds(start) - seconds(end)
        assert delay - 0.002 <= waited <= delay + 0.5
    assert [a["outcome"] for a in mill.job()["attempts"]] == ["retry", "retry", "ok"]


def seconds(stamp):
    return time.mktime(time.strptime(stamp[:19], "%Y-%m-%dT%H:%M:%S")) + float("0" + stamp[19:-1])


def test_default_delays_are_2_4_8_seconds(mill):
    mill.write("p.yaml", one("flaky", failures=9))
    running = mill.start("run", "p.yaml", "-o", "out", "--json")
    delays = []
    for line in running.stdout:
        event = json.loads(line)
        if event["type"] == "retrying":
            delays.append(event["delayMs"])
            if len(delays) == 2:
                break
    assert delays == [2000, 4000]


def test_a_failing_verdict_is_not_tried_again(mill):
    mill.write("p.yaml", one("flaky", failures=1, verdict="fail", say="the clip is upside down: turn it"))
    done = mill("run", "p.yaml", "-o", "out", "--json")
    assert done.code == 1
    assert not done.of("retrying")
    failed = done.of("failed")[0]
    assert failed["error"] == "the clip is upside down: turn it" and failed["totalAttempts"] == 1


def test_attempts_run_out(mill):
    mill.write("p.yaml", one("flaky", ", retry: { attempts: 3, backoff: 50ms }", failures=9))
    done = mill("run", "p.yaml", "-o", "out", "--json")
    assert done.code == 1
    assert done.of("failed")[0]["totalAttempts"] == 3
    again = mill("run", "p.yaml", "-o", "out", "--json")  # a new round: attempts start again
    assert again.code == 1 and len(mill.job()["attempts"]) == 6


@pytest.mark.parametrize("how,word", [("segv", "SIGSEGV"), ("abort", "SIGABRT"), ("exit", "code 7"), ("kill", "SIGKILL"),
                                      ("thread", "SIGSEGV"), ("stack", "SIGSEGV")])
def test_a_crash_costs_one_attempt(mill, how, word):
    mill.write("p.yaml", one("crash", ", retry: { attempts: 3, backoff: 50ms }", how=how, **{"until-attempt": 2}))
    done = mill("run", "p.yaml", "-o", "out", "--json")
    assert done.code == 0, done.err
    assert len(done.of("retrying")) == 1
    assert word.lower() in done.of("retrying")[0]["error"].lower()
    assert not (mill.folder / "out" / ".stagemill" / mill.job()["jobId"]).exists()


def test_a_hang_is_a_stall(mill):
    mill.write("p.yaml", one("hang", ", stall: 1s, retry: { attempts: 2, backoff: 50ms }", **{"until-attempt": 2}))
    done = mill("run", "p.yaml", "-o", "out", "--json", timeout=60)
    assert done.code == 0, done.err
    assert [a["outcome"] for a in mill.job()["attempts"]] == ["stalled", "ok"]


def test_a_timeout_ends_an_attempt(mill):
    mill.write("p.yaml", one("slow", ", timeout: 1s, retry: { attempts: 1 }", **{"for": "60s"}))
    done = mill("run", "p.yaml", "-o", "out", "--json", timeout=60)
    assert done.code == 1
    assert mill.job()["attempts"][0]["outcome"] == "timed-out"


def test_the_pipelines_timeout_counts_over_all_attempts(mill):
    mill.write("p.yaml", "stagemill: 1\nname: p\ntimeout: 1s\nstages:\n"
                         "  - { id: it, uses: flaky, with: { failures: 99 }, retry: { attempts: 99, backoff: 400ms, factor: 1 } }\n")
    done = mill("run", "p.yaml", "-o", "out", "--json", timeout=30)
    assert done.code == 1 and "timeout" in done.of("failed")[0]["error"]


@pytest.mark.parametrize("how", ["symlink", "fifo"])
def test_outputs_that_are_not_files_are_refused(mill, how):
    mill.write("p.yaml", one("liar", how=how))
    done = mill("run", "p.yaml", "-o", "out", "--json")
    assert done.code == 1, done.out
    assert not (mill.folder / "out" / "it").exists()
    assert done.of("failed")[0]["error"]


def test_a_stage_with_threads_runs_alone(mill):
    mill.write("p.yaml", one("threads"))
    done = mill("run", "p.yaml", "-o", "out", "--json")
    assert done.code == 0, done.err
    assert stage(mill)["results"]["alive"] is True


def test_a_soft_failure_does_not_fail_the_job(mill):
    mill.write("p.yaml", """
stagemill: 1
name: soft
stages:
  - { id: bad, uses: flaky, with: { failures: 9, verdict: fail }, continue-on-error: true, fallback: { attempts: 0 } }
  - { id: good, uses: noop, with: { n: "${{ stages.bad.attempts }}" } }
result: { n: "${{ stages.good.n }}" }
""")
    done = mill("run", "p.yaml", "-o", "out", "--json")
    assert done.code == 0, done.err
    assert done.of("completed")[0]["result"] == {"n": 0}
    assert stage(mill, "bad")["status"] == "soft-failed"


def test_a_failure_skips_what_needs_it_and_runs_what_waits_for_failures(mill):
    mill.write("p.yaml", """
stagemill: 1
name: tidy
stages:
  - { id: bad, uses: flaky, with: { failures: 9, verdict: fail } }
  - { id: after, uses: noop, needs: bad }
  - { id: cry, uses: noop, needs: bad, on-failure: true }
  - { id: sweep, uses: noop, needs: bad, always: true }
""")
    assert mill("run", "p.yaml", "-o", "out", "--json").code == 1
    states = {s["id"]: s["status"] for s in mill.job()["stages"]}
    assert states == {"bad": "failed", "after": "skipped", "cry": "finished", "sweep": "finished"}
    assert "bad" in stage(mill, "after")["reason"]


def test_a_leak_ends_at_the_memory_limit(mill):
    mill.write("p.yaml", one("leak", ", retry: { attempts: 2, backoff: 50ms }"))
    done = mill("run", "p.yaml", "-o", "out", "--json", env={"STAGEMILL_ATTEMPTS_MEMORY": "300M"})
    assert done.code == 1
    # whichever limit is met first: the watch ends the attempt, or malloc says no and the stage says so
    assert len(mill.job()["attempts"]) == 2
    assert {a["outcome"] for a in mill.job()["attempts"]} <= {"memory", "retry"}
    assert "memory" in done.of("failed")[0]["error"]
    refused = mill("run", "p.yaml", "-o", "out", env={"STAGEMILL_ATTEMPTS_MEMORY": "plenty"})
    assert refused.code == 2 and "4G" in refused.err


def test_what_a_stage_leaves_running_ends_with_its_attempt(mill):
    mill.write("p.yaml", one("fork", name="sm-left-over"))
    assert mill("run", "p.yaml", "-o", "out").code == 0
    assert subprocess.run(["pgrep", "-x", "sm-left-over"], capture_output=True).stdout == b""
