"""Fused passes through the whole product: one decode, sinks that finish early, sinks and filters that misbehave."""
import json
import os
import signal
import subprocess

import pytest

from conftest import MEDIA, lines_until


@pytest.fixture(scope="session")
def clip():
    """4 s, 25 frames a second: 100 frames."""
    path = MEDIA / "pass-clip.mp4"
    if not path.exists():
        MEDIA.mkdir(parents=True, exist_ok=True)
        subprocess.run(["ffmpeg", "-v", "error", "-y", "-f", "lavfi", "-i", "testsrc2=s=320x180:r=25:d=4", "-f", "lavfi",
                        "-i", "sine=d=4", "-c:v", "libx264", "-preset", "ultrafast", "-g", "25", "-c:a", "aac", str(path)], check=True)
    return path


def stages(*rows):
    return "stagemill: 1\nname: pass\nstages:\n" + "".join(f"  - {{ {row} }}\n" for row in rows)


def by_id(job):
    return {s["id"]: s for s in job["stages"]}


def test_two_sinks_and_a_filter_share_one_decode(mill, clip):
    mill.write("p.yaml", stages("id: a, uses: count-frames", "id: f, uses: pass-frames", "id: b, uses: count-frames"))
    done = mill("run", "p.yaml", clip, "-o", "out", "--json")
    assert done.code == 0, done.err
    job = mill.job()
    assert [a["stages"] for a in job["attempts"]] == ["a,f,b"]
    assert job["decodedFrames"] == 100
    assert by_id(job)["a"]["results"]["frames"] == by_id(job)["b"]["results"]["frames"] == 100


@pytest.mark.parametrize("culprit", ["a", "b"])
def test_the_sink_that_crashes_is_the_one_that_is_named(mill, clip, culprit):
    bad = "with: { at: 40 }, retry: { attempts: 2, backoff: 50ms }"
    rows = [f"id: {i}, uses: count-frames" + (", " + bad if i == culprit else "") for i in "ab"]
    mill.write("p.yaml", stages(*rows))
    done = mill("run", "p.yaml", clip, "-o", "out", "--json")
    assert done.code == 1
    job = mill.job()
    other = "b" if culprit == "a" else "a"
    assert [a["stageAtFault"] for a in job["attempts"] if a["outcome"] == "crashed"] == [culprit] * 3
    assert by_id(job)[culprit]["status"] == "failed" and by_id(job)[other]["status"] == "finished"
    # together once, then apart: the suspect's second crash alone is its own fault
    assert job["attempts"][0]["stages"] == "a,b"
    assert all(a["stages"] in (culprit, other) for a in job["attempts"][1:])


def test_a_sink_that_finishes_early_is_committed_early_and_not_run_again(mill, clip):
    mill.write("p.yaml", stages("id: early, uses: count-frames, with: { done-at: 5 }",
                                "id: late, uses: count-frames, with: { at: 80, how: retry, until-attempt: 2 }, retry: { backoff: 50ms }"))
    done = mill("run", "p.yaml", clip, "-o", "out", "--json")
    assert done.code == 0, done.err
    job = mill.job()
    assert [(a["stages"], a["outcome"]) for a in job["attempts"]] == [("early,late", "retry"), ("late", "ok")]
    assert job["attempts"][0]["stageAtFault"] == "late"
    assert by_id(job)["early"]["results"]["frames"] == 5


def test_an_early_stage_is_published_while_the_pass_goes_on(mill, clip):
    mill.write("p.yaml", stages("id: early, uses: count-frames, with: { done-at: 5 }",
                                "id: late, uses: count-frames, with: { at: 1, how: slow }"))
    running = mill.start("run", "p.yaml", clip, "-o", "out", "--json")
    lines_until(running, "stage", stage="early", status="finished")
    assert running.poll() is None
    assert (mill.folder / "out" / "early" / "count.txt").exists()
    running.kill()
    running.communicate()
    mill.write("p2.yaml", "")
    again = mill.start("run", "p.yaml", clip, "-o", "out")
    lines = []
    for line in again.stderr:
        lines.append(line)
        if "goes on with" in line:
            break
    assert any("kept: early" in line for line in lines) and "late" in lines[-1]
    again.send_signal(signal.SIGINT)
    again.communicate(timeout=20)


