/** Probes on chosen supports, and the rows that tell how they do. */
import type { CallOptions } from "../backends/backend.ts";
import { Pacer } from "../backends/cpu/pacer.ts";
import { NonFiniteError } from "../errors.ts";
import { evaluateBinary, METRIC_NAMES, type MetricName, type Metrics } from "../metrics/evaluate.ts";
import { fitRecords } from "../probes/fit-supports.ts";
import type { ProbeRecord } from "../probes/probe-record.ts";
import { runBootstrap } from "../statistics/bootstrap.ts";
import { deepFreeze } from "../statistics/deep-freeze.ts";
import { probabilities } from "../statistics/host-columns.ts";
import { messageOf, type HeldColumns, type HookPointData, type SupportChoice } from "./choose-supports.ts";
import type { LabelSet } from "./label-sets.ts";
import type { StudyPlan } from "./plan-study.ts";
import { stopsSweep } from "./stops-sweep.ts";
import type { ScoredPart, SweepInterval, SweepRow } from "./sweep-row.ts";

/** The parts that every probe is scored on, in the order of the rows. */
export const SCORED_PARTS: readonly ScoredPart[] = ["validation", "test"];

/** What all rows of a hook point and rotation have in common. */
export type RowOrigin = Pick<
  SweepRow,
  "model" | "revision" | "dataset" | "category" | "aggregation" | "hookPoint" | "layer" | "rotation"
>;

export interface ScoreOptions extends CallOptions {
  /** Called with fits and scored probes. */
  readonly onProgress?: ((stage: "fit" | "score", done: number, total: number) => void) | undefined;
}

/** A fitted support; several choices may share it. */
interface Fit {
  readonly record: ProbeRecord;
  readonly seconds: number;
}

/** Fits every support once, all in one batch, and scores each choice: two rows, in the order of the choices. */
export async function scoreChoices(
  choices: readonly SupportChoice[],
  data: HookPointData,
  columns: HeldColumns,
  groups: Uint32Array,
  origin: RowOrigin,
  plan: StudyPlan,
  options: ScoreOptions,
): Promise<SweepRow[]> {
  const { signal, onProgress } = options;
  const pacer = new Pacer(signal);
  const fits = await fitOnce(choices, data, columns, plan, options);
  const rows: SweepRow[] = [];
  const place = columns.neurons && placeOf(columns.neurons);
  for (const [at, choice] of choices.entries()) {
    const set = data.sets[choice.set];
    const fit = fits[at];
    const base = { ...origin, feature: set.feature, method: choice.method.name, k: choice.k, seed: set.seed };
    if (typeof fit === "string") {
      rows.push(...failedRows(base, fit));
    } else {
      for (const part of SCORED_PARTS) {
        rows.push(await scoreOn(part, base, fit, choice, set, columns, place, groups, plan, options));
        if (pacer.due) await pacer.turn();
      }
    }
    onProgress?.("score", at + 1, choices.length);
  }
  return rows;
}

/** One record per choice, or the reason why there is none. */
async function fitOnce(
  choices: readonly SupportChoice[],
  data: HookPointData,
  columns: HeldColumns,
  plan: StudyPlan,
  { signal, onProgress }: ScoreOptions,
): Promise<(Fit | string)[]> {
  const began = performance.now();
  const places = new Map<string, number>();
  const supports: { feature: number; neurons: Uint32Array; scores: Float64Array }[] = [];
  const supportOf = choices.map(({ set, neurons }) => {
    if (!neurons) return undefined;
    const key = `${set} ${neurons.join(" ")}`;
    let at = places.get(key);
    if (at === undefined) {
      places.set(key, (at = supports.length));
      supports.push({ feature: set, neurons, scores: new Float64Array(neurons.length) });
    }
    return at;
  });
  let records: readonly ProbeRecord[] | string = [];
  if (supports.length > 0) {
    try {
      records = await fitRecords(
        data.backend,
        { x: columns.x, ...(columns.neurons && { neurons: columns.neurons }) },
        data.training,
        supports,
        data.moments,
        { backend: data.backend.info.kind, neurons: data.neurons },
        { ...plan.probe, signal, onProgress: (done, total) => onProgress?.("fit", done, total) },
      );
    } catch (error) {
      if (stopsSweep(error, signal)) throw error;
      records = messageOf(error);
    }
  }
  const chosen = supportOf.filter((at) => at !== undefined).length;
  const seconds = (performance.now() - began) / 1000 / Math.max(1, chosen);
  return choices.map((choice, c) => {
    const at = supportOf[c];
    if (at === undefined) return choice.reason!;
    if (typeof records === "string") return records;
    return { record: records[at], seconds: choice.seconds + seconds };
  });
}

