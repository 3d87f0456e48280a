/** The rows of one model (or own activations) over one dataset, hook point by hook point, within the memory given. */
import type { CallOptions, HookPoint } from "../backends/backend.ts";
import type { Activations } from "../data/activations.ts";
import type { ClassMoments } from "../data/class-moments.ts";
import { rotateActivations } from "../probes/rotate-activations.ts";
import { chooseSupports, requestsOf, type HeldColumns, type HookPointData } from "./choose-supports.ts";
import type { SplitLabels } from "./label-sets.ts";
import { sizesOf, type StudyPlan } from "./plan-study.ts";
import { readMoments, type RowSource } from "./row-source.ts";
import { failedRows, scoreChoices, type RowOrigin } from "./score-choices.ts";
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

/** Probes hook points in the order given. */
export async function* probePoints(
  source: RowSource,
  points: readonly HookPoint[],
  labels: SplitLabels,
  origin: GroupOrigin,
  plan: StudyPlan,
  options: ProbePointsOptions,
): AsyncGenerator<PointRows> {
  for (const group of groupsThatFit(source, points, plan)) {
    const read = await readMoments(source, group, labels.training, plan.squares, true, {
      signal: options.signal,
      onProgress: (done, total) => options.onProgress?.(null, "capture", done, total),
    });
    for (const point of group) {
      const { moments, values } = read.get(point)!;
      read.delete(point);
      const rows = await probeValues(source, point, values!, moments, labels, origin, plan, options);
      yield { point, rows };
    }
  }
}

/** Consecutive hook points whose activations fit together. */
function* groupsThatFit(
  source: RowSource,
  points: readonly HookPoint[],
  plan: StudyPlan,
): Generator<HookPoint[]> {
  let group: HookPoint[] = [];
  let held = 0;
  for (const point of points) {
    const bytes = source.held(point) ? 0 : 4 * source.rows * source.widths.get(point)!;
    if (group.length > 0 && held + bytes > plan.memoryBytes) {
      yield group;
      group = [];
      held = 0;
    }
    group.push(point);
    held += bytes;
  }
  if (group.length > 0) yield group;
}

/** Probes a hook point whose activations are at hand, and its rotations. */
async function probeValues(
  source: RowSource,
  point: HookPoint,
  values: Activations,
  moments: ClassMoments,
  labels: SplitLabels,
  origin: GroupOrigin,
  plan: StudyPlan,
  options: ProbePointsOptions,
): Promise<SweepRow[]> {
  const rows: SweepRow[] = [];
  for (const rotation of plan.rotations) {
    const { signal } = options;
    const host = rotation === null ? values : await rotateActivations(values, { seed: rotation, signal });
    const { backend } = source;
    const x = await backend.upload(host, { signal });
    try {
      const data: HookPointData = {
        backend,
        rows: source.rows,
        neurons: host.neurons,
        moments:
          rotation === null || labels.sets.length === 0
            ? moments
            : await backend.classMoments(x, labels.training, { signal, squares: plan.squares }),
        sets: labels.sets,
        training: labels.training,
      };
      const columns: HeldColumns = { x, host, neurons: undefined };
      const at = { ...origin, hookPoint: point, layer: layerOf(point), rotation };
      rows.push(...(await probeSets(data, columns, labels, at, plan, options)));
    } finally {
      x.dispose();
    }
  }
  return rows;
}

/** The rows of all label sets in one basis, failures at their places. */
async function probeSets(
  data: HookPointData,
  columns: HeldColumns,
  labels: SplitLabels,
  at: RowOrigin,
  plan: StudyPlan,
  options: ProbePointsOptions,
): Promise<SweepRow[]> {
  const { signal } = options;
  const point = at.hookPoint;
  options.onProgress?.(point, "rank", 0, data.sets.length);
  const choices = await chooseSupports(
    requestsOf(data.sets.length, plan, data.neurons),
    data,
    columns,
    plan,
    {
      signal,
    },
  );
  const fitted = await scoreChoices(choices, data, columns, labels.groups, at, plan, {
    signal,
    onProgress: (stage, done, total) => options.onProgress?.(point, stage, done, total),
  });
  const perSet = data.sets.length === 0 ? 0 : fitted.length / data.sets.length;
  let next = 0;
  return labels.order.flatMap((set) => {
    if ("reason" in set) return rowsOfFailedSet(set.feature, set.seed, set.reason, at, plan, data.neurons);
    return fitted.slice(next * perSet, ++next * perSet);
  });
}

function rowsOfFailedSet(
  feature: string,
  seed: number,
  reason: string,
  at: RowOrigin,
  plan: StudyPlan,
  d: number,
): SweepRow[] {
  return plan.methods.flatMap((method) =>
    sizesOf(method, plan.study.ks, d).flatMap((k) =>
      failedRows({ ...at, feature, seed, method: method.name, k }, reason),
    ),
  );
}

export function layerOf(point: HookPoint): number {
  return Number(point.split(".")[1]);
}
