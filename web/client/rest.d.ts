// Types of rest.js. Shapes of what the daemon answers: /openapi.json.
export interface ApiOptions {
  server?: string;
  token?: string | null | (() => string | null | Promise<string | null>);
  fetch?: typeof fetch;
}
export interface RequestOptions {
  body?: unknown;
  headers?: Record<string, string>;
  signal?: AbortSignal;
}
export interface Submission {
  pipeline?: string;
  inline?: string;
  input?: string;
  params?: Record<string, unknown>;
  asset?: string;
  title?: string;
  priority?: 'high' | 'normal' | 'low' | number;
  notify?: { webhooks?: { url: string; on?: string[] }[]; mail?: { to: string; on?: string[] }[] };
}
export interface UploadOptions {
  name?: string;
  type?: string;
  asset?: string;
  pipeline?: string;
  params?: Record<string, unknown>;
  onProgress?: (progress: { loaded: number; total: number }) => void;
  signal?: AbortSignal;
}
export type Json = Record<string, any>;
export class Api {
  constructor(options?: ApiOptions);
  readonly server: string;
  fetch(method: string, path: string, options?: RequestOptions): Promise<Response>;
  request(method: string, path: string, options?: RequestOptions): Promise<any>;
  get(path: string, fields?: Json, options?: RequestOptions): Promise<any>;
  post(path: string, body?: unknown, options?: RequestOptions): Promise<any>;
  whoami(): Promise<Json>;
  stats(): Promise<Json>;
  pipelines(): Promise<Json[]>;
  jobs(filter?: Json): Promise<{ jobs: Json[]; next: string | null }>;
  job(id: string): Promise<Json>;
  explain(id: string): Promise<Json>;
  events(id: string, fields?: Json): Promise<{ events: Json[]; lastSeq: number; ended: boolean }>;
  artifacts(id: string): Promise<Json[]>;
  link(id: string, fields?: { path?: string; ttl?: string }): Promise<{ url: string; expiresAt: string }>;
  submit(job: Submission, options?: { idempotencyKey?: string }): Promise<Json>;
  cancel(id: string): Promise<Json>;
  retry(id: string, fields?: { whole?: boolean; from?: string; params?: Json }): Promise<Json>;
  pause(id: string, fields?: { until?: string }): Promise<Json>;
  resume(id: string): Promise<Json>;
  release(
    id: string,
    fields: { stage: string; decision: 'released' | 'rejected'; values?: Json; comment?: string },
  ): Promise<Json>;
  prioritise(id: string, priority: 'high' | 'normal' | 'low' | number): Promise<Json>;
  remove(id: string): Promise<null>;
  bulk(action: string, filter: Json, more?: Json): Promise<Json>;
  upload(
    file: Blob & { name?: string },
    options?: UploadOptions,
  ): Promise<{ assetId: string; jobId: string; websocketUrl: string; fileKey: string }>;
}
