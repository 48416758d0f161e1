"""kill -9 of the engine, the zygote or an attempt: the same command finishes, finished stages are not run again."""
import json
import os
import random
import signal
import subprocess
import time

from conftest import BUILD, alive, children_of, lines_until, wait_until

RUNNER = BUILD / "libexec" / "stagemill" / "stagemill-runner"
CHAIN = """
stagemill: 1
name: chain
stages:
  - { id: a, uses: noop, with: { text: a } }
  - { id: b, uses: slow, needs: a, with: { for: 400ms } }
  - { id: c, uses: noop, needs: [a, b], with: { text: c } }
  - { id: d, uses: slow, needs: c, with: { for: 300ms } }
  - { id: e, uses: noop, needs: d, with: { text: "${{ stages.c.text }}e" } }
result: { text: "${{ stages.e.text }}" }
"""


def runners():
    """Runner processes of this build: none may be left when a test is over."""
    found = []
    for pid in os.listdir("/proc"):
        if pid.isdigit():
            try:
                if os.readlink(f"/proc/{pid}/exe") == str(RUNNER) and alive(int(pid)):
                    found.append(int(pid))
            except OSError:
                pass
    return found


def finished_once(job):
    """Every stage finished in exactly one attempt that ended well."""
    good = [s for a in job["attempts"] if a["outcome"] == "ok" for s in a["stages"].split(",")]
    assert sorted(good) == sorted(set(good)), f"a finished stage was run again: {good}"
    return good


def kill_somewhere(process, seconds):
    """Kills the engine, its zygote or an attempt after a while; False when the command was faster."""
    end = time.monotonic() + seconds
    while time.monotonic() < end and process.poll() is None:
        time.sleep(0.005)
    if process.poll() is not None:
        return False
    victims = [process.pid, *sorted(children_of(process.pid))]
    try:
        os.kill(random.choice(victims), signal.SIGKILL)
    except ProcessLookupError:
        return False
    return True


def test_kill_9_of_anything_at_any_moment_loses_nothing(mill):
    mill.write("chain.yaml", CHAIN)
    rounds = int(os.environ.get("STAGEMILL_KILLS", "8"))
    for number in range(rounds):
        out = f"out{number}"
        random.seed(number)
        for _ in range(6):
            process = mill.start("run", "chain.yaml", "-o", out, "-q")
            kill_somewhere(process, random.uniform(0, 1.4))
            process.communicate(timeout=60)
            if process.returncode == 0:
                break
        done = mill("run", "chain.yaml", "-o", out)
        assert done.code == 0, done.err
        assert done.out == "text: ce\n"
        job = mill.job(out)
        assert sorted(finished_once(job)) == ["a", "b", "c", "d", "e"], job["attempts"]
        assert not (mill.folder / out / ".stagemill" / job["jobId"]).exists()
    wait_until(lambda: not runners())


def test_what_was_finished_is_kept_and_named(mill):
    mill.write("chain.yaml", CHAIN)
    process = mill.start("run", "chain.yaml", "-o", "out", "--json")
    lines_until(process, "stage", stage="b", status="finished")
    process.kill()
    process.communicate()
    done = mill("run", "chain.yaml", "-o", "out")
    assert done.code == 0
    assert "kept: a, b" in done.err and "goes on with: c, d, e" in done.err


def test_a_killed_attempt_costs_one_attempt_and_the_engine_lives(mill):
    mill.write("p.yaml", "stagemill: 1\nname: p\nstages:\n  - { id: nap, uses: slow, with: { for: 1s }, retry: { attempts: 2, backoff: 50ms } }\n")
    process = mill.start("run", "p.yaml", "-o", "out", "--json")
    lines_until(process, "progress")
    job = json.loads(mill("jobs", "last", "-o", "out", "--json").out)
    os.kill(job["attempts"][0]["pid"], signal.SIGKILL)
    process.communicate(timeout=20)
    assert process.returncode == 0
    assert [a["outcome"] for a in mill.job()["attempts"]] == ["crashed", "ok"]


def test_a_killed_zygote_costs_no_attempt(mill):
    mill.write("p.yaml", "stagemill: 1\nname: p\nstages:\n  - { id: nap, uses: slow, with: { for: 1s }, retry: { attempts: 1 } }\n")
    process = mill.start("run", "p.yaml", "-o", "out", "--json")
    lines_until(process, "progress")
    job = json.loads(mill("jobs", "last", "-o", "out", "--json").out)
    attempt = job["attempts"][0]["pid"]
    for pid in children_of(process.pid) - {attempt}:
        os.kill(pid, signal.SIGKILL)
    process.communicate(timeout=20)
    assert process.returncode == 0
    assert [a["outcome"] for a in mill.job()["attempts"]] == ["lost", "ok"]
    assert not alive(attempt)


def test_no_attempt_outlives_its_engine(mill):
    mill.write("p.yaml", "stagemill: 1\nname: p\nstages:\n  - { id: kids, uses: fork, with: { then: hang, name: sm-orphan-test } }\n")
    process = mill.start("run", "p.yaml", "-o", "out", "--json")
    lines_until(process, "stage", stage="kids", status="started")
    wait_until(lambda: subprocess.run(["pgrep", "-x", "sm-orphan-test"], capture_output=True).stdout)
    family = children_of(process.pid)
    process.kill()
    process.communicate()
    wait_until(lambda: not any(alive(p) for p in family))
    wait_until(lambda: not subprocess.run(["pgrep", "-x", "sm-orphan-test"], capture_output=True).stdout)


def test_results_keep_their_types_across_a_restart(mill):
    mill.write("p.yaml", """
stagemill: 1
name: typed
stages:
  - { id: nap, uses: slow, with: { for: 100ms } }
  - { id: wait, uses: slow, needs: nap, with: { for: 1s } }
  - { id: last, uses: noop, needs: wait, if: "${{ stages.nap.took > 50ms }}" }
""")
    process = mill.start("run", "p.yaml", "-o", "out", "--json")
    lines_until(process, "stage", stage="wait", status="started")
    process.kill()
    process.communicate()
    done = mill("run", "p.yaml", "-o", "out", "--json")
    assert done.code == 0, done.err
    assert done.of("stage", stage="last", status="finished")
