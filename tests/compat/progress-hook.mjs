// A progress hook as an app has it: knows /ws?jobId&token, the messages `state`, `progress`, `completed`, `failed`, the status
// words and the codes 4001, 4003, 1000. Nothing of stagemill's own library.
//
//   node progress-hook.mjs WS-URL JOB TOKEN     prints what the app would show, one JSON a line
import { WebSocket } from 'ws';

const [server, jobId, token] = process.argv.slice(2);
const state = { status: 'connecting', progress: 0, stage: null, message: null, clipUrls: null, error: null };
const show = (change) => console.log(JSON.stringify(Object.assign(state, change)));
let tries = 0;

function connect() {
  const query = new URLSearchParams({ ...(jobId && { jobId }), ...(token && { token }) });
  const socket = new WebSocket(`${server}/ws?${query}`);
  socket.onopen = () => {
    tries = 0;
    show({ status: 'connected' });
  };
  socket.onmessage = ({ data }) => {
    const message = JSON.parse(data);
    if (message.type === 'state') show({ status: message.status, progress: message.pct, stage: message.stage ?? null });
    if (message.type === 'progress')
      show({ status: 'processing', progress: message.pct, stage: message.stage, message: message.message });
    if (message.type === 'completed') show({ status: 'completed', progress: 100, clipUrls: message.result.clipUrls });
    if (message.type === 'failed') show({ status: 'failed', error: message.error });
  };
  socket.onerror = () => {};
  socket.onclose = ({ code, reason }) => {
    if (code === 1000) return show({ status: state.status, closed: [code, reason] });
    if (code === 4001 || code === 4003) return show({ status: 'disconnected', closed: [code, reason] });
    if (tries++ >= 5) return show({ status: 'disconnected', error: 'cannot reconnect' });
    show({ status: 'disconnected' });
    setTimeout(connect, 200 * 2 ** tries);
  };
}
connect();
