// Uploads a file by tus-js-client, which knows nothing of us, and prints what happened as JSON lines.
//   node tus_upload.mjs ENDPOINT TOKEN FILE STORE [ABORT-AFTER-BYTES] [KEY=VALUE ...]
// STORE keeps the upload's address between runs, as a browser's local storage would.
import fs from 'node:fs'
import * as tus from 'tus-js-client'

const [endpoint, token, file, store, abortAfter, ...metadata] = process.argv.slice(2)
const tell = (event) => console.log(JSON.stringify(event))

const upload = new tus.Upload(fs.createReadStream(file), {
  endpoint,
  headers: { Authorization: `Bearer ${token}` },
  chunkSize: 256 * 1024,
  retryDelays: [100, 200, 400, 800, 1600, 3000, 3000, 3000],
  uploadSize: fs.statSync(file).size,
  urlStorage: new tus.FileUrlStorage(store),
  fingerprint: async () => `file-${file}`,
  metadata: Object.fromEntries(metadata.map((word) => word.split(/=(.*)/s).slice(0, 2))),
  onProgress: (sent) => {
    if (Number(abortAfter) && sent > Number(abortAfter)) process.kill(process.pid, 'SIGKILL')
  },
  onAfterResponse: (request, response) =>
    tell({ method: request.getMethod(), status: response.getStatus(), offset: response.getHeader('Upload-Offset') }),
  onError: (error) => { tell({ error: String(error) }); process.exit(1) },
  onSuccess: () => tell({ done: upload.url }),
})
const previous = await upload.findPreviousUploads()
if (previous.length) upload.resumeFromPreviousUpload(previous[0])
tell({ resumed: previous.length > 0 })
upload.start()
