"""A stage that waits for a person, and pauses: from the command line, over kills."""
import time

from conftest import lines_until

REVIEW = """
stagemill: 1
name: review
stages:
  - { id: before, uses: noop }
  - { id: look, uses: hold, needs: before, with: { message: Is it good?, fields: [rating] } }
  - { id: after, uses: noop, needs: look, with: { text: "${{ stages.look.rating ?? 'none' }}" } }
result:
  by: ${{ stages.look.by }}
  said: ${{ stages.look.comment }}
  text: ${{ stages.after.text }}
"""
SLOW = """
stagemill: 1
name: slow
stages:
  - { id: one, uses: slow, with: { for: 1s } }
  - { id: two, uses: noop, needs: one }
"""


def held(mill):
    mill.write("review.yaml", REVIEW)
    run = mill.start("run", "review.yaml", "-o", "out")
    said = ""
    while "stagemill release" not in said:
        line = run.stderr.readline()
        assert line, said
        said += line
    assert "waits for a person: Is it good?" in said
    return run


def test_a_run_says_how_to_release_and_goes_on_with_the_answer(mill):
    run = held(mill)
    why = mill("explain", "-o", "out")
    assert "look waits for a person" in why.out and "-p rating=..." in why.out
    assert mill("release", "last", "look", "-o", "out", "-p", "colour=red").code == 1
    assert mill("release", "last", "look", "-o", "out", "-p", "rating=good", "--comment", "fine").code == 0
    out, err = run.communicate(timeout=30)
    assert run.returncode == 0, err
    result = mill.job()["result"]
    assert result["text"] == "good" and result["said"] == "fine" and result["by"]


def test_a_kill_changes_nothing_and_the_answer_may_come_while_nobody_runs_it(mill):
    run = held(mill)
    run.kill()
    run.wait()
    assert mill("jobs", "-o", "out", "--json").out.count('"held"') == 1
    assert mill("release", "last", "look", "-o", "out", "-p", "rating=late").code == 0
    assert mill("release", "last", "look", "-o", "out").code == 1  # the first answer counts
    done = mill("run", "review.yaml", "-o", "out", "--json")
    assert done.code == 0, done.err
    assert mill.job()["result"]["text"] == "late"
    assert [s["attempts"] for s in mill.job()["stages"]] == [1, 1, 1]


def test_a_rejection_fails_the_job_with_its_words(mill):
    run = held(mill)
    assert mill("release", "last", "look", "-o", "out", "--reject", "--comment", "too dark").code == 0
    out, err = run.communicate(timeout=30)
    assert run.returncode == 1 and "too dark" in err


def test_a_paused_job_stays_paused_over_a_kill(mill):
    mill.write("slow.yaml", SLOW)
    run = mill.start("run", "slow.yaml", "-o", "out", "--json")
    lines_until(run, "started")
    assert mill("pause", "last", "-o", "out").code == 0
    lines_until(run, "state", status="paused")
    run.kill()
    run.wait()
    again = mill.start("run", "slow.yaml", "-o", "out", "--json")
    lines_until(again, "state")
    time.sleep(0.5)
    assert again.poll() is None
    assert "is paused: paused until it is resumed" in mill("explain", "-o", "out").out
    assert mill("resume", "last", "-o", "out").code == 0
    again.communicate(timeout=30)
    assert again.returncode == 0
    assert [s["attempts"] for s in mill.job()["stages"]] == [1, 1]
