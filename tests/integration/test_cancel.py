"""Cancelling and interrupting: what runs in any case, what is kept; secrets that never reach a disk."""
import json
import signal

from conftest import lines_until


def test_always_stages_run_in_a_cancelled_job_and_their_files_stay(mill):
    mill.write("p.yaml", """
stagemill: 1
name: tidy
stages:
  - { id: nap, uses: slow, with: { for: 60s } }
  - { id: after, uses: noop, needs: nap }
  - { id: sweep, uses: noop, needs: nap, always: true, with: { text: swept } }
""")
    running = mill.start("run", "p.yaml", "-o", "out", "--json")
    lines_until(running, "stage", stage="nap", status="started")
    assert mill("cancel", "last", "-o", "out").code == 0
    out, err = running.communicate(timeout=30)
    assert running.returncode == 4, err
    assert json.loads(out.splitlines()[-1])["published"] == ["sweep"]
    job = mill.job()
    assert {s["id"]: s["status"] for s in job["stages"]} == {"nap": "cancelled", "after": "skipped", "sweep": "finished"}
    assert job["status"] == "cancelled" and [a["stage"] for a in job["artifacts"]] == ["sweep"]


def test_a_stage_that_ends_well_within_the_grace_keeps_its_work(mill):
    mill.write("p.yaml", "stagemill: 1\nname: p\nstages:\n  - { id: nap, uses: slow, with: { for: 1s, deaf: true } }\n"
                         "  - { id: last, uses: noop, needs: nap }\n")
    running = mill.start("run", "p.yaml", "-o", "out", "--json")
    lines_until(running, "progress")
    running.send_signal(signal.SIGINT)
    running.communicate(timeout=15)
    assert running.returncode == 3
    done = mill("run", "p.yaml", "-o", "out")
    assert done.code == 0 and "kept: nap" in done.err


def test_a_secret_reaches_no_file_whatever_stage_says_it(mill):
    secret = 'hush "1234567" \\ ü'
    mill.write("p.yaml", """
stagemill: 1
name: p
params: { key: { type: secret, default: secrets.KEY } }
stages:
  - { id: a, uses: noop, with: { text: "${{ params.key }} told" } }
  - { id: b, uses: flaky, with: { failures: 9, verdict: fail, say: "no luck with ${{ params.key }}" }, continue-on-error: true }
result: { text: "${{ stages.a.text }}" }
""")
    done = mill("run", "p.yaml", "-o", "out", "--json", env={"STAGEMILL_SECRET_KEY": secret})
    assert done.code == 0, done.err
    parts = [secret.encode(), json.dumps(secret)[1:-1].encode(), json.dumps(secret, ensure_ascii=False)[1:-1].encode()]
    own = mill.folder / "out" / "a"  # what a stage writes into its own artifact is its own affair
    for path in (mill.folder / "out").rglob("*"):
        if path.is_file() and own not in path.parents:
            assert not any(part in path.read_bytes() for part in parts), path
    assert not any(part.decode() in done.out for part in parts)
    assert mill.job()["result"] == {"text": "*** told"}
