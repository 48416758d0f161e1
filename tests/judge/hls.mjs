// hls.mjs - judges a master playlist by two independent parsers (one of them strict), the sizes of the files and a
// TS reader.
//   node hls.mjs MASTER.m3u8     exit 0: good; 1: every complaint on a line of its own; 2: called wrongly
import { createRequire } from 'node:module';
import fs from 'node:fs';
import path from 'node:path';

const require = createRequire(import.meta.url);
const HLS = require('hls-parser');
const { Parser } = require('m3u8-parser');
const ts = require('mux.js/lib/tools/ts-inspector');
const mp4 = require('mux.js/lib/tools/mp4-inspector');

HLS.setOptions({ strictMode: true });
const complaints = [];
const complain = (where, text) => complaints.push(`${where}: ${text}`);
const near = (a, b, share) => Math.abs(a - b) <= share * Math.max(Math.abs(a), Math.abs(b));

function parseBoth(file) {
  const text = fs.readFileSync(file, 'utf8');
  const name = path.basename(file);
  const warnings = [];
  const parser = new Parser();
  parser.on('warn', (e) => warnings.push(e.message));
  parser.push(text);
  parser.end();
  for (const w of warnings) complain(name, `m3u8-parser warns: ${w}`);
  let strict = null;
  try {
    strict = HLS.parse(text);
  } catch (e) {
    complain(name, `hls-parser (strict) refuses it: ${e.message}`);
  }
  return { text, loose: parser.manifest, strict };
}

const fileOf = (base, uri) => path.resolve(path.dirname(base), decodeURIComponent(uri));

function sizeOf(where, file) {
  try {
    const { size } = fs.statSync(file);
    if (!size) complain(where, `${path.basename(file)} is empty`);
    return size;
  } catch {
    complain(where, `${path.basename(file)} does not exist`);
    return 0;
  }
}

// RFC 8216 4.1: the highest rate of any run of segments between 0.5 and 1.5 target durations long.
function rates(segments, target) {
  let peak = 0, bytes = 0, time = 0;
  segments.forEach((first, i) => {
    bytes += first.bytes;
    time += first.duration;
    for (let k = i, b = 0, t = 0; k < segments.length && t <= 1.5 * target; k++) {
      b += segments[k].bytes;
      t += segments[k].duration;
      if (t >= 0.5 * target && t <= 1.5 * target) peak = Math.max(peak, (b * 8) / t);
    }
  });
  const average = (bytes * 8) / time;
  return { peak: Math.max(peak, average), average };
}

function judgeSegmentFile(where, file, wantsVideo, wantsAudio) {
  const bytes = fs.readFileSync(file);
  if (file.endsWith('.ts')) {
    const found = ts.inspect(new Uint8Array(bytes));
    if (wantsVideo && !(found?.video?.length)) complain(where, `mux.js finds no video in ${path.basename(file)}`);
    if (wantsAudio && !(found?.audio?.length)) complain(where, `mux.js finds no audio in ${path.basename(file)}`);
  } else {
    const boxes = mp4.inspect(new Uint8Array(bytes)).map((b) => b.type);
    if (!boxes.includes('moof') || !boxes.includes('mdat')) complain(where,
                                                            `${path.basename(file)} has no moof and mdat`);
  }
}

function judgeMedia(file, codecs) {
  const where = path.basename(file);
  const { text, loose, strict } = parseBoth(file);
  if (!text.includes('#EXT-X-ENDLIST')) complain(where, 'no EXT-X-ENDLIST');
  if (loose.playlistType !== 'VOD') complain(where, `playlist type is ${loose.playlistType}, not VOD`);
  if (!loose.independentSegments) complain(where, 'no EXT-X-INDEPENDENT-SEGMENTS');
  if (!loose.segments?.length) complain(where, 'no segments');
  if (strict && strict.segments.length !== loose.segments.length) complain(where,
                                                            'the two parsers count segments differently');
  const segments = (loose.segments ?? []).map((s, i) => {
    const segment = { duration: s.duration, file: fileOf(file, s.uri) };
    segment.bytes = sizeOf(where, segment.file);
    if (strict && strict.segments[i]?.uri !== s.uri) complain(where, `the two parsers read segment ${i} differently`);
    if (Math.round(s.duration) > loose.targetDuration)
      complain(where, `segment ${i} lasts ${s.duration} s, above the target duration ${loose.targetDuration}`);
    if (segment.bytes) judgeSegmentFile(where, segment.file, codecs.includes('avc1'), codecs.includes('mp4a'));
    return segment;
  });
  const map = loose.segments?.[0]?.map?.uri;
  if (map) sizeOf(where, fileOf(file, map));
  if (!map && segments.some((s) => !s.file.endsWith('.ts'))) complain(where, 'fragmented MP4 without EXT-X-MAP');
  return { where, segments, target: loose.targetDuration };
}

function judgeMaster(file) {
  const { text, loose, strict } = parseBoth(file);
  const where = path.basename(file);
  for (const [rate] of text.matchAll(/FRAME-RATE=[\d.]+/g))
    if (!/=\d+(\.\d{1,3})?$/.test(rate)) complain(where, `${rate} has more than three decimals`);
  const variants = loose.playlists ?? [];
  if (!variants.length) complain(where, 'no variant streams');
  if (strict && !strict.isMasterPlaylist) complain(where, 'hls-parser does not take it for a master playlist');
  if (strict?.isMasterPlaylist && strict.variants.length !== variants.length) complain(where,
                                                            'the two parsers count variants differently');
  const media = variants.map((v, i) => {
    const a = v.attributes;
    const s = strict?.variants?.[i];
    if (s && (s.bandwidth !== a.BANDWIDTH || s.uri !== v.uri || (s.codecs ?? '') !== (a.CODECS ?? '')))
      complain(where, `the two parsers read variant ${v.uri} differently`);
    if (!a.CODECS) complain(where, `${v.uri} has no CODECS`);
    const playlist = fileOf(file, v.uri);
    if (!sizeOf(where, playlist)) return null;
    const m = judgeMedia(playlist, a.CODECS ?? '');
    const r = rates(m.segments, m.target);
    if (!near(a.BANDWIDTH, r.peak, 0.01)) complain(m.where,
      `BANDWIDTH says ${a.BANDWIDTH}, the segments say ${Math.ceil(r.peak)}`);
    const average = Number(a['AVERAGE-BANDWIDTH']);
    if (!near(average, r.average, 0.01))
      complain(m.where, `AVERAGE-BANDWIDTH says ${average}, the segments say ${Math.ceil(r.average)}`);
    return m;
  }).filter(Boolean);
  for (const m of media.slice(1)) {
    const first = media[0];
    if (m.segments.length !== first.segments.length) complain(m.where,
      `${m.segments.length} segments, ${first.where} has ${first.segments.length}`);
    m.segments.forEach((s, i) => {
      if (first.segments[i] && Math.abs(s.duration - first.segments[i].duration) > 0.002)
        complain(m.where, `segment ${i} lasts ${s.duration} s, in ${first.where} ${first.segments[i].duration} s`);
    });
  }
  return media;
}

const [master] = process.argv.slice(2);
if (!master) {
  console.error('usage: node hls.mjs MASTER.m3u8');
  process.exit(2);
}
const media = judgeMaster(master);
for (const c of complaints) console.log(`playlist: ${c}`);
const count = media.reduce((n, m) => n + m.segments.length, 0);
if (!complaints.length) console.log(`playlist: good, ${media.length} renditions, ${count} segments`);
process.exit(complaints.length ? 1 : 0);
