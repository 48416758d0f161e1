#!/usr/bin/python3
"""Judges the media behind a master playlist with ffprobe and ffmpeg, and with a reading of its own of TS and H.264.

usage: hls_media.py MASTER.m3u8 [SOURCE]
exit 0: good; 1: every complaint on a line of its own; 2: called wrongly

Every segment decodes alone without a word from the decoder and starts with an IDR frame; what the playlists say of
durations, codecs,
sizes and frame rates is what the files hold; IDR frames stand at the same instants in all renditions; where the
source has audio
every segment has, for all of its time; the whole lasts as long as the source, within one frame.
"""
import json
import os
import re
import subprocess
import sys
import tempfile
from urllib.parse import unquote

complaints = []


def complain(where, text):
    complaints.append(f"{where}: {text}")


def run(command, timeout=600):
    return subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=timeout, check=False)


def probe(path, *what):
    done = run(["ffprobe", "-v", "error", "-of", "json", *what, path])
    return json.loads(done.stdout or b"{}"), done.stderr.decode(errors="replace").strip()


def attributes(line):
    found = re.findall(r'([A-Z0-9-]+)=("[^"]*"|[^,]*)', line.split(":", 1)[1])
    return {k: v.strip('"') for k, v in found}


def read_master(path):
    lines = open(path, encoding="utf-8").read().splitlines()
    variants = []
    for i, line in enumerate(lines):
        if line.startswith("#EXT-X-STREAM-INF:"):
            variant = attributes(line)
            variant["path"] = os.path.join(os.path.dirname(path), unquote(lines[i + 1]))
            variants.append(variant)
    return variants


def read_media(path):
    folder = os.path.dirname(path)
    segments, init, duration = [], None, None
    for line in open(path, encoding="utf-8").read().splitlines():
        if line.startswith("#EXT-X-MAP:"):
            init = os.path.join(folder, unquote(attributes(line)["URI"]))
        elif line.startswith("#EXTINF:"):
            duration = float(line[8:].split(",")[0])
        elif line and not line.startswith("#"):
            segments.append((duration, os.path.join(folder, unquote(line))))
    return init, segments


def whole(init, segment, scratch):
    """A segment that can be opened alone."""
    if not init:
        return segment
    joined = os.path.join(scratch, "one.mp4")
    with open(joined, "wb") as out:
        for part in (init, segment):
            with open(part, "rb") as f:
                out.write(f.read())
    return joined


def packets(path):
    data, _ = probe(path, "-show_entries",
                    "packet=pts_time,dts_time,duration_time,flags,codec_type,size:stream=codec_type")
    kinds = {"video": [], "audio": []}
    for p in data.get("packets", []):
        if p.get("codec_type") in kinds and "pts_time" in p:
            kinds[p["codec_type"]].append({"pts": float(p["pts_time"]), "dts": float(p.get("dts_time", p["pts_time"])),
                                           "duration": float(p.get("duration_time", 0)), "key": "K" in p["flags"],
                                           "discard": "D" in p["flags"]})
    return kinds


def read_nals(raw):
    """Types of the NAL units of a raw H.264 stream, in order, and the first bytes of the first SPS."""
    types, sps = [], b""
    for m in re.finditer(b"\x00\x00\x01", raw):
        at = m.end()
        if at >= len(raw):
            continue
        kind = raw[at] & 0x1F
        types.append(kind)
        if kind == 7 and not sps:
            sps = raw[at:at + 4]
    return types, sps


RAW_VIDEO = ["-map", "0:v:0", "-c", "copy", "-bsf:v", "h264_mp4toannexb", "-f", "h264", "-"]


def judge_decode(where, path, has_video):
    """Decodes a segment alone, and answers its NAL units."""
    done = run(["ffmpeg", "-v", "warning", "-xerror", "-i", path, "-map", "0", "-f", "null", "/dev/null",
                *(RAW_VIDEO if has_video else [])])
    lines = done.stderr.decode(errors="replace").splitlines()
    said = [line for line in lines if line.strip() and "deprecated" not in line]
    if done.returncode or said:
        complain(where, "does not decode cleanly alone: " + " | ".join(said[:3]))
    return read_nals(done.stdout)[0]


def judge_counters(where, files):
    """Continuity counters of every TS PID run on through all segments of a rendition (a break is a lost packet)."""
    last = {}
    for name in files:
        data = open(name, "rb").read()
        if len(data) % 188:
            complain(where, f"{os.path.basename(name)} is not a whole number of TS packets")
        for at in range(0, len(data) - 187, 188):
            if data[at] != 0x47:
                complain(where, f"{os.path.basename(name)} loses sync at byte {at}")
                return
            pid = (data[at + 1] & 0x1F) << 8 | data[at + 2]
            has_payload, counter = data[at + 3] & 0x10, data[at + 3] & 0x0F
            if not has_payload or pid == 0x1FFF:
                continue
            if pid in last and counter != (last[pid] + 1) % 16:
                complain(where, f"{os.path.basename(name)}: continuity counter of PID {pid} jumps at byte {at}")
                return
            last[pid] = counter


