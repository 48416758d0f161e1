"""tally.py FILE... [--again FILE] - adds up what test runs left behind: JUnit files of ctest and pytest, and rule lists (ok / not ok).

Prints "PASSED FAILED SKIPPED" and then one line for each failure and each skip, with its reason. A ctest program that
uses cmocka counts as its cases. What failed and stands in the file behind --again was run a second time, alone: that result
counts, and a line tells of it."""
import os
import re
import sys
import xml.etree.ElementTree as tree


class Tally:
    def __init__(self):
        self.passed = self.failed = self.skipped = 0
        self.notes = []

    def fail(self, name, why=""):
        self.failed += 1
        self.notes.append(f"FAILED  {name}{': ' + why if why else ''}")

    def skip(self, name, why=""):
        self.skipped += 1
        self.notes.append(f"skipped {name}: {why or 'no reason given'}")


def first_line(text):
    lines = [line.strip() for line in (text or "").splitlines() if line.strip()]
    return lines[0][:200] if lines else ""


def skips(output):
    """The skipped cases of a cmocka program, each with the line 'skipped: REASON' that it printed."""
    reason, found = "", {}
    for line in output.splitlines():
        if "[ RUN " in line:
            reason = ""
        elif line.startswith("skipped: "):
            reason = line[9:].strip()
        elif case := re.match(r"\[  SKIPPED \] (?:\S+: )?([A-Za-z_]\w*)", line):
            found[case[1]] = reason or found.get(case[1], "")
    return found


def cmocka(tally, name, output, broken):
    """Counts the cases of one cmocka program; False when the output is not cmocka's."""
    groups = [int(n) for n in re.findall(r"\[==========\] (?:\S+: )?Running (\d+) test", output)]
    if not groups:
        return False
    passed = sum(int(n) for n in re.findall(r"\[  PASSED  \] (\d+) test", output))
    failed = set(re.findall(r"\[  FAILED  \] (?:\S+: )?([A-Za-z_]\w*)", output))
    tally.passed += passed
    for case in sorted(failed):
        tally.fail(f"{name}/{case}")
    for case, why in sorted(skips(output).items()):
        tally.skip(f"{name}/{case}", why)
    if broken and not failed:  # it crashed, or a sanitizer ended it after the last case
        tally.fail(name, "ended badly: " + first_line(output[-600:]))
    return True


def is_broken(case):
    return case.get("status") == "fail" or case.find("failure") is not None or case.find("error") is not None


def key(case):
    return case.get("classname", ""), case.get("name", "?")


def second_results(path):
    """The cases of a second run by name; none when it left nothing."""
    if not path or not os.path.exists(path) or not os.path.getsize(path):
        return {}
    return {key(case): case for case in tree.parse(path).getroot().iter("testcase") if case.get("status", "run") != "notrun"}


def junit(tally, path, again):
    for case in tree.parse(path).getroot().iter("testcase"):
        name = case.get("name", "?")
        module = case.get("classname", "")
        if module and module != name:
            name = f"{module.rsplit('.', 1)[-1]}::{name}"
        if is_broken(case) and key(case) in again:
            case = again[key(case)]
            if not is_broken(case):
                tally.notes.append(f"again   {name}: failed beside others, passed alone")
        output = case.findtext("system-out") or ""
        broken = case.find("failure") is not None or case.find("error") is not None
        skipped = case.find("skipped")
        status = case.get("status", "run")
        if skipped is not None or status in ("disabled", "notrun"):
            reason = skipped.get("message", "") if skipped is not None else status
            if status == "notrun" and "SKIP" not in reason.upper():
                tally.fail(name, "not run: " + (reason or "its program is missing"))
            else:
                tally.skip(name, first_line(reason) or first_line(output))
        elif status == "fail" or broken:
            problem = case.find("failure") if case.find("failure") is not None else case.find("error")
            why = first_line(problem.get("message", "")) if problem is not None else ""
            if not cmocka(tally, name, output, True):
                tally.fail(name, why)
        elif not cmocka(tally, name, output, False):
            tally.passed += 1


def rules(tally, path):
    for line in open(path, encoding="utf-8", errors="replace"):
        if line.startswith("ok "):
            tally.passed += 1
        elif line.startswith("not ok "):
            tally.fail(line[7:].strip())
        elif line.startswith("skip "):
            name, _, why = line[5:].strip().partition(": ")
            tally.skip(name, why)


def main():
    tally, paths, again = Tally(), sys.argv[1:], {}
    if "--again" in paths:
        at = paths.index("--again")
        again = second_results(paths[at + 1])
        del paths[at : at + 2]
    for path in paths:
        try:
            if not os.path.exists(path) or os.path.getsize(path) == 0:
                tally.fail(os.path.basename(path), "the suite left no result: it did not start or was stopped")
            elif path.endswith(".xml"):
                junit(tally, path, again)
            else:
                rules(tally, path)
        except (tree.ParseError, ValueError, OSError) as problem:
            tally.fail(os.path.basename(path), f"its result cannot be read: {problem}")
    print(tally.passed, tally.failed, tally.skipped)
    for note in tally.notes:
        print(note)


main()
