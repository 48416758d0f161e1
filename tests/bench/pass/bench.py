#!/usr/bin/python3
"""The VOD pipeline beside what people would use instead: interleaved in one run, so that whatever else the machine
does hits all alike.

usage: bench.py --clip FILE --stagemill FILE [--rounds N] [--seconds S] [--work FOLDER] [--json FILE]

Compared per round: (a) separate ffmpeg commands, (b) one expert ffmpeg command. All make a poster, a watermarked MP4
and HLS in 1080p and 480p. A
ratio below 1 means that stagemill needs less. Every output is decoded and its frames counted before a figure is
printed.
"""
import argparse
import json
import os
import pathlib
import platform
import shutil
import statistics
import subprocess
import sys

HERE = pathlib.Path(__file__).resolve().parent
LOGO = HERE.parents[2] / "pipelines" / "brand" / "logo.png"
NAMES = {"stagemill": "stagemill run vod.yaml", "separate": "(a) separate ffmpeg commands",
         "expert": "(b) one expert ffmpeg command"}


def ffprobe(path, *words):
    return subprocess.run(["ffprobe", "-v", "error", "-of", "csv=p=0", *words, str(path)], check=True,
                          capture_output=True, text=True).stdout.split()


def frames(path):
    return int(ffprobe(path, "-select_streams", "v:0", "-count_frames", "-show_entries",
                       "stream=nb_read_frames")[0].strip(","))


def cut(clip, seconds, work):
    if not seconds:
        return clip
    short = work / f"clip-{seconds}{clip.suffix}"
    subprocess.run(["ffmpeg", "-v", "error", "-y", "-t", str(seconds), "-i", str(clip), "-map", "0:v:0", "-map",
                    "0:a:0", "-c", "copy", str(short)],
                   check=True)
    return short


def commands(args, clip, out):
    duration = float(ffprobe(clip, "-show_entries", "format=duration")[0])
    at = f"{duration / 10:.3f}"
    size, margin = args.logo
    shell = [str(clip), str(LOGO), str(out), at, str(size), str(margin)]
    return {"stagemill": [str(args.stagemill), "run", str(HERE / "vod.yaml"), str(clip), "-o", str(out), "--quiet"],
            "separate": ["sh", str(HERE / "separate.sh"), *shell], "expert": ["sh", str(HERE / "expert.sh"), *shell]}


def measure(command):
    done = subprocess.run([sys.executable, str(HERE / "measure.py"), *command], capture_output=True, text=True)
    result = json.loads(done.stdout.splitlines()[-1]) if done.stdout else {"code": 1}
    if result["code"]:
        sys.exit(f"bench: {' '.join(command)} failed:\n{done.stderr[-2000:]}")
    return result


def verify(kind, out, expected):
    """The same work was done: every rendition and the MP4 hold every frame, and there is a poster."""
    base = out / "stream" if kind == "stagemill" else out
    posters = list(out.glob("poster/*.jpg")) + list(out.glob("poster.jpg"))
    if not posters:
        sys.exit(f"bench: {kind} made no poster")
    for path in [*base.glob("*_1080p.m3u8"), *base.glob("*_480p.m3u8"), *base.glob("*.mp4")]:
        if frames(path) != expected:
            sys.exit(f"bench: {kind}: {path.name} holds {frames(path)} frames, the clip {expected}")
    if len(list(base.glob("*_*p.m3u8"))) != 2 or len(list(base.glob("*.mp4"))) != 1:
        sys.exit(f"bench: {kind} did not make two renditions and an MP4")
    return sum(f.stat().st_size for f in base.glob("*.ts"))


def spread(values):
    return {"median": statistics.median(values), "min": min(values), "max": max(values)}


def run_rounds(args, clip):
    expected = frames(clip)
    rounds = []
    for n in range(args.rounds):
        row = {}
        order = ["stagemill", "separate", "expert"]
        for kind in order[n % 3:] + order[:n % 3]:
            out = args.work / f"out-{kind}"
            shutil.rmtree(out, ignore_errors=True)
            row[kind] = measure(commands(args, clip, out)[kind])
            row[kind]["bytes"] = verify(kind, out, expected)
            print(f"round {n + 1}: {NAMES[kind]:31} wall {row[kind]['wall']:6.1f} s  cpu {row[kind]['cpu']:6.1f} s",
                  file=sys.stderr, flush=True)
        rounds.append(row)
    return rounds


def summarise(rounds):
    table = {kind: {k: spread([r[kind][k] for r in rounds]) for k in ("wall", "cpu", "bytes")} for kind in NAMES}
    ratios = {f"{k} stagemill/{kind}": spread([r["stagemill"][k] / r[kind][k] for r in rounds])
              for kind in ("separate", "expert") for k in ("cpu", "wall")}
    return table, ratios


def show(table, ratios, goals):
    print(f"{'':34}{'wall s':>9}{'cpu s':>9}{'MB of HLS':>11}")
    for kind, name in NAMES.items():
        t = table[kind]
        print(f"{name:34}{t['wall']['median']:9.1f}{t['cpu']['median']:9.1f}{t['bytes']['median'] / 1e6:11.2f}")
    print(f"\n{'ratio':34}{'median':>9}{'min':>9}{'max':>9}{'goal':>11}")
    for name, r in ratios.items():
        goal = f"<= {goals[name]}" if name in goals else ""
        print(f"{name:34}{r['median']:9.3f}{r['min']:9.3f}{r['max']:9.3f}{goal:>11}")


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--clip", type=pathlib.Path, required=True)
    p.add_argument("--stagemill", type=pathlib.Path, required=True)
    p.add_argument("--rounds", type=int, default=3)
    p.add_argument("--seconds", type=float, default=0, help="use only the beginning of the clip")
    p.add_argument("--work", type=pathlib.Path, required=True)
    p.add_argument("--json", type=pathlib.Path)
    p.add_argument("--logo", type=int, nargs=2, default=(192, 22), metavar=("WIDTH", "MARGIN"),
                   help="as the watermark stage places it at 1080p")
    args = p.parse_args()
    args.work = args.work.resolve()
    args.work.mkdir(parents=True, exist_ok=True)
    clip = cut(args.clip.resolve(), args.seconds, args.work)
    rounds = run_rounds(args, clip)
    table, ratios = summarise(rounds)
    goals = {"cpu stagemill/separate": 0.6, "wall stagemill/separate": 0.65, "cpu stagemill/expert": 1.0}
    show(table, ratios, goals)
    if args.json:
        args.json.write_text(json.dumps({"clip": clip.name, "seconds": args.seconds, "rounds": rounds,
                                         "summary": table, "ratios": ratios, "goals": goals,
                                         "machine": {"cores": os.cpu_count(), "kernel": platform.release(),
                                                     "load": os.getloadavg()}}, indent=2) + "\n")
    for out in args.work.glob("out-*"):
        shutil.rmtree(out)


main()
