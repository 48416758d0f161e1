// rest.js - the daemon's HTTP API in a few words: submit, upload with progress, steer, read. No dependency.
import { StagemillError } from './stagemill.js';

const part = encodeURIComponent;
const query = (fields) => {
  const given = Object.entries(fields ?? {}).filter(
    ([, value]) => value !== undefined && value !== null && value !== '',
  );
  return given.length ? `?${new URLSearchParams(given)}` : '';
};

export class Api {
  #options;

  /** {server, token, fetch}: token is a value or a function, asked at each request. */
  constructor(options = {}) {
    this.#options = options;
  }

  get server() {
    return (this.#options.server ?? globalThis.location?.origin ?? '').replace(/\/$/, '');
  }

  async #headers(more) {
    const { token } = this.#options;
    const value = await (typeof token === 'function' ? token() : token);
    return { ...(value ? { Authorization: `Bearer ${value}` } : {}), ...more };
  }

  /** The answer itself; a StagemillError with the daemon's own sentence when it refuses. */
  async fetch(method, path, { body, headers, signal } = {}) {
    const go = this.#options.fetch ?? globalThis.fetch;
    const json = body !== undefined;
    const answer = await go(new URL(path, `${this.server}/`), {
      method,
      signal,
      body: json ? JSON.stringify(body) : undefined,
      redirect: 'error',
      headers: await this.#headers({
        Accept: 'application/json',
        ...(json ? { 'Content-Type': 'application/json' } : {}),
        ...headers,
      }),
    });
    if (!answer.ok) throw await refusal(answer);
    return answer;
  }

  async request(method, path, options) {
    const answer = await this.fetch(method, `/api/v1${path}`, options);
    return answer.status === 204 ? null : answer.json();
  }

  get(path, fields, options) {
    return this.request('GET', `${path}${query(fields)}`, options);
  }
  post(path, body = {}, options = {}) {
    return this.request('POST', path, { body, ...options });
  }

  whoami() {
    return this.get('/whoami');
  }
  stats() {
    return this.get('/stats');
  }
  pipelines() {
    return this.get('/pipelines').then((answer) => answer.pipelines);
  }
  jobs(filter) {
    return this.get('/jobs', filter);
  }
  job(id) {
    return this.get(`/jobs/${part(id)}`);
  }
  explain(id) {
    return this.get(`/jobs/${part(id)}/explain`);
  }
  events(id, fields) {
    return this.get(`/jobs/${part(id)}/events`, fields);
  }
  artifacts(id) {
    return this.get(`/jobs/${part(id)}/artifacts`).then((answer) => answer.artifacts);
  }
  /** An address that opens without a token for a while: of one file, or of all (append the path). */
  link(id, fields = {}) {
    return this.post(`/jobs/${part(id)}/links`, fields);
  }

  submit(job, { idempotencyKey } = {}) {
    return this.post('/jobs', job, idempotencyKey ? { headers: { 'Idempotency-Key': idempotencyKey } } : {});
  }
  cancel(id) {
    return this.post(`/jobs/${part(id)}/cancel`);
  }
  retry(id, fields = {}) {
    return this.post(`/jobs/${part(id)}/retry`, fields);
  }
  pause(id, fields = {}) {
    return this.post(`/jobs/${part(id)}/pause`, fields);
  }
  resume(id) {
    return this.post(`/jobs/${part(id)}/resume`);
  }
  release(id, fields) {
    return this.post(`/jobs/${part(id)}/release`, fields);
  }
  prioritise(id, priority) {
    return this.post(`/jobs/${part(id)}/priority`, { priority });
  }
  remove(id) {
    return this.request('DELETE', `/jobs/${part(id)}`);
  }
  bulk(action, filter, more = {}) {
    return this.post('/jobs/bulk', { action, filter, ...more });
  }

  /**
   * Uploads a File or Blob and starts its pipeline: asks for a signed address, PUTs the bytes there (the daemon's disk or a
   * bucket), confirms. onProgress({loaded, total}) comes while bytes go. Answers {assetId, jobId, websocketUrl, fileKey}.
   */
  async upload(file, { name = file.name, type = file.type, asset, pipeline, params, onProgress, signal } = {}) {
    const contentType = type || 'application/octet-stream';
    const place = await this.post('/uploads', { filename: name, contentType, asset, pipeline, params }, { signal });
    await put(new URL(place.uploadUrl, `${this.server}/`), file, {
      contentType,
      onProgress,
      signal,
      fetch: this.#options.fetch,
    });
    const { fileKey, fileName, bucketName } = place;
    const confirmed = await this.post(
      '/uploads/confirm',
      { fileKey, originalName: name, fileName, bucketName },
      { signal },
    );
    return { ...confirmed, fileKey };
  }
}

async function refusal(answer) {
  let problem = {};
  try {
    problem = await answer.json();
  } catch {
    // Whoever stands in between answers in other formats.
  }
  const message = problem.detail ?? problem.title ?? `the daemon answered ${answer.status} ${answer.statusText}`;
  return new StagemillError(message, { code: problem.code ?? null, httpStatus: answer.status, problem });
}

function put(url, file, { contentType, onProgress, signal, fetch: go = globalThis.fetch }) {
  // Only XMLHttpRequest tells how far an upload is.
  if (typeof XMLHttpRequest === 'function') return putByRequest(url, file, { contentType, onProgress, signal });
  return go(url, { method: 'PUT', body: file, signal, headers: { 'Content-Type': contentType } }).then(
    async (answer) => {
      if (!answer.ok) throw await refusal(answer);
      onProgress?.({ loaded: file.size, total: file.size });
    },
  );
}

function putByRequest(url, file, { contentType, onProgress, signal }) {
  return new Promise((resolve, reject) => {
    const request = new XMLHttpRequest();
    request.open('PUT', url);
    request.setRequestHeader('Content-Type', contentType);
    request.upload.onprogress = (event) => onProgress?.({ loaded: event.loaded, total: event.total || file.size });
    request.onload = () => {
      if (request.status >= 200 && request.status < 300) return resolve();
      reject(new StagemillError(putProblem(request), { httpStatus: request.status }));
    };
    request.onerror = () =>
      reject(new StagemillError('the upload broke off: the connection was lost', { code: 'lost' }));
    request.onabort = () => reject(new StagemillError('the upload was stopped', { code: 'cancelled' }));
    signal?.addEventListener('abort', () => request.abort(), { once: true });
    request.send(file);
  });
}

function putProblem(request) {
  try {
    return JSON.parse(request.responseText).detail;
  } catch {
    return `the upload was refused with ${request.status} ${request.statusText}`;
  }
}
