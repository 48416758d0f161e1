"""The command line itself: help, exit codes, stages, plugins, doctor, version, completion, and what it links to."""
import json
import re
import shutil
import subprocess

import pytest

from conftest import STAGEMILL

COMMANDS = ["run", "jobs", "cancel", "retry", "explain", "pause", "resume", "release", "submit", "watch", "upload", "batch",
            "logs", "artifacts", "stats", "state", "serve", "token", "check", "plan", "test", "stages", "plugins", "doctor",
            "completion", "version", "help"]


def test_the_overview_lists_every_command(mill):
    done = mill("--help")
    assert done.code == 0
    assert [name for name in re.findall(r"^  ([a-z]+) ", done.out, re.M)] == COMMANDS
    assert mill("help").out == done.out
    assert mill().code == 2


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_explains_itself(mill, name):
    done = mill(name, "--help")
    assert done.code == 0 and done.err == ""
    assert done.out.startswith(f"Usage: stagemill {name}")
    assert "--help" in done.out
    assert mill("help", name).out == done.out


@pytest.mark.parametrize("words, says", [
    (["chekc"], "did you mean `stagemill check`?"),
    (["frobnicate"], "see `stagemill --help`"),
    (["check", "--jsno", "x"], "did you mean --json?"),
    (["check", "--json=yes", "x"], "--json takes no value"),
    (["plan", "-p"], "-p needs a value"),
    (["plan", "--against", "a", "--against", "b", "c"], "--against is given twice"),
    (["check"], "check needs PIPELINE..."),
    (["version", "now"], "one word too many"),
    (["--json", "check"], "the command comes first"),
    (["completion", "tcsh"], "bash, zsh and fish"),
    (["stages", "thumbnial"], "did you mean `stagemill stages thumbnail`?"),
])
def test_bad_usage_exits_2_with_a_sentence_that_helps(mill, words, says):
    done = mill(*words)
    assert done.code == 2 and done.out == ""
    assert done.err.startswith("stagemill: ") and says in done.err


def test_abbreviated_options_are_refused(mill):
    assert mill("version", "--js").code == 2


def test_words_behind_two_dashes_are_operands(mill):
    done = mill("check", "--", "--json")
    assert done.code == 2 and "--json" in done.out


def test_version_names_the_abi(mill):
    assert re.fullmatch(r"stagemill \d+\.\d+\.\d+ \(stage ABI 1\.\d+\)\n", mill("version").out)
    assert json.loads(mill("version", "--json").out)["abiMajor"] == 1
    assert mill("--version").out == mill("version").out


def test_a_full_device_is_an_error_not_silence(mill):
    with open("/dev/full", "w") as full:
        process = mill.start("version", stdout=full)
        _, err = process.communicate(timeout=10)
    assert process.returncode == 1 and "cannot write" in err


# ---- stages and plugins ----


def test_a_stage_is_printed_from_its_tables(mill):
    done = mill("stages", "thumbnail")
    assert done.code == 0
    for word in ["Parameters", "skip-black", "jpeg|png", "default jpeg", "Inputs", "Outputs", "Results", "count"]:
        assert word in done.out
    stage = json.loads(mill("stages", "thumbnail", "--json").out)
    params = {p["name"]: p for p in stage["params"]}
    assert params["format"]["choices"] == ["jpeg", "png"] and params["format"]["default"] == "jpeg"
    assert params["at"]["takes"] == ["duration", "percent"] and params["at"]["repeated"] is True
    assert stage["kind"] == "sink" and stage["plugin"]["id"] and len(stage["plugin"]["sha256"]) == 64
    assert any(r["key"] == "count" and r["type"] == "integer" for r in stage["results"])


def test_stages_lists_them_all(mill):
    names = [s["name"] for s in json.loads(mill("stages", "--json").out)]
    assert names == sorted(names) and {"probe", "thumbnail", "watermark", "hls", "upload", "fetch"} <= set(names)
    lines = mill("stages").out.splitlines()
    assert [line.split()[0] for line in lines] == names