def busiest_second(times):
    best, first = 0, 0
    for i, t in enumerate(times):
        while times[first] <= t - 1.0 + 0.010:
            first += 1
        best = max(best, i - first + 1)
    return best


def judge_stream_facts(where, variant, path, sps):
    data, _ = probe(path, "-show_entries",
                    "stream=codec_type,codec_name,width,height,pix_fmt,sample_aspect_ratio,profile,color_space")
    streams = {s["codec_type"]: s for s in data.get("streams", [])}
    video, audio = streams.get("video"), streams.get("audio")
    codecs = variant.get("CODECS", "").split(",")
    if video:
        true = "avc1.%02x%02x%02x" % (sps[1], sps[2], sps[3]) if len(sps) > 3 else "?"
        if true not in codecs:
            complain(where, f"CODECS says {variant.get('CODECS')}, the SPS says {true}")
        size = f"{video['width']}x{video['height']}"
        if variant.get("RESOLUTION") != size:
            complain(where, f"RESOLUTION says {variant.get('RESOLUTION')}, the picture is {size}")
        if video["pix_fmt"] not in ("yuv420p", "yuvj420p"):
            complain(where, f"pixel format is {video['pix_fmt']}")
        if video.get("sample_aspect_ratio", "1:1") not in ("1:1", "N/A"):
            complain(where, f"sample aspect ratio is {video['sample_aspect_ratio']}")
        if video.get("color_space", "unknown") == "unknown":
            complain(where, "the colour space is not tagged")
    elif "RESOLUTION" in variant or any(c.startswith("avc1") for c in codecs):
        complain(where, "the master playlist speaks of video, there is none")
    if bool(audio) != ("mp4a.40.2" in codecs):
        complain(where, f"CODECS says {variant.get('CODECS')}, audio is {'there' if audio else 'missing'}")
    return bool(video), bool(audio)


class Rendition:
    def __init__(self, variant):
        self.variant = variant
        self.where = os.path.basename(variant["path"])
        self.keys, self.video, self.audio, self.starts = [], [], [], []
        self.total = 0.0
        self.has_video = self.has_audio = False


def judge_segment(r, i, duration, path, name):
    where = f"{r.where} segment {i}"
    types = judge_decode(where, path, r.has_video)
    kinds = packets(path)
    video, audio = kinds["video"], kinds["audio"]
    if r.has_video:
        slices = [t for t in types if t in (1, 5)]
        if not video or not slices:
            complain(where, f"{name} holds no picture")
            return
        if slices[0] != 5:
            complain(where, "does not start with an IDR frame")
        if 7 not in types or types.index(7) > types.index(slices[0]):
            complain(where, "has no sequence header before its first picture")
        if min(video, key=lambda p: p["pts"]) is not video[0]:
            complain(where, "pictures before the first IDR frame are shown: the GOP is open")
        r.keys += [p["pts"] for p in video if p["key"]]
        r.starts.append(video[0]["pts"])
    if r.has_audio and not audio:
        complain(where, "has no audio")
    r.video += video
    r.audio += audio
    r.total += duration


def judge_times(r, segments):
    """EXTINF against what the segments really hold."""
    frame = frame_time(r)
    for i in range(len(r.starts) - 1):
        said, true = segments[i][0], r.starts[i + 1] - r.starts[i]
        if abs(said - true) > (frame if i == 0 else 0.002):
            complain(r.where, f"segment {i}: EXTINF says {said:.3f} s, the pictures say {true:.3f} s")
    for kind in ("video", "audio"):
        dts = [p["dts"] for p in getattr(r, kind)]
        if any(b <= a for a, b in zip(dts, dts[1:])):
            complain(r.where, f"decoding times of {kind} do not rise")
    if r.has_video and r.has_audio:
        edge = 0.0
        for duration, _ in segments:
            start = min(p["pts"] for p in r.video + r.audio) + edge
            covered = sum(p["duration"] for p in r.audio if start - 0.03 <= p["pts"] < start + duration - 0.0001)
            if covered < duration - 0.09:
                complain(r.where, f"only {covered:.2f} of the {duration:.2f} s from {edge:.2f} s carry audio")
            edge += duration


