"""The state folder: backup, check, export and retention while jobs run and at rest; what a full disk does to jobs."""
import json
import os
import shutil
import subprocess

import pytest

from conftest import lines_until

TWO = """
stagemill: 1
name: two
params: { word: { type: text, default: hello } }
stages:
  - { id: one, uses: noop, with: { text: "${{ params.word }}" } }
  - { id: two, uses: noop, with: { text: "${{ stages.one.text }} again" } }
result: { said: "${{ stages.two.text }}" }
"""
SLOW = "stagemill: 1\nname: slow\nstages:\n  - { id: first, uses: noop }\n  - { id: nap, uses: slow, needs: first, with: { for: %s } }\n"


def test_a_backup_of_a_running_job_is_sound_and_goes_on_elsewhere(mill):
    mill.write("slow.yaml", SLOW % "3s")
    running = mill.start("run", "slow.yaml", "-o", "out", "--state", "st", "--json")
    lines_until(running, "stage", stage="nap", status="started")
    done = mill("state", "backup", "copy", "--state", "st")
    assert done.code == 0, done.err
    assert running.communicate(timeout=20) and running.returncode == 0
    shutil.rmtree(mill.folder / "st")
    (mill.folder / "copy").rename(mill.folder / "st")
    assert mill("state", "check", "--state", "st").code == 0
    again = mill("run", "slow.yaml", "-o", "out", "--state", "st")
    assert again.code == 0 and "kept: first" in again.err and "goes on with: nap" in again.err


def test_a_backup_does_not_mix_with_what_is_there(mill):
    mill.write("two.yaml", TWO)
    mill("run", "two.yaml", "-o", "out")
    (mill.folder / "full").mkdir()
    mill.write("full/precious", "x")
    refused = mill("state", "backup", "full", "-o", "out")
    assert refused.code == 1 and "not empty" in refused.err
    assert mill("state", "backup", "-o", "out").code == 2


def test_check_names_the_job_whose_files_were_changed(mill):
    mill.write("two.yaml", TWO)
    mill("run", "two.yaml", "-o", "out")
    assert mill("state", "check", "-o", "out").out == "the state is sound\n"
    job = mill.job()["jobId"]
    (mill.folder / "out/.stagemill/jobs" / job / "manifests" / "one.json").write_text("[]")
    next((mill.folder / "out/.stagemill/pinned").iterdir()).unlink()
    bad = mill("state", "check", "-o", "out", "--json")
    assert bad.code == 1 and json.loads(bad.out)["problems"] == 2
    assert all(job in line for line in json.loads(bad.out)["lines"])


def test_export_is_json_lines_of_every_record(mill):
    mill.write("two.yaml", TWO)
    mill("run", "two.yaml", "-o", "out")
    shown = mill("state", "export", "-o", "out")
    records = [json.loads(line) for line in shown.out.splitlines()]
    assert shown.code == 0 and mill.job()["jobId"] in shown.out and len(records) > 5
    assert mill("state", "export", "e.jsonl", "-o", "out").code == 0
    assert (mill.folder / "e.jsonl").read_text() == shown.out
    assert oct((mill.folder / "e.jsonl").stat().st_mode & 0o777) == "0o600"


def test_prune_removes_what_it_was_told_and_nothing_published(mill):
    mill.write("two.yaml", TWO)
    for word in "abc":
        assert mill("run", "two.yaml", "-o", word, "--state", "st", "-p", f"word={word}").code == 0
    assert mill("state", "prune", "--state", "st").code == 2
    assert mill("state", "prune", "--state", "st", "--completed-keep", "zwei").code == 2
    pruned = mill("state", "prune", "--state", "st", "--completed-keep", "1", "--json")
    assert pruned.code == 0 and json.loads(pruned.out)["removed"] == 2
    left = json.loads(mill("jobs", "--state", "st", "--json").out)
    assert [j["id"] for j in left] == [mill.job("c")["jobId"]]
    assert [p.name for p in (mill.folder / "st/jobs").iterdir()] == [mill.job("c")["jobId"]]
    assert (mill.folder / "a/job.json").exists() and (mill.folder / "a/one").is_dir()


