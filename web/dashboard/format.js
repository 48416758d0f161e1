// format.js - numbers and times as people say them.

/** 3725 -> "1 h 2 min" */
export function span(seconds) {
  if (seconds === null || seconds === undefined || !Number.isFinite(seconds)) return '';
  const whole = Math.max(0, Math.round(seconds));
  if (whole < 60) return `${whole} s`;
  if (whole < 3600)
    return whole % 60 && whole < 600
      ? `${Math.floor(whole / 60)} min ${whole % 60} s`
      : `${Math.round(whole / 60)} min`;
  if (whole < 86400) return `${Math.floor(whole / 3600)} h ${Math.floor((whole % 3600) / 60)} min`;
  return `${Math.floor(whole / 86400)} d ${Math.floor((whole % 86400) / 3600)} h`;
}

/** Short times with a digit after the point: "0.5 s" */
export function took(ms) {
  if (ms === null || ms === undefined) return '';
  return ms < 10000 ? `${(ms / 1000).toFixed(1)} s` : span(ms / 1000);
}

export function ago(time, now = Date.now()) {
  if (!time) return '';
  const seconds = (now - Date.parse(time)) / 1000;
  return seconds < 3 ? 'just now' : `${span(seconds)} ago`;
}

export function bytes(count) {
  if (count === null || count === undefined) return '';
  const units = ['B', 'KB', 'MB', 'GB', 'TB'];
  let at = 0;
  let value = Number(count);
  while (value >= 1000 && at < units.length - 1) {
    value /= 1000;
    at++;
  }
  return `${at && value < 10 ? value.toFixed(1) : Math.round(value)} ${units[at]}`;
}

export const clock = (time) => (time ? new Date(time).toLocaleTimeString([], { hour12: false }) : '');
export const moment = (time) => (time ? new Date(time).toLocaleString([], { hour12: false }) : '');
export const percent = (value) => `${value >= 10 || value === 0 ? Math.floor(value) : value.toFixed(1)} %`;
export const count = (value) => Number(value ?? 0).toLocaleString('en-US');
export const shortId = (id) => (id && id.length > 14 ? `${id.slice(0, 6)}…${id.slice(-4)}` : (id ?? ''));

export const between = (from, to, now = Date.now()) => (from ? (to ? Date.parse(to) : now) - Date.parse(from) : null);

/** A value of a result or a parameter as text. */
export function shown(value) {
  if (value === null || value === undefined) return '–';
  return typeof value === 'object' ? JSON.stringify(value) : String(value);
}

/** How a job waits, or how long it will take, in one line. */
export function outlook(job, { position = job.queuePosition, now = Date.now() } = {}) {
  switch (job.status) {
    case 'queued':
      if (!position) return 'in the queue';
      return position === 1 ? 'next in the queue' : `number ${count(position)} in the queue`;
    case 'processing':
      return job.etaSeconds !== null && job.etaSeconds !== undefined
        ? `about ${span(job.etaSeconds)} left`
        : `for ${span(between(job.startedAt, null, now) / 1000)}`;
    case 'retrying':
      return job.retryAt ? `again in ${span((Date.parse(job.retryAt) - now) / 1000)}` : 'again soon';
    case 'paused':
      return job.pausedUntil ? `until ${moment(job.pausedUntil)}` : 'paused';
    case 'held':
      return 'waits for a decision';
    default:
      return job.startedAt && job.endedAt ? `took ${took(job.durationMs ?? between(job.startedAt, job.endedAt))}` : '';
  }
}
