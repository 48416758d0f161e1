// Types of stagemill.js.

export type JobStatus = 'queued' | 'processing' | 'retrying' | 'held' | 'paused' | 'completed' | 'failed' | 'cancelled';
export type Connection = 'connecting' | 'connected' | 'disconnected';
export type Status = JobStatus | Connection;

export interface JobError {
  message: string;
  stage?: string | null;
  code?: string | number | null;
}

/** What the daemon sends. Fields beyond these depend on the type: see the manual of events. */
export interface StagemillEvent {
  type: string;
  jobId?: string;
  batchId?: string;
  asset?: string;
  owner?: string;
  pipeline?: string;
  /** Number of a lifecycle event within its job or batch, from 1; of the last one, on what is not stored. */
  seq?: number;
  cursor?: number | string;
  at?: string;
  [field: string]: unknown;
}

export interface Stage {
  id: string;
  status:
    'waiting' | 'running' | 'delayed' | 'publishing' | 'finished' | 'skipped' | 'failed' | 'soft-failed' | 'cancelled';
  title?: string;
  pct?: number;
  message?: string | null;
  attempt?: number;
  maxAttempts?: number;
  startedAt?: string | null;
  endedAt?: string | null;
  error?: JobError | string | null;
  results?: Record<string, unknown>;
  reason?: string;
  [field: string]: unknown;
}

export interface Job<S = JobStatus | null> {
  readonly id: string | null;
  readonly status: S;
  /** 0-100, never falling within a round. */
  readonly pct: number;
  readonly stage: string | null;
  readonly message: string | null;
  readonly attempt: number;
  readonly maxAttempts: number | null;
  readonly round: number;
  readonly etaSeconds: number | null;
  readonly item: number | null;
  readonly items: number | null;
  readonly queuePosition: number | null;
  readonly waitReason: string | null;
  readonly retryAt: string | null;
  /** A stage waits for a person to release or reject it. */
  readonly hold: { stage: string; title?: string; message?: string | null; fields: string[] } | null;
  readonly result: Record<string, unknown> | null;
  readonly error: JobError | null;
  readonly stages: Readonly<Record<string, Stage>>;
  readonly queuedAt: string | null;
  readonly startedAt: string | null;
  readonly endedAt: string | null;
  readonly durationMs: number | null;
  readonly lastSeq: number;
}
export interface JobSnapshot extends Job<Status> {
  readonly connection: Connection;
}

export interface BatchSnapshot {
  readonly id: string | null;
  readonly status: Status;
  readonly connection: Connection;
  readonly pct: number;
  readonly totalFiles: number | null;
  readonly currentFile: number;
  readonly filename: string | null;
  readonly fileStatus?: 'processing' | 'completed' | 'failed' | 'oversized' | 'skipped';
  readonly message: string | null;
  readonly processedFiles: number;
  readonly failedFiles: number;
  readonly oversizedFiles: number;
  readonly skippedFiles: number;
}

export interface WebSocketLike {
  readyState: number;
  send(data: string): void;
  close(code?: number): void;
  onopen: ((event: any) => void) | null;
  onmessage: ((event: any) => void) | null;
  onerror: ((event: any) => void) | null;
  onclose: ((event: any) => void) | null;
}

export interface Reconnect {
  /** Pause before the first try after a connection fell; each further one doubles it. 2000. */
  reconnectDelayMs?: number;
  /** Tries before it is given up; opening a connection sets the count back. 5; Infinity never gives up. */
  reconnectTries?: number;
  /** No pause is longer. 30000. */
  reconnectMaxDelayMs?: number;
  /** Pauses are spread by this share, so that a thousand pages do not come back in one instant. 0.2. */
  jitter?: number;
  random?: () => number;
}