def test_a_failure_costs_only_the_one_at_fault(mill, clip):
    mill.write("p.yaml", stages("id: good, uses: count-frames",
                                "id: bad, uses: count-frames, with: { at: 50, how: retry, until-attempt: 3 }, retry: { attempts: 3, backoff: 50ms }"))
    done = mill("run", "p.yaml", clip, "-o", "out", "--json")
    assert done.code == 0, done.err
    assert [a["stageAtFault"] for a in mill.job()["attempts"] if a["outcome"] == "retry"] == ["bad", "bad"]
    assert {e["stage"] for e in done.of("retrying")} == {"bad"}


def test_a_soft_sink_is_dropped_and_the_pass_goes_on(mill, clip):
    mill.write("p.yaml", stages("id: good, uses: count-frames",
                                "id: bad, uses: count-frames, with: { at: 50, how: fail }, continue-on-error: true"))
    done = mill("run", "p.yaml", clip, "-o", "out", "--json")
    assert done.code == 0, done.err
    job = mill.job()
    assert len(job["attempts"]) == 1 and job["decodedFrames"] == 100
    assert (by_id(job)["good"]["status"], by_id(job)["bad"]["status"]) == ("finished", "soft-failed")


def test_a_dropped_sink_with_attempts_left_gets_a_pass_of_its_own(mill, clip):
    mill.write("p.yaml", stages("id: good, uses: count-frames",
                                "id: bad, uses: count-frames, with: { at: 50, how: retry, until-attempt: 2 }, continue-on-error: true, retry: { backoff: 50ms }"))
    done = mill("run", "p.yaml", clip, "-o", "out", "--json")
    assert done.code == 0, done.err
    job = mill.job()
    assert [a["stages"] for a in job["attempts"]] == ["good,bad", "bad"]
    assert by_id(job)["bad"]["status"] == "finished"


def test_an_open_result_decides_in_the_prologue(mill, clip):
    mill.write("p.yaml", stages("id: a, uses: count-frames",
                                "id: wide, uses: count-frames, if: \"${{ stages.a.width > 1000 }}\"",
                                "id: narrow, uses: count-frames, if: \"${{ stages.a.width < 1000 }}\", with: { done-at: \"${{ stages.a.width }}\" }"))
    done = mill("run", "p.yaml", clip, "-o", "out", "--json")
    assert done.code == 0, done.err
    job = mill.job()
    assert len(job["attempts"]) == 1, job["attempts"]
    assert {i: s["status"] for i, s in by_id(job).items()} == {"a": "finished", "wide": "skipped", "narrow": "finished"}


def test_an_end_result_cuts_the_pass_before_its_reader(mill, clip):
    mill.write("p.yaml", stages("id: a, uses: count-frames", "id: b, uses: count-frames, with: { done-at: \"${{ stages.a.frames - 40 }}\" }"))
    done = mill("run", "p.yaml", clip, "-o", "out", "--json")
    assert done.code == 0, done.err
    assert [a["stages"] for a in mill.job()["attempts"]] == ["a", "b"]
    assert by_id(mill.job())["b"]["results"]["frames"] == 60


def test_a_hang_in_a_pass_is_ended_and_tried_again(mill, clip):
    mill.write("p.yaml", stages("id: a, uses: count-frames, with: { at: 30, how: hang, until-attempt: 2 }, stall: 1s, retry: { backoff: 50ms }"))
    done = mill("run", "p.yaml", clip, "-o", "out", "--json")
    assert done.code == 0, done.err
    assert [a["outcome"] for a in mill.job()["attempts"]] == ["stalled", "ok"]


@pytest.mark.parametrize("how", ["slow", "hang"])
def test_a_soft_sink_whose_time_is_up_is_dropped_and_the_pass_goes_on(mill, clip, how):
    mill.write("p.yaml", stages("id: a, uses: count-frames",
                                f"id: b, uses: count-frames, with: {{ at: 10, how: {how} }}, timeout: 1s, continue-on-error: true, "
                                "retry: { attempts: 1 }"))
    done = mill("run", "p.yaml", clip, "-o", "out", "--json", timeout=60)
    assert done.code == 0, done.err
    job = mill.job()
    assert by_id(job)["a"]["status"] == "finished" and by_id(job)["a"]["results"]["frames"] == 100
    assert by_id(job)["b"]["status"] == "soft-failed" and "time-out" in by_id(job)["b"]["error"]["message"]
    assert [(a["stages"], a["stageAtFault"]) for a in job["attempts"]] == [("a,b", "b")]
