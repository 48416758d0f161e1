// A room client: one socket, rooms joined and left at run time by asset, and a feed of everything for an operator's screen.
// Commands come on stdin, one JSON a line: {"type":"subscribe","topic":"asset:A"}; messages go to stdout.
//
//   node rooms.mjs WS-URL TOKEN
import { createInterface } from 'node:readline';
import { WebSocket } from 'ws';

const [server, token] = process.argv.slice(2);
const socket = new WebSocket(`${server}/api/v1/stream`);
socket.onopen = () => {
  socket.send(JSON.stringify({ type: 'auth', token })); // here the token comes as the first message
  createInterface({ input: process.stdin }).on('line', (line) =>
    line === 'quit' ? socket.close(1000) : socket.send(line),
  );
};
socket.onmessage = ({ data }) => console.log(data);
socket.onclose = ({ code }) => {
  console.log(JSON.stringify({ type: 'closed', code }));
  process.exit(0);
};
