#!/usr/bin/python3
"""Followers of one job: our server beside npm `ws` and `socket.io`, all in one run, followed by the same client.

    bench.py [--build DIR] [--rounds N] [--quick] [--only ours,ws,socket.io] [--json FILE]

Each round starts every server afresh, in turn. Messages carry the time they were due, so that a server that falls behind is
charged for it. Printed are medians over the rounds with the smallest and largest, and ratios to ours round by round."""
import argparse
import json
import os
import pathlib
import statistics
import subprocess
import sys

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parents[2]
# followers, messages a second, seconds: more than any of them can carry (the figure is what arrives a second)
FLOODS = [(100, 4000, 3), (1000, 400, 3), (5000, 60, 3), (10000, 20, 4)]
# a load that all of them carry, for latency; and with every twentieth follower stalled
CALM = (1000, 20, 8, 2000)
BYTES = 200


def rss_kib(pid):
    for line in pathlib.Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS"):
            return int(line.split()[1])


class Program:
    """A program that is told what to do line by line, and answers in JSON lines."""

    def __init__(self, *words, **options):
        self.process = subprocess.Popen([str(w) for w in words], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, **options)

    def answer(self):
        line = self.process.stdout.readline()
        if not line:
            raise SystemExit(f"{self.process.args[0]} ended without an answer")
        return json.loads(line)

    def tell(self, line):
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()

    def end(self):
        self.process.stdin.close()
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


class Bench:
    def __init__(self, build):
        self.build = build

    def server(self, kind):
        if kind == "ours":
            return Program(self.build / "bench" / "bench_followers_server")
        return Program("node", HERE / "peer.mjs", kind, cwd=ROOT / "tests", env=dict(os.environ, NODE_ENV="production"))

    def run(self, kind, followers, rate, seconds, size=BYTES, stalled=0):
        """One server, so many followers, so many messages: what came, how late, and what it cost the server."""
        server = self.server(kind)
        where = server.answer()
        before = rss_kib(server.process.pid)
        client = Program(self.build / "bench" / "bench_followers_client", where["port"], where["path"], followers, stalled,
                         "40" if kind == "socket.io" else "")
        connected = client.answer()
        idle = rss_kib(server.process.pid)
        expected = (followers - stalled) * int(rate * seconds)
        client.tell(f"measure {expected} {5 if not stalled else 3}")
        server.tell(f"publish {rate} {seconds} {size}")
        measured, published = client.answer(), server.answer()
        after = rss_kib(server.process.pid)
        client.end()
        server.end()
        return {"followers": followers, "offered": (followers - stalled) * rate, "expected": expected, "idle_rss_kib": idle,
                "kib_per_follower": (idle - before) / followers, "loaded_rss_kib": after, "connect_s": connected["seconds"],
                "rate": measured["delivered"] / measured["seconds"] if measured["seconds"] else 0, **measured, **published}


def spread(values, form="{:.0f}"):
    text = form.format(statistics.median(values))
    return text if len(values) == 1 else f"{text} ({form.format(min(values))} to {form.format(max(values))})"


def table(title, head, rows):
    print(f"\n{title}\n\n| {' | '.join(head)} |\n|{'---|' * len(head)}")
    for row in rows:
        print(f"| {' | '.join(row)} |")
    sys.stdout.flush()


def floods(bench, kinds, rounds, sizes, keep):
    rows = []
    for followers, rate, seconds in sizes:
        runs = {kind: [] for kind in kinds}
        for _ in range(rounds):
            for kind in kinds:
                runs[kind].append(bench.run(kind, followers, rate, seconds))
        keep.append({"flood": followers, "runs": runs})
        for kind in kinds:
            r = runs[kind]
            ratio = [ours["rate"] / one["rate"] for ours, one in zip(runs["ours"], r)] if "ours" in runs else []
            lost = sum(one["expected"] - one["delivered"] for one in r)
            rows.append([f"{followers:,}", f"{followers * rate:,}", kind, spread([x["rate"] / 1000 for x in r], "{:.0f}k"),
                         spread([x["p50_us"] / 1000 for x in r], "{:.0f}"), spread([x["p99_us"] / 1000 for x in r], "{:.0f}"),
                         spread([x["kib_per_follower"] for x in r], "{:.1f}"), spread([x["idle_rss_kib"] / 1024 for x in r], "{:.0f}"),
                         "" if kind == "ours" or not ratio else spread(ratio, "{:.1f}"), f"{lost:,}" if lost else "none"])
    table("More than they can carry: delivered messages a second", ["followers", "offered/s", "server", "delivered/s", "p50 ms",
          "p99 ms", "KiB a follower", "idle RSS MiB", "ours is so many times as fast", "not delivered"], rows)


def stalls(bench, kinds, rounds, calm, keep):
    followers, rate, seconds, size = calm
    rows = []
    runs = {(kind, share): [] for kind in kinds for share in (0, 20)}
    for _ in range(rounds):
        for kind, share in runs:
            runs[kind, share].append(bench.run(kind, followers, rate, seconds, size, followers // share if share else 0))
    for kind in kinds:
        healthy, beside = runs[kind, 0], runs[kind, 20]
        change = [100 * (b["p99_us"] / a["p99_us"] - 1) for a, b in zip(healthy, beside)]
        rows.append([kind, spread([x["p50_us"] / 1000 for x in healthy], "{:.2f}"), spread([x["p99_us"] / 1000 for x in healthy], "{:.2f}"),
                     spread([x["p99_us"] / 1000 for x in beside], "{:.2f}"), spread(change, "{:+.0f} %"),
                     spread([(b["loaded_rss_kib"] - b["idle_rss_kib"]) / 1024 for b in beside], "{:.0f}"),
                     f'{sum(b["expected"] - b["delivered"] for b in beside):,}'])
        keep.append({"stalls": kind, "healthy": healthy, "beside_stalled": beside})
    table(f"{followers:,} followers, {rate} messages of {size} bytes a second; then with 5 % of them stalled",
          ["server", "p50 ms", "p99 ms", "p99 ms beside stalled", "change", "server grew MiB", "not delivered to the healthy"], rows)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--build", type=pathlib.Path, default=pathlib.Path(os.environ.get("STAGEMILL_BUILD", ROOT / "build")))
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--quick", action="store_true", help="one round, small numbers: does it run at all")
    parser.add_argument("--only", default="ours,ws,socket.io")
    parser.add_argument("--json", type=pathlib.Path)
    options = parser.parse_args()
    bench, keep, kinds = Bench(options.build.resolve()), [], options.only.split(",")
    print(f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f} at the start, {options.rounds} rounds")
    if options.quick:
        floods(bench, kinds, 1, [(100, 200, 1), (1000, 50, 1)], keep)
        stalls(bench, kinds, 1, (200, 50, 2, 2000), keep)
    else:
        floods(bench, kinds, options.rounds, FLOODS, keep)
        stalls(bench, kinds, options.rounds, CALM, keep)
    if options.json:
        options.json.write_text(json.dumps(keep, indent=1))


if __name__ == "__main__":
    main()
