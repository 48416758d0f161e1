"""The manual page and the help texts say the same."""
import re
import subprocess

from conftest import ROOT

PAGE = ROOT / "packaging" / "man" / "stagemill.1"


def commands(mill):
    overview = mill("--help").out.split("Commands:\n", 1)[1].split("\n\n", 1)[0]
    return [line.split()[0] for line in overview.splitlines()]


def options(text):
    return set(re.findall(r"--[a-z]+", text.replace("\\-", "-")))


def test_every_command_and_option_is_in_the_manual_and_no_other(mill):
    page = PAGE.read_text().split(".SH EXIT STATUS")[0]
    sections = dict(re.findall(r"^\.BR ([a-z]+) \"(.*?)(?=^\.TP\n\.BR [a-z]+ \"|\Z)", page, re.S | re.M))
    assert sorted(sections) == sorted(commands(mill))
    for command in commands(mill):
        helped = options(mill(command, "--help").out.split("\nOptions:\n", 1)[1]) - {"--help"}
        assert helped == options(sections[command]) - {"--help"}, command


def test_the_page_is_well_formed():
    checked = subprocess.run(["man", "--warnings", "-E", "UTF-8", "-l", "-Tutf8", "-Z", str(PAGE)], capture_output=True, text=True)
    assert checked.returncode == 0 and checked.stderr == ""