def test_plugins_says_what_is_in_a_file_and_why_one_was_refused(mill):
    folder = mill.folder / "more"
    folder.mkdir()
    (folder / "junk.so").write_text("no plugin at all")
    plugins = json.loads(mill("plugins", "--json", env={"STAGEMILL_PLUGIN_PATH": str(folder)}).out)
    by_file = {p["file"].rsplit("/", 1)[1]: p for p in plugins}
    assert by_file["junk.so"]["state"] == "refused" and by_file["junk.so"]["reason"]
    probe = by_file["probe.so"]
    assert probe["state"] == "loaded" and probe["stages"] == ["probe"] and probe["abi"].startswith("1.")
    assert len(probe["sha256"]) == 64 and probe["reason"] is None


def test_a_plugin_folder_that_is_not_there_is_no_failure(mill):
    done = mill("stages", env={"STAGEMILL_PLUGIN_PATH": "/nowhere::relative"})
    assert done.code == 0 and "probe" in done.out


# ---- doctor ----


def test_doctor_is_well_or_names_a_cure(mill):
    done = mill("doctor", "--json", env={"STAGEMILL_PLUGIN_PATH": ""})
    found = json.loads(done.out)
    names = {f["name"] for f in found["findings"]}
    assert {"no_new_privs", "seccomp", "landlock", "user namespaces", "cgroup", "pidfd", "openat2", "runner", "plugins",
            "libav", "font", "state folder", "free space"} <= names
    assert done.code == (0 if found["well"] else 1)
    assert found["well"] == all(f["health"] != "bad" for f in found["findings"])
    assert found["well"], [f for f in found["findings"] if f["health"] == "bad"]


def test_doctor_finds_a_bad_plugin_and_says_what_to_do(mill):
    folder = mill.folder / "more"
    folder.mkdir()
    (folder / "junk.so").write_text("no plugin at all")
    done = mill("doctor", env={"STAGEMILL_PLUGIN_PATH": str(folder)})
    assert done.code == 1
    assert re.search(r"refused: \S+/junk.so: .*: remove it", done.out) and "1 thing to mend" in done.out


# ---- completion ----


def complete(mill, *words):
    script = mill("completion", "bash").out
    quoted = " ".join(f"'{w}'" for w in words)
    code = f"{script}\nCOMP_WORDS=({quoted}); COMP_CWORD={len(words) - 1}; _stagemill; printf '%s\\n' \"${{COMPREPLY[@]}}\""
    path = f"{STAGEMILL.parent}:/usr/bin:/bin"
    done = subprocess.run(["/bin/bash", "-c", code], env=dict(mill.env, PATH=path), cwd=mill.folder, capture_output=True,
                          text=True, timeout=20)
    assert done.stderr == ""
    return done.stdout.split()


def test_bash_completes_commands_options_stages_pipelines_and_files(mill):
    mill.write("clip.mp4", "")
    assert complete(mill, "stagemill", "pl") == ["plan", "plugins"]
    assert complete(mill, "stagemill", "check", "--") == ["--help", "--json", "--quiet"]
    assert complete(mill, "stagemill", "stages", "thumb") == ["thumbnail"]
    assert complete(mill, "stagemill", "plan", "v") == ["vod"]
    assert complete(mill, "stagemill", "plan", "vod", "cl") == ["clip.mp4"]
    assert complete(mill, "stagemill", "plan", "--against", "v") == ["vod"]
    assert complete(mill, "stagemill", "help", "do") == ["doctor"]


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_script_is_right_for_its_shell(mill, shell):
    if not shutil.which(shell):
        pytest.skip(f"{shell} is not installed")
    path = mill.write(f"completion.{shell}", mill("completion", shell).out)
    done = subprocess.run([shell, "-n", path], capture_output=True, text=True, timeout=20)
    assert (done.returncode, done.stderr) == (0, "")
    for name in COMMANDS:
        assert name in path.read_text()


# ---- what it is made of ----


def test_stagemill_links_no_libav_and_loads_nothing():
    libraries = subprocess.run(["ldd", STAGEMILL], capture_output=True, text=True, check=True).stdout
    assert not re.search(r"libav|libsw|libx264", libraries)
    symbols = subprocess.run(["nm", "-D", "--undefined-only", STAGEMILL], capture_output=True, text=True, check=True).stdout
    assert not re.search(r"\bdlm?open\b", symbols)


def test_the_editor_schema_knows_every_stage(mill):
    schema = json.loads(mill("stages", "--schema").out)
    assert schema["$schema"].endswith("2020-12/schema")
    text = json.dumps(schema)
    for stage in json.loads(mill("stages", "--json").out):
        assert f'"{stage["name"]}"' in text
