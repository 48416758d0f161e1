"""`stagemill run`: events, exit codes, identity, attaching, what stands in the output folder."""
import json
import signal

from conftest import alive, children_of, files_of, lines_until, wait_until

TWO = """
stagemill: 1
name: two
params:
  word: { type: text, default: hello }
stages:
  - { id: one, uses: noop, with: { text: "${{ params.word }}" } }
  - { id: two, uses: noop, with: { text: "${{ stages.one.text }} again" } }
result:
  said: ${{ stages.two.text }}
"""

SLOW = """
stagemill: 1
name: slow
stages:
  - { id: first, uses: noop, with: { text: kept } }
  - { id: nap, uses: slow, needs: first, with: { for: %s } }
  - { id: last, uses: noop, needs: nap }
result: { text: "${{ stages.first.text }}" }
"""


def test_events_are_numbered_and_end_with_the_result(mill):
    mill.write("two.yaml", TWO)
    done = mill("run", "two.yaml", "-o", "out", "--json", "-p", "word=moin")
    assert done.code == 0, done.err
    stored = [e for e in done.events if e["type"] not in ("state", "progress")]
    assert [e["seq"] for e in stored] == list(range(2, 2 + len(stored)))  # 1 is `queued`, which `state` stands for
    assert [e["type"] for e in stored][0] == "started" and stored[-1]["type"] == "completed"
    assert stored[-1]["result"] == {"said": "moin again"}
    for event in stored:
        assert event["attempt"] >= 1 and event["maxAttempts"] == 4
        assert event["jobId"] == stored[0]["jobId"] and event["at"].endswith("Z")


def test_artifacts_stand_under_their_stage_and_in_job_json(mill):
    import hashlib

    mill.write("two.yaml", TWO)
    assert mill("run", "two.yaml", "-o", "out").code == 0
    job = mill.job()
    assert {a["stage"] for a in job["artifacts"]} == {"one", "two"}
    for artifact in job["artifacts"]:
        content = (mill.folder / "out" / artifact["path"]).read_bytes()
        assert artifact["bytes"] == len(content)
        assert artifact["sha256"] == hashlib.sha256(content).hexdigest()
        assert artifact["mediaType"] == "text/plain"
    assert job["status"] == "completed" and job["result"] == {"said": "hello again"}
    assert [a["outcome"] for a in job["attempts"]] == ["ok", "ok"]


def test_nothing_is_left_behind(mill):
    mill.write("two.yaml", TWO)
    assert mill("run", "two.yaml", "-o", "out", "--json").code == 0
    job = mill.job()["jobId"]
    assert not (mill.folder / "out" / ".stagemill" / job).exists()
    assert sorted(p.name for p in (mill.folder / "out").iterdir()) == [".stagemill", "job.json", "one", "two"]


def test_a_finished_job_prints_its_result_and_runs_nothing(mill):
    mill.write("two.yaml", TWO)
    first = mill("run", "two.yaml", "-o", "out")
    again = mill("run", "two.yaml", "-o", "out")
    assert first.code == again.code == 0
    assert first.out == again.out == "said: hello again\n"
    assert len(mill.job()["attempts"]) == 2


def test_fresh_begins_again(mill):
    mill.write("two.yaml", TWO)
    mill("run", "two.yaml", "-o", "out")
    before = mill.job()["jobId"]
    assert mill("run", "two.yaml", "-o", "out", "--fresh").code == 0
    assert mill.job()["jobId"] != before


def test_other_parameters_are_another_job(mill):
    mill.write("two.yaml", TWO)
    mill("run", "two.yaml", "-o", "out")
    assert mill("run", "two.yaml", "-o", "out", "-p", "word=moin").out == "said: moin again\n"
    assert (mill.folder / "out" / "one" / "out.txt").exists() or any((mill.folder / "out" / "one").iterdir())