def test_unknown_actions_are_usage_errors(mill):
    for words in (["state"], ["state", "brush"], ["state", "check", "x"]):
        assert mill(*words, "-o", "out").code == 2, words


# ---- full disks -------------------------------------------------------------------------------------------------------


@pytest.fixture
def small(mill):
    """A file system of 3 MB at `small`."""
    folder = mill.folder / "small"
    folder.mkdir()
    if os.geteuid() != 0:
        pytest.skip("mounting a small file system takes root")
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=3m", "tmpfs", str(folder)], capture_output=True, text=True)
    if mounted.returncode:
        pytest.skip(f"a small file system cannot be mounted: {mounted.stderr.strip()}")
    yield folder
    mill.clean()
    subprocess.run(["umount", "-l", str(folder)], check=False)


def fill(path):
    """Writes until nothing more fits."""
    with open(path, "ab", buffering=0) as file:
        for size in (65536, 4096, 512, 1):
            try:
                while True:
                    file.write(b"x" * size)
            except OSError:
                pass


def test_a_job_outlives_a_full_state_disk(mill, small):
    mill.write("slow.yaml", SLOW % "1s")
    running = mill.start("run", "slow.yaml", "-o", "out", "--state", small, "--json")
    seen = lines_until(running, "stage", stage="nap", status="started")
    fill(small / "ballast")
    seen += lines_until(running, "progress", stage=None)  # of the job, not of a stage
    trouble = seen[-1]
    assert "state folder" in trouble["message"] and "trying again" in trouble["message"]
    assert running.poll() is None
    (small / "ballast").unlink()
    out, err = running.communicate(timeout=30)
    assert running.returncode == 0, err
    later = [json.loads(line) for line in out.splitlines()]
    stored = [e["seq"] for e in seen + later if e["type"] not in ("state", "progress")]
    assert stored == list(range(stored[0], stored[0] + len(stored))) and later[-1]["type"] == "completed"
    assert [a["outcome"] for a in mill.job()["attempts"]] == ["ok", "ok"]
    assert mill("state", "check", "--state", small).code == 0


def test_a_full_state_disk_does_not_keep_ctrl_c_waiting(mill, small):
    mill.write("slow.yaml", SLOW % "1s")
    running = mill.start("run", "slow.yaml", "-o", "out", "--state", small, "--json")
    lines_until(running, "stage", stage="nap", status="started")
    fill(small / "ballast")
    lines_until(running, "progress", stage=None)
    running.terminate()
    running.communicate(timeout=15)
    assert running.returncode == 3
    (small / "ballast").unlink()
    assert mill("run", "slow.yaml", "-o", "out", "--state", small).code == 0


def test_a_full_output_disk_fails_only_the_job_that_filled_it(mill, small):
    mill.write("fill.yaml", "stagemill: 1\nname: fill\nstages:\n  - { id: fill, uses: fill-disk, with: { where: output, "
                            "how: one-file, pause: 0s }, retry: { attempts: 2, backoff: 100ms } }\n")
    mill.write("slow.yaml", SLOW % "2s")
    other = mill.start("run", "slow.yaml", "-o", "other", "--json")
    lines_until(other, "stage", stage="nap", status="started")
    failed = mill("run", "fill.yaml", "-o", small, "--state", "st", "--json")
    assert failed.code == 1, failed.out
    assert "no room" in failed.of("failed")[0]["error"] and failed.of("failed")[0]["totalAttempts"] == 2
    assert mill.job("small")["status"] == "failed" and not (small / "fill").exists()
    assert not any((small / ".stagemill").iterdir())  # what it wrote is gone
    other.communicate(timeout=20)
    assert other.returncode == 0