export interface LineOptions extends Reconnect {
  /** Address of the daemon, "https://media.example.org"; in a page: where it came from. */
  server?: string;
  /** A token, or a function that answers a fresh one: it is asked at each connect. */
  token?: string | null | (() => string | null | Promise<string | null>);
  /** 'protocol' (a subprotocol: in no address and no log) or 'query'. */
  tokenIn?: 'protocol' | 'query';
  /** Where there is no global one (node before 22): `import { WebSocket } from 'ws'`. */
  WebSocket?: new (url: string, protocols?: string[]) => WebSocketLike | any;
}
export interface FollowOptions extends LineOptions {
  /** Number of the last event seen before: what came since is sent first. */
  since?: number;
}

export interface ConnectionChange {
  connection: Connection;
  code?: number;
  reason?: string;
  /** disconnected: the next try comes after so long; absent: there is none. */
  inMs?: number;
  attempt?: number;
}
export interface Closed {
  code: number;
  reason: string;
  byClient: boolean;
}

declare class Line {
  readonly closed: boolean;
  readonly connection: Connection;
  /** Connects now instead of after the pause. */
  reconnect(): void;
  close(code?: number, reason?: string): void;
  on(type: 'connection', listener: (change: ConnectionChange) => void): () => void;
  on(type: 'close', listener: (closed: Closed) => void): () => void;
  on(type: string, listener: (event: StagemillEvent) => void): () => void;
}

export class Follower<Snapshot = JobSnapshot, Result = Record<string, unknown> | null> extends Line {
  readonly id: string;
  readonly status: Status;
  readonly lastSeq: number;
  readonly snapshot: Snapshot;
  on(type: 'status', listener: (status: Status, snapshot: Snapshot) => void): () => void;
  on(type: 'change', listener: (snapshot: Snapshot) => void): () => void;
  on(type: 'connection', listener: (change: ConnectionChange) => void): () => void;
  on(type: 'close', listener: (closed: Closed) => void): () => void;
  on(type: string, listener: (event: StagemillEvent) => void): () => void;
  /** The result; throws a StagemillError when the job fails, is cancelled, or cannot be followed to its end. */
  done(): Promise<Result>;
  [Symbol.asyncIterator](): AsyncGenerator<StagemillEvent, void, void>;
}

export function followJob(jobId: string, options?: FollowOptions): Follower;
export function followBatch(batchId: string, options?: FollowOptions): Follower<BatchSnapshot, StagemillEvent>;

export interface SubscribeOptions {
  since?: number | string;
  /** Progress only when it moved so many percent. */
  minStep?: number;
  /** And not more often than this many seconds. */
  minInterval?: number;
}
export class Session extends Line {
  /** 'job:ID', 'batch:ID', 'asset:ID', 'own', 'all'. */
  subscribe(topic: string, options?: SubscribeOptions): Promise<StagemillEvent>;
  unsubscribe(topic: string): Promise<StagemillEvent>;
  position(topic: string): number | string | undefined;
}
export function openSession(options?: LineOptions): Session;

export class StagemillError extends Error {
  code?: string | number | null;
  stage?: string | null;
  status?: Status;
  httpStatus?: number;
  event?: StagemillEvent;
  problem?: Record<string, unknown>;
}

export class Seen {
  static subject(event: StagemillEvent): string;
  last(subject: string): number;
  start(subject: string, seq: number): void;
  forget(): void;
  take(event: StagemillEvent): boolean;
}

export const defaults: Readonly<Required<Omit<Reconnect, 'random'>>>;
export const Close: Readonly<Record<'done' | 'away' | 'noCredential' | 'badToken' | 'unknown' | 'tooSlow', number>>;
export const emptyJob: Readonly<Job>;
export function isJobStatus(word: unknown): word is JobStatus;
export function hasEnded(status: Status | null): boolean;
export function reduceJob(job: Job, event: StagemillEvent): Job;
export function reduceBatch(batch: BatchSnapshot, event: StagemillEvent): BatchSnapshot;
export function reconnectDelay(tried: number, options?: Reconnect): number;
export function after(a: number | string, b: number | string | null | undefined): boolean;
