// The peers: npm ws and socket.io, each as its manual shows a broadcast, driven as server.c is (see there).
//   node peer.mjs ws | socket.io
import { createServer } from "node:http";
import { createInterface } from "node:readline";
import { WebSocketServer } from "ws";
import { Server } from "socket.io";

const now = () => Number(process.hrtime.bigint() / 1000n); // CLOCK_MONOTONIC
const http = createServer();

function openWs() {
  const wss = new WebSocketServer({ server: http, perMessageDeflate: false });
  wss.on("connection", (socket) => socket.on("error", () => {}));
  return (event) => {
    const text = JSON.stringify(event);
    for (const socket of wss.clients) if (socket.readyState === 1) socket.send(text);
  };
}

function openSocketIo() {
  const io = new Server(http, { transports: ["websocket"], perMessageDeflate: false, serveClient: false });
  return (event) => io.emit("event", event);
}

const kind = process.argv[2];
const broadcast = kind === "ws" ? openWs() : openSocketIo();

function event(seq, due, bytes) {
  const e = { type: "stage", jobId: "01bench0000000000000000000", seq, t: due, pad: "" };
  e.pad = "x".repeat(Math.max(0, bytes - JSON.stringify(e).length));
  return e;
}

let seq = 0;
function publish(rate, seconds, bytes) {
  const total = Math.floor(rate * seconds), begun = now() + 1000;
  let i = 0, due = begun;
  const some = () => {
    for (; i < total; i++) {
      due = begun + Math.floor((i * 1e6) / rate);
      if (due > now()) break;
      broadcast(event(++seq, due, bytes));
      if (i % 16 === 15) { i++; break; } // sockets have their turn, too
    }
    if (i >= total) console.log(JSON.stringify({ published: total, late_us: now() - due, evicted: 0 }));
    else if (begun + (i * 1e6) / rate - now() > 1500) setTimeout(some, 1);
    else setImmediate(some);
  };
  some();
}

createInterface({ input: process.stdin }).on("line", (line) => {
  const [word, rate, seconds, bytes] = line.split(" ");
  if (word === "publish") publish(Number(rate), Number(seconds), Number(bytes));
}).on("close", () => process.exit(0));

http.listen(0, "127.0.0.1", 65535, () => {
  const path = kind === "ws" ? "/" : "/socket.io/?EIO=4&transport=websocket";
  console.log(JSON.stringify({ port: http.address().port, path }));
});
