/** The rows of one model (or own activations) over one dataset, hook point by hook point, within the memory given. */
import type { HookPoint } from "../backends/backend.ts";
import type { Activations } from "../data/activations.ts";
import type { ClassMoments } from "../data/class-moments.ts";
import { rotateActivations } from "../probes/rotate-activations.ts";
import {
  chooseSupports,
  heldSource,
  rankByValues,
  requestsOf,
  type HeldColumns,
  type HookPointData,
} from "./choose-supports.ts";
import type { StudyPlan } from "./plan-study.ts";
import type { PointRows, PointStudy, ProbePointsOptions } from "./point-study.ts";
import { PointTable } from "./point-table.ts";
import { probeInParts } from "./probe-in-parts.ts";
import { momentBytes, readMoments, valueBytes } from "./row-source.ts";
import { scoreChoices } from "./score-choices.ts";

/** Probes hook points in the order given. */
export async function* probePoints(
  study: PointStudy,
  points: readonly HookPoint[],
  options: ProbePointsOptions,
): AsyncGenerator<PointRows, void> {
  for (const { points: group, whole } of stagesOf(study, points)) {
    if (whole) yield* probeWhole(study, group, options);
    else yield* probeInParts(study, group, options);
  }
}

/** Hook points that are probed together: with all of their values in memory, or by moments first and columns afterwards. */
interface Stage {
  readonly points: HookPoint[];
  readonly whole: boolean;
}

/**
 * Groups of consecutive hook points that fit. Where whole activations would take more than two passes and nothing reads them
 * all, two passes do: one for moments and one for the columns of the supports.
 */
function stagesOf(study: PointStudy, points: readonly HookPoint[]): Stage[] {
  const { source, labels, plan } = study;
  const wholeStages: Stage[] = [];
  const momentStages: Stage[] = [];
  let held = 0;
  let moments = 0;
  for (const point of points) {
    const values = valueBytes(source, point);
    const needed = momentBytes(source, point, labels.sets.length, plan.squares);
    const kept = (source.held(point) ? 0 : values) + needed;
    // A rotation is a copy, of one hook point at a time.
    const copy = plan.rotations.length > 1 ? values : 0;
    const last = wholeStages.at(-1);
    const whole = kept + copy <= plan.memoryBytes || (source.held(point) !== undefined && copy === 0);
    if (last?.whole === whole && whole && held + kept + copy <= plan.memoryBytes) {
      last.points.push(point);
      held += kept;
    } else {
      wholeStages.push({ points: [point], whole });
      held = kept;
    }
    if (momentStages.length > 0 && moments + needed <= plan.memoryBytes / 4) {
      momentStages.at(-1)!.points.push(point);
      moments += needed;
    } else {
      momentStages.push({ points: [point], whole: false });
      moments = needed;
    }
  }
  if (plan.rotations.length > 1 || plan.methods.some(readsEverything)) return wholeStages;
  const passes = wholeStages.filter(({ points: [first] }) => !source.held(first)).length;
  return wholeStages.every(({ whole }) => whole) && passes <= 2 * momentStages.length
    ? wholeStages
    : momentStages;
}

function readsEverything(method: StudyPlan["methods"][number]): boolean {
  if (method.kind === "ranking") return method.readsValues && method.options.prefilter === undefined;
  return method.kind !== "adaptive";
}

/** One pass for all hook points, whose activations stay in memory until they have been probed. */
async function* probeWhole(
  study: PointStudy,
  points: readonly HookPoint[],
  options: ProbePointsOptions,
): AsyncGenerator<PointRows, void> {
  const { source, labels, plan } = study;
  const { signal } = options;
  const read = await readMoments(source, points, labels.training, plan.squares, true, {
    signal,
    onProgress: (done, total) => options.onProgress?.(null, "capture", done, total),
  });
  for (const point of points) {
    const { moments, values } = read.get(point)!;
    read.delete(point);
    const table = new PointTable(study, point, source.widths.get(point)!);
    for (const rotation of plan.rotations) {
      const host = rotation === null ? values! : await rotateActivations(values!, { seed: rotation, signal });
      await probeHeld(study, host, rotation === null ? moments : undefined, table, rotation, options);
    }
    yield { point, rows: table.rows() };
  }
}

/** Probes activations that are at hand. */
async function probeHeld(
  { source, labels, plan }: PointStudy,
  host: Activations,
  known: ClassMoments | undefined,
  table: PointTable,
  rotation: number | null,
  options: ProbePointsOptions,
): Promise<void> {
  const { sets, training, groups } = labels;
  if (sets.length === 0) return;
  const { signal } = options;
  const { backend, rows } = source;
  const x = await backend.upload(host, { signal });
  try {
    const { squares } = plan;
    const moments = known ?? (await backend.classMoments(x, training, { signal, squares }));
    const data: HookPointData = { backend, rows, neurons: host.neurons, moments, sets, training };
    const columns: HeldColumns = { x, host, neurons: undefined };
    const requests = requestsOf(sets.length, plan, rotation, host.neurons);
    options.onProgress?.(table.point, "rank", 0, sets.length);
    const ranked = await rankByValues(requests, data, heldSource(data, columns), plan, { signal });
    const choices = await chooseSupports(requests, data, columns, ranked, plan, { signal });
    const scored = await scoreChoices(choices, data, columns, groups, table.originOf(rotation), plan, {
      signal,
      onProgress: (stage, done, total) => options.onProgress?.(table.point, stage, done, total),
    });
    table.add(rotation, choices, scored);
  } finally {
    x.dispose();
  }
}
