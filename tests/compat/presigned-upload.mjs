// An upload as an app does it: ask for an address, PUT the bytes there without a credential, confirm, follow the job.
//
//   node presigned-upload.mjs URL TOKEN FILE PIPELINE
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import path from 'node:path';

const [server, token, file, pipeline] = process.argv.slice(2);
const post = async (where, body, status) => {
  const answer = await fetch(server + where, {
    method: 'POST',
    body: JSON.stringify(body),
    headers: { Authorization: `Bearer ${token}`, 'Content-Type': 'application/json' },
  });
  assert.equal(answer.status, status, await answer.clone().text());
  return answer.json();
};
const filename = path.basename(file);
const missing = await post('/api/v1/uploads', { filename }, 400);
assert.match(missing.detail, /contentType/);
const place = await post('/api/v1/uploads', { filename, contentType: 'video/mp4', pipeline }, 201);
for (const name of ['uploadUrl', 'fileKey', 'bucketName', 'fileUrl', 'fileName', 'expiresAt'])
  assert.ok(place[name], name);
assert.match(place.fileKey, /^uploads\/[^/]+\/\d{13}-[\w.-]+-[0-9a-f-]{36}\.mp4$/);
const left = Date.parse(place.expiresAt) - Date.now();
assert.ok(left > 55 * 60e3 && left < 65 * 60e3, 'the address lives an hour');
const put = await fetch(place.uploadUrl, {
  method: 'PUT',
  body: readFileSync(file),
  headers: { 'Content-Type': 'video/mp4' },
});
assert.ok(put.ok, `${put.status} ${await put.text()}`);
const confirm = {
  fileKey: place.fileKey,
  originalName: filename,
  fileName: place.fileName,
  bucketName: place.bucketName,
};
const first = await post('/api/v1/uploads/confirm', confirm, 202);
const again = await post('/api/v1/uploads/confirm', confirm, 202);
assert.equal(first.jobId, again.jobId);
assert.ok(first.assetId && first.websocketUrl);
console.log(JSON.stringify(first));