function placeOf(neurons: Uint32Array): ReadonlyMap<number, number> {
  return new Map(Array.from(neurons, (neuron, c) => [neuron, c]));
}

type RowBase = RowOrigin & Pick<SweepRow, "feature" | "method" | "k" | "seed">;

async function scoreOn(
  part: ScoredPart,
  base: RowBase,
  { record, seconds }: Fit,
  { method }: SupportChoice,
  set: LabelSet,
  columns: HeldColumns,
  place: ReadonlyMap<number, number> | undefined,
  groups: Uint32Array,
  plan: StudyPlan,
  { signal }: CallOptions,
): Promise<SweepRow> {
  try {
    const scored = set[part];
    const decisions = decide(record, columns, place, scored);
    const y = Uint8Array.from(scored, (i) => set.y[i]);
    const given = probabilities(decisions);
    const metrics = evaluateBinary(y, decisions, given);
    const intervals: Partial<Record<MetricName, SweepInterval>> = {};
    if (plan.intervals && (plan.intervals.ks?.has(base.k!) ?? true)) {
      const { metrics: measured } = await runBootstrap(y, decisions, {
        metrics: plan.intervals.metrics,
        resamples: plan.intervals.draws,
        probabilities: given,
        groups: scored.map((i) => groups[i]),
        seed: set.seed,
        signal,
      });
      for (const name of plan.intervals.metrics) {
        const interval = measured[name];
        if (!interval || interval.low === null || interval.high === null) continue;
        intervals[name] = { low: interval.low, high: interval.high };
      }
    }
    const positives = set.train.reduce((count, i) => count + set.y[i], 0);
    const { convergence } = record;
    const dense = method.kind === "dense";
    return deepFreeze<SweepRow>({
      ...orderedBase(base, part),
      status: "ok",
      reason: null,
      train: { positives, negatives: set.train.length - positives },
      scored: { positives: metrics.positives, negatives: metrics.negatives },
      metrics: plainMetrics(metrics),
      intervals,
      support: dense ? [] : record.support,
      coefficients: dense ? [] : record.coefficients.map(unsigned),
      intercept: unsigned(record.intercept),
      converged: convergence.converged,
      separated: convergence.separated,
      iterations: convergence.iterations,
      seconds,
    });
  } catch (error) {
    if (stopsSweep(error, signal)) throw error;
    return failedRow(base, part, messageOf(error));
  }
}

/** Decision values on some rows, in float64. */
function decide(
  { support, coefficients, intercept, center, scale }: ProbeRecord,
  { host }: HeldColumns,
  place: ReadonlyMap<number, number> | undefined,
  rows: Uint32Array,
): Float64Array {
  const values = host.toFloat32();
  const width = host.neurons;
  const at = support.map((neuron) => (place ? place.get(neuron)! : neuron));
  const factors = coefficients.map((w, c) => w / scale[c]);
  const out = new Float64Array(rows.length);
  for (const [r, i] of rows.entries()) {
    let z = intercept;
    for (let c = 0; c < at.length; c++) z += (values[i * width + at[c]] - center[c]) * factors[c];
    out[r] = z;
    if (Number.isFinite(z)) continue;
    throw new NonFiniteError(
      `The decision value of row ${i} is ${z}: a neuron that the probe reads is NaN or infinite there.`,
      "Leave such rows out.",
    );
  }
  return out;
}

function plainMetrics(metrics: Metrics): Record<MetricName, number | null> {
  return Object.fromEntries(METRIC_NAMES.map((name) => [name, metrics[name]])) as Record<
    MetricName,
    number | null
  >;
}

/** Zero without a sign: JSON has no other. */
function unsigned(value: number): number {
  return value + 0;
}

/** Rows of a probe that there is not, one for each part. */
export function failedRows(base: RowBase, reason: string): SweepRow[] {
  return SCORED_PARTS.map((part) => failedRow(base, part, reason));
}

function failedRow(base: RowBase, part: ScoredPart, reason: string): SweepRow {
  return deepFreeze<SweepRow>({
    ...orderedBase(base, part),
    status: "failed",
    reason,
    train: null,
    scored: null,
    metrics: null,
    intervals: {},
    support: [],
    coefficients: [],
    intercept: null,
    converged: null,
    separated: null,
    iterations: null,
    seconds: null,
  });
}

/** The key of a row, its fields in the order of the schema. */
function orderedBase(base: RowBase, split: ScoredPart): RowBase & Pick<SweepRow, "split"> {
  const {
    model,
    revision,
    dataset,
    category,
    feature,
    aggregation,
    hookPoint,
    layer,
    method,
    rotation,
    k,
    seed,
  } = base;
  return {
    model,
    revision,
    dataset,
    category,
    feature,
    aggregation,
    hookPoint,
    layer,
    method,
    rotation,
    k,
    seed,
    split,
  };
}
