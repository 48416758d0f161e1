// A page that shows how an import of many files goes: knows /ws?batchId&token and the batch's own messages.
//
//   node batch-follower.mjs WS-URL BATCH TOKEN     prints the counts at the end
import assert from 'node:assert/strict';
import { WebSocket } from 'ws';

const [server, batchId, token] = process.argv.slice(2);
const files = new Map();
let total = null;
let finished = 0;
const socket = new WebSocket(`${server}/ws?${new URLSearchParams({ batchId, token })}`);
socket.onmessage = ({ data }) => {
  const message = JSON.parse(data);
  if (message.type === 'state') total ??= message.totalFiles ?? null;
  if (message.type === 'batch-started') total = message.totalFiles;
  if (message.type === 'batch-progress') {
    assert.ok(['processing', 'completed', 'failed', 'oversized', 'skipped'].includes(message.status), message.status);
    assert.ok(message.currentFile >= finished && message.currentFile <= message.totalFiles, 'the count never falls');
    finished = message.currentFile;
    total = message.totalFiles;
    files.set(message.filename, { status: message.status, jobId: message.jobId, why: message.errorReason });
  }
  if (/^batch-(completed|failed|cancelled)$/.test(message.type)) {
    const { type, processedFiles, failedFiles, oversizedFiles, skippedFiles } = message;
    console.log(
      JSON.stringify({
        type,
        total,
        finished,
        processedFiles,
        failedFiles,
        oversizedFiles,
        skippedFiles,
        files: Object.fromEntries(files),
      }),
    );
  }
};
socket.onclose = ({ code }) => process.exit(code === 1000 ? 0 : 1);