def test_a_changed_input_is_not_mixed_into_an_old_job(mill):
    mill.write("in.yaml", "stagemill: 1\nname: in\nstages:\n  - { id: a, uses: noop, inputs: { in: source } }\n")
    mill.write("clip.bin", "one")
    assert mill("run", "in.yaml", "clip.bin", "-o", "out").code == 0
    mill.write("clip.bin", "another")
    refused = mill("run", "in.yaml", "clip.bin", "-o", "out")
    assert refused.code == 2 and "--fresh" in refused.err
    assert mill("run", "in.yaml", "clip.bin", "-o", "out", "--fresh").code == 0


def test_bad_usage_is_2_and_says_what_to_do(mill):
    mill.write("two.yaml", TWO)
    for words in (["run"], ["run", "missing.yaml"], ["run", "two.yaml", "-p", "word"], ["run", "two.yaml", "-p", "wort=x"],
                  ["run", "two.yaml", "missing.mp4"], ["run", "two.yaml", "--josn"]):
        refused = mill(*words)
        assert refused.code == 2, words
        assert refused.err.startswith("stagemill: ") or ": error:" in refused.err, words
    assert "word" in mill("run", "two.yaml", "-p", "wort=x").err  # the nearest parameter is named


def test_quiet_prints_nothing(mill):
    mill.write("two.yaml", TWO)
    done = mill("run", "two.yaml", "-q")
    assert (done.code, done.out, done.err) == (0, "", "")
    assert (mill.folder / "two.out" / "job.json").exists()


def test_ctrl_c_interrupts_without_costing_an_attempt(mill):
    mill.write("slow.yaml", SLOW % "60s")
    running = mill.start("run", "slow.yaml", "-o", "out", "--json")
    lines_until(running, "stage", stage="nap", status="started")
    running.send_signal(signal.SIGINT)
    running.communicate(timeout=15)
    assert running.returncode == 3
    explained = mill("explain", "last", "-o", "out")
    assert explained.code == 0 and "queued" in explained.out
    job = json.loads(mill("jobs", "last", "-o", "out", "--json").out)
    nap = next(s for s in job["stages"] if s["id"] == "nap")
    assert (nap["status"], nap["failedAttempts"]) == ("waiting", 0)
    assert [a["outcome"] for a in job["attempts"]] == ["ok", "interrupted"]


def test_the_second_ctrl_c_kills(mill):
    mill.write("deaf.yaml", "stagemill: 1\nname: deaf\nstages:\n  - { id: nap, uses: slow, with: { for: 60s, deaf: true, stubborn: true } }\n")
    running = mill.start("run", "deaf.yaml", "-o", "out")
    wait_until(lambda: '"pid"' in mill("jobs", "last", "-o", "out", "--json").out)  # the attempt has a process
    running.send_signal(signal.SIGINT)
    for line in running.stderr:  # two signals sent at once are one
        if "interrupting" in line:
            break
    running.send_signal(signal.SIGINT)
    _, err = running.communicate(timeout=8)
    assert running.returncode == 3 and "killing" in err


def test_the_same_command_follows_a_running_one(mill):
    mill.write("slow.yaml", SLOW % "2s")
    first = mill.start("run", "slow.yaml", "-o", "out", "--json")
    seen = lines_until(first, "stage", stage="nap", status="started")
    second = mill("run", "slow.yaml", "-o", "out", "--json")
    out, err = first.communicate(timeout=20)
    assert first.returncode == second.code == 0, err
    assert second.events[0]["type"] == "state" and second.events[-1]["type"] == "completed"
    assert seen[0]["jobId"] == second.events[0]["jobId"]
    assert len(mill.job()["attempts"]) == 3


def test_another_command_on_an_owned_folder_is_refused_with_the_pid(mill):
    mill.write("slow.yaml", SLOW % "30s")
    mill.write("two.yaml", TWO)
    first = mill.start("run", "slow.yaml", "-o", "out", "--json")
    lines_until(first, "stage", stage="nap", status="started")
    refused = mill("run", "two.yaml", "-o", "out")
    assert refused.code == 2 and str(first.pid) in refused.err


