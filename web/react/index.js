// A hook and a component over @stagemill/client.
//
//   const job = useStagemillJob(jobId, { server, token: fetchToken });
//   return <p>{job.status} {Math.floor(job.pct)} %</p>;
//
//   <StagemillProgress jobId={jobId} server={server} token={fetchToken} onCompleted={(result) => play(result.playlist)} />
import { createElement as h, useCallback, useEffect, useMemo, useRef, useSyncExternalStore } from 'react';
import { emptyJob, followJob } from '@stagemill/client';

const idle = Object.freeze({ ...emptyJob, status: null, connection: 'disconnected' });
const ending = ['completed', 'failed', 'cancelled'];

/** A follower that lives as long as somebody looks at it; rendering on a server opens no socket. */
function store(jobId, current) {
  let follower = null;
  let snapshot = jobId
    ? Object.freeze({ ...emptyJob, id: jobId, status: 'connecting', connection: 'connecting' })
    : idle;
  return {
    follower: () => follower,
    snapshot: () => snapshot,
    subscribe(changed) {
      if (!jobId) return () => {};
      const { server, tokenIn, WebSocket, reconnectDelayMs, reconnectTries, reconnectMaxDelayMs, jitter, since } =
        current();
      const given = {
        server,
        tokenIn,
        WebSocket,
        reconnectDelayMs,
        reconnectTries,
        reconnectMaxDelayMs,
        jitter,
        since,
      };
      const options = Object.fromEntries(Object.entries(given).filter(([, value]) => value !== undefined));
      // The token of the latest rendering: a new function at every rendering opens no new socket.
      const token = () => {
        const { token: latest } = current();
        return typeof latest === 'function' ? latest() : latest;
      };
      follower = followJob(jobId, { ...options, token });
      follower.on('change', (next) => {
        snapshot = next;
        changed();
      });
      follower.on('*', (event) => {
        current().onEvent?.(event);
        if (event.type === 'completed') current().onCompleted?.(event.result ?? null, follower.snapshot);
        if (event.type === 'failed') current().onFailed?.(follower.snapshot.error, follower.snapshot);
      });
      return () => follower.close();
    },
  };
}

/** The job as it is now, with {reconnect, close}. Follows another when `jobId` or `server` changes; null follows none. */
export function useStagemillJob(jobId, options = {}) {
  const latest = useRef(options);
  useEffect(() => {
    latest.current = options;
  });
  const followed = useMemo(() => store(jobId, () => latest.current), [jobId, options.server]);
  const snapshot = useSyncExternalStore(followed.subscribe, followed.snapshot, followed.snapshot);
  const reconnect = useCallback(() => followed.follower()?.reconnect(), [followed]);
  const close = useCallback(() => followed.follower()?.close(), [followed]);
  return useMemo(
    () => ({ ...snapshot, ended: ending.includes(snapshot.status), reconnect, close }),
    [snapshot, reconnect, close],
  );
}

function words(job) {
  if (job.status === 'failed') return job.error?.message ?? 'failed';
  if (job.status === 'queued' && job.queuePosition) return `number ${job.queuePosition} in the queue`;
  if (job.status === 'processing') return job.message ?? job.stage ?? 'processing';
  return job.waitReason ?? job.status ?? '';
}

const track = { height: '0.5rem', borderRadius: '0.25rem', background: 'rgb(127 127 127 / 25%)', overflow: 'hidden' };

/** A progress bar and a line of words. `children` may be a function of the job, to draw something else. */
export function StagemillProgress({ jobId, label = 'Progress', className, children, ...options }) {
  const job = useStagemillJob(jobId, options);
  if (typeof children === 'function') return children(job);
  const pct = Math.floor(job.pct);
  const fill = { width: `${job.pct}%`, height: '100%', background: 'currentColor', transition: 'width 0.25s linear' };
  const bar = h(
    'div',
    {
      role: 'progressbar',
      'aria-label': label,
      'aria-valuemin': 0,
      'aria-valuemax': 100,
      'aria-valuenow': pct,
      style: track,
    },
    h('div', { style: fill }),
  );
  return h(
    'div',
    { className, 'data-status': job.status },
    bar,
    h('p', { role: 'status' }, `${words(job)}${job.ended ? '' : `, ${pct} %`}`),
  );
}