def frame_time(r):
    times = sorted(p["pts"] for p in r.video)
    gaps = sorted(b - a for a, b in zip(times, times[1:]))
    return gaps[len(gaps) // 2] if gaps else 0.1


def judge_rate(r):
    if not r.has_video or "FRAME-RATE" not in r.variant:
        if r.has_video:
            complain(r.where, "the master playlist has no FRAME-RATE")
        return
    times = sorted(p["pts"] for p in r.video)
    span = times[-1] - times[0] + frame_time(r)
    mean = len(times) / span if span else 0
    most = max(mean, busiest_second(times) if span >= 1 else 0)
    said = float(r.variant["FRAME-RATE"])
    if not (mean * 0.97 <= said <= most * 1.03 + 1):
        complain(r.where,
                 f"FRAME-RATE says {said}, measured are {mean:.3f} on average and {most:.3f} in the busiest second")


def judge_rendition(variant, scratch):
    r = Rendition(variant)
    init, segments = read_media(variant["path"])
    if not segments:
        complain(r.where, "no segments")
        return r
    missing = [s for _, s in segments if not os.path.exists(s)]
    if missing:
        complain(r.where, f"{os.path.basename(missing[0])} does not exist")
        return r
    first = whole(init, segments[0][1], scratch)
    sps = read_nals(run(["ffmpeg", "-v", "error", "-i", first, *RAW_VIDEO]).stdout)[1]
    r.has_video, r.has_audio = judge_stream_facts(r.where, variant, first, sps)
    for i, (duration, path) in enumerate(segments):
        judge_segment(r, i, duration, whole(init, path, scratch), os.path.basename(path))
    if not init:
        judge_counters(r.where, [s for _, s in segments])
    judge_times(r, segments)
    judge_rate(r)
    done = run(["ffmpeg", "-v", "error", "-xerror", "-i", variant["path"], "-f", "null", "-"])
    if done.returncode or done.stderr.strip():
        complain(r.where, "the playlist does not decode as a whole: " + done.stderr.decode(errors="replace")[:200])
    return r


def judge_alignment(renditions):
    moving = [r for r in renditions if r.has_video]
    for r in moving[1:]:
        first = moving[0]
        if len(r.keys) != len(first.keys):
            complain(r.where, f"{len(r.keys)} IDR frames, {first.where} has {len(first.keys)}")
        apart = [(a, b) for a, b in zip(first.keys, r.keys) if abs(a - b) > 0.0005]
        if apart:
            complain(r.where, f"IDR frame at {apart[0][1]:.3f} s stands at {apart[0][0]:.3f} s in {first.where}")


def source_facts(path):
    data, _ = probe(path, "-show_entries", "stream=index,codec_type,avg_frame_rate:stream_disposition=attached_pic")
    kinds = {}
    for s in data.get("streams", []):
        if not s.get("disposition", {}).get("attached_pic"):
            kinds.setdefault(s["codec_type"], s)
    start, end, frame = None, 0.0, 0.05
    read = packets(path)
    for kind in ("video", "audio"):
        held = [p for p in read[kind] if not p["discard"]] if kind in kinds else []
        if not held:
            continue
        first = min(p["pts"] for p in held)
        start = first if start is None else min(start, first)
        end = max([end] + [p["pts"] + p["duration"] for p in held])
        if kind == "video":
            rate = kinds[kind].get("avg_frame_rate", "0/1").split("/")
            frame = int(rate[1]) / int(rate[0]) if int(rate[0]) else 0.05
    return "video" in kinds, "audio" in kinds, end - (start or 0.0), frame


def judge_source(renditions, source):
    video, audio, duration, frame = source_facts(source)
    slack = max(frame, 0.0465)  # a frame of picture, or two of sound
    for r in renditions:
        if r.has_video != video or r.has_audio != audio:
            complain(r.where, f"video {r.has_video}, audio {r.has_audio}; the source has video {video}, audio {audio}")
        if abs(r.total - duration) > slack + 0.001:
            complain(r.where, f"lasts {r.total:.3f} s, the source {duration:.3f} s")


def main():
    if len(sys.argv) not in (2, 3):
        print(__doc__, file=sys.stderr)
        return 2
    variants = read_master(sys.argv[1])
    if not variants:
        complain(os.path.basename(sys.argv[1]), "no variant streams")
    with tempfile.TemporaryDirectory() as scratch:
        renditions = [judge_rendition(v, scratch) for v in variants if os.path.exists(v["path"]) or
                      complain(os.path.basename(v["path"]), "does not exist")]
    judge_alignment(renditions)
    if len(sys.argv) == 3:
        judge_source(renditions, sys.argv[2])
    for c in complaints:
        print(f"media: {c}")
    if not complaints:
        print(f"media: good, {renditions[0].total:.3f} s in {len(renditions)} renditions")
    return 1 if complaints else 0


sys.exit(main())
