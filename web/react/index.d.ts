// Types of index.js.
import type { ReactElement, ReactNode } from 'react';
import type { FollowOptions, JobError, JobSnapshot, StagemillEvent, Status } from '@stagemill/client';

export interface UseJobOptions extends FollowOptions {
  onEvent?: (event: StagemillEvent) => void;
  onCompleted?: (result: Record<string, unknown> | null, job: JobSnapshot) => void;
  onFailed?: (error: JobError | null, job: JobSnapshot) => void;
}
export interface FollowedJob extends Omit<JobSnapshot, 'status'> {
  /** null: no job is followed. */
  readonly status: Status | null;
  readonly ended: boolean;
  reconnect(): void;
  close(): void;
}
export function useStagemillJob(jobId: string | null | undefined, options?: UseJobOptions): FollowedJob;

export interface StagemillProgressProps extends UseJobOptions {
  jobId: string | null | undefined;
  label?: string;
  className?: string;
  children?: ReactNode | ((job: FollowedJob) => ReactElement | null);
}
export function StagemillProgress(props: StagemillProgressProps): ReactElement | null;