def test_cancel_ends_a_running_job_with_4_and_leaves_no_process(mill):
    mill.write("slow.yaml", SLOW % "60s")
    running = mill.start("run", "slow.yaml", "-o", "out", "--json")
    lines_until(running, "stage", stage="nap", status="started")
    family = wait_until(lambda: children_of(running.pid))
    assert mill("cancel", "last", "-o", "out").code == 0
    out, _ = running.communicate(timeout=20)
    assert running.returncode == 4
    last = json.loads(out.splitlines()[-1])
    assert last["type"] == "cancelled" and last["published"] == ["first"]
    wait_until(lambda: not any(alive(p) for p in family))
    too_late = mill("cancel", "last", "-o", "out")
    assert too_late.code == 1 and "cancelled" in too_late.err


def test_a_job_at_rest_is_cancelled_without_its_owner(mill):
    mill.write("slow.yaml", SLOW % "60s")
    running = mill.start("run", "slow.yaml", "-o", "out", "--json")
    lines_until(running, "stage", stage="nap", status="started")
    running.send_signal(signal.SIGINT)
    running.communicate(timeout=15)
    assert mill("cancel", "last", "-o", "out").code == 0
    assert json.loads(mill("jobs", "last", "-o", "out", "--json").out)["status"] == "cancelled"
    assert mill("retry", "last", "-o", "out").code == 0
    assert json.loads(mill("jobs", "last", "-o", "out", "--json").out)["round"] == 2


def test_state_can_live_elsewhere(mill):
    mill.write("two.yaml", TWO)
    assert mill("run", "two.yaml", "-o", "out", "--state", "st").code == 0
    assert not (mill.folder / "out" / ".stagemill" / "data.mdb").exists()
    assert "completed" in mill("jobs", "--state", "st").out


def test_the_engine_loads_no_plugin_and_no_libav(mill):
    mill.write("slow.yaml", SLOW % "20s")
    running = mill.start("run", "slow.yaml", "-o", "out", "--json")
    lines_until(running, "stage", stage="nap", status="started")
    mapped = open(f"/proc/{running.pid}/maps").read()
    assert "libav" not in mapped and "plugins/" not in mapped
    assert any(name.endswith("data.mdb") for name in files_of(running.pid))
    for child in children_of(running.pid):
        held = files_of(child)
        assert not any(name.endswith(".mdb") or name.endswith("owner.lock") for name in held), (child, held)


def test_a_parameter_that_no_stage_can_take_is_refused_before_anything_runs(mill):
    mill.write("p.yaml", """
stagemill: 1
name: p
params: { how: { type: text, default: none } }
stages:
  - { id: c, uses: crash, with: { how: "${{ params.how }}" } }
""")
    for command in ("run", "plan"):
        done = mill(command, "p.yaml", "-p", "how=gently")
        assert done.code == 2 and "`how` (p.yaml:6): `gently` is not one of segv" in done.err, done.err
    assert not (mill.folder / "p.out").exists()


def test_explain_means_the_last_job_and_its_cure_can_be_typed(mill):
    mill.write("p.yaml", """
stagemill: 1
name: p
stages:
  - { id: c, uses: crash, with: { how: exit }, retry: { attempts: 1 } }
""")
    assert mill("run", "p.yaml").code == 1
    said = mill("explain", "-o", "p.out").out
    assert "has failed" in said and "c failed after 1 attempt:" in said
    assert "/logs/1.log\n        | these are the last words of crash" in said
    job = json.loads(mill("jobs", "--json", "-o", "p.out").out)[0]["id"]
    assert f"`stagemill retry {job} -o p.out`" in said
    assert mill("retry", job, "-o", "p.out").code == 0


def test_without_a_state_folder_the_runs_of_this_folder_are_named(mill):
    assert "here there are" not in mill("jobs").err
    mill.write("p.yaml", "stagemill: 1\nname: p\nstages:\n  - { id: n, uses: noop }\n")
    assert mill("run", "p.yaml").code == 0
    done = mill("jobs")
    assert done.code == 2 and "here there are: -o p.out" in done.err
