/** What is probed, and what comes of it: shared by the ways of probing hook points. */
import type { CallOptions, HookPoint } from "../backends/backend.ts";
import type { SplitLabels } from "./label-sets.ts";
import type { StudyPlan } from "./plan-study.ts";
import type { RowSource } from "./row-source.ts";
import type { RowOrigin } from "./score-choices.ts";
import type { SweepRow } from "./sweep-row.ts";
import type { SweepStage } from "./sweep-study.ts";

/** What the rows of all hook points have in common. */
export type GroupOrigin = Omit<RowOrigin, "hookPoint" | "layer" | "rotation">;

export interface ProbePointsOptions extends CallOptions {
  readonly onProgress?:
    ((point: HookPoint | null, stage: SweepStage, done: number, total: number) => void) | undefined;
}

/** All rows of a hook point. */
export interface PointRows {
  readonly point: HookPoint;
  readonly rows: readonly SweepRow[];
}

/** What is probed: rows of activations with labels. */
export interface PointStudy {
  readonly source: RowSource;
  readonly labels: SplitLabels;
  readonly origin: GroupOrigin;
  readonly plan: StudyPlan;
}
