/** Supports of a hook point's label sets by every method, from class moments and columns. */
import type { Backend, CallOptions, DeviceActivations } from "../backends/backend.ts";
import { Pacer } from "../backends/cpu/pacer.ts";
import type { Activations } from "../data/activations.ts";
import type { ClassMoments } from "../data/class-moments.ts";
import { LabelMatrix } from "../data/labels.ts";
import { standardisation } from "../data/standardisation.ts";
import { SparseProbeError, SupportSizeError } from "../errors.ts";
import { findOptimalSupports } from "../optimal/find-optimal-supports.ts";
import type { OptimalSupportsOptions } from "../optimal/optimal-support.ts";
import { thresholdSupports } from "../probes/adaptive-thresholding.ts";
import { assertUsable } from "../probes/fit-supports.ts";
import type { ColumnSource } from "../probes/column-access.ts";
import { rankColumns } from "../probes/rank-source.ts";
import { meanDifference } from "../ranking/mean-difference.ts";
import {
  assertSupportSize,
  eligibleNeurons,
  scoreNeurons,
  strongest,
  strongestOf,
} from "../ranking/ranking.ts";
import type { LabelSet } from "./label-sets.ts";
import { methodsIn, sizesOf, type PlannedMethod, type StudyPlan } from "./plan-study.ts";
import { stopsSweep } from "./stops-sweep.ts";
import type { SweepMethodOptions } from "./sweep-study.ts";

/** What a method is asked for in a label set. */
export interface SupportRequest {
  /** Number of the label set. */
  readonly set: number;
  readonly method: PlannedMethod;
  readonly ks: readonly number[];
}

/** What a method has given for one k: a support, or the reason why there is none. */
export interface SupportChoice {
  readonly set: number;
  readonly method: PlannedMethod;
  readonly k: number;
  /** Strongest first. */
  readonly neurons: Uint32Array | undefined;
  readonly reason: string | null;
  /** Wall time of choosing, shared by the sizes that were chosen together. */
  readonly seconds: number;
}

/** Columns at hand: column c of `x` and `host` is neuron `neurons[c]`, or neuron c where they are all there. */
export interface HeldColumns {
  readonly x: DeviceActivations;
  readonly host: Activations;
  readonly neurons: Uint32Array | undefined;
}

/** A hook point, as methods see it. */
export interface HookPointData {
  readonly backend: Backend;
  readonly rows: number;
  readonly neurons: number;
  /** Of the label sets' training rows. */
  readonly moments: ClassMoments;
  readonly sets: readonly LabelSet[];
  readonly training: LabelMatrix;
}

/** Every method in every label set. */
export function requestsOf(
  sets: number,
  plan: StudyPlan,
  rotation: number | null,
  d: number,
): SupportRequest[] {
  return Array.from({ length: sets }, (_, set) =>
    methodsIn(plan, rotation).map((method) => ({ set, method, ks: sizesOf(method, plan.study.ks, d) })),
  ).flat();
}

/**
 * The neurons whose columns choosing and fitting read, or `"all"`; none of a label set that cannot be probed. Of a ranking by values without a pre-filter that is all,
 * unless the scores are known already.
 */
export function neuronsRead(
  { set, method, ks }: SupportRequest,
  { moments, neurons: d, sets }: HookPointData,
  ranked?: ValueScores,
): Uint32Array | "all" {
  const { prefilter } = method.options;
  if (unusable(moments, set, sets[set].feature) !== null) return new Uint32Array();
  switch (method.kind) {
    case "dense":
    case "optimal":
      return "all";
    case "adaptive":
      return thresholdStart(moments, set, method.schedule, ks, d);
    case "ranking": {
      const eligible = eligibleNeurons(moments, set, prefilter);
      if (method.readsValues && !ranked) return eligible ?? "all";
      const { feature: name, seed } = sets[set];
      const scores = ranked?.scores ?? scoreNeurons(moments, set, method.ranking, { name, seed });
      const most = Math.max(0, ...ks.filter((k) => k <= (eligible?.length ?? d)));
      return typeof scores === "string" || most === 0
        ? new Uint32Array()
        : strongestOf(scores, most, eligible);
    }
  }
}

/** The neurons that adaptive thresholding starts from, strongest first. */
function thresholdStart(
  moments: ClassMoments,
  set: number,
  schedule: readonly number[],
  ks: readonly number[],
  d: number,
): Uint32Array {
  const sizes = [...schedule, ...ks].filter((k) => k <= d);
  return sizes.length === 0 ? new Uint32Array() : strongest(meanDifference(moments, set), Math.max(...sizes));
}

/** Scores of neurons by their values, or the reason why there are none; and the time that they took. */
export interface ValueScores {
  readonly scores: Float64Array | string;
  readonly seconds: number;
}

/**
 * Chooses supports for requests; what concerns one label set or one k alone becomes a reason, not an error.
 * @param columns what the requests read; absent where moments and `ranked` are enough
 * @param ranked scores of rankings that read values, of all requests with such a ranking
 */
export async function chooseSupports(
  requests: readonly SupportRequest[],
  data: HookPointData,
  columns: HeldColumns | undefined,
  ranked: ReadonlyMap<SupportRequest, ValueScores>,
  plan: StudyPlan,
  options: CallOptions,
): Promise<SupportChoice[]> {
  const { signal } = options;
  const pacer = new Pacer(signal);
  const usable = unusableSets(data);
  const choices = new Array<readonly SupportChoice[]>(requests.length);
  const places = Array.from(requests.keys());
  const isAdaptive = (r: number): boolean => requests[r].method.kind === "adaptive";
  const answer = async (queue: number[]): Promise<void> => {
    try {
      for (let r = queue.shift(); r !== undefined; r = queue.shift()) {
        choices[r] = await choicesOf(requests[r], usable, data, columns, ranked, plan, options);
        if (pacer.due) await pacer.turn();
      }
    } catch (error) {
      queue.length = 0;
      throw error;
    }
  };
  // One descent computes on this thread while another one's kernels run on others. A search with a time limit runs alone.
  const descents = places.filter(isAdaptive);
  const ends = await Promise.allSettled([answer(descents), answer(descents)]);
  for (const end of ends) if (end.status === "rejected") throw end.reason;
  await answer(places.filter((r) => !isAdaptive(r)));
  return choices.flat();
}

/** What {@link chooseSupports} does for one request. */
async function choicesOf(
  request: SupportRequest,
  usable: readonly (string | null)[],
  data: HookPointData,
  columns: HeldColumns | undefined,
  ranked: ReadonlyMap<SupportRequest, ValueScores>,
  plan: StudyPlan,
  options: CallOptions,
): Promise<SupportChoice[]> {
  const { set, method, ks } = request;
  const began = performance.now();
  const chosen = new Map<number, Uint32Array>();
  let reason = usable[set];
  const reasons = new Map<number, string>();
  const fitting = ks.filter((k) => {
    const wrong = misfit(k, method, data.neurons);
    if (wrong) reasons.set(k, wrong);
    return !wrong;
  });
  let shared = 0;
  if (reason === null && fitting.length > 0) {
    try {
      if (method.kind === "ranking" && method.readsValues) {
        const found = ranked.get(request)!;
        shared = found.seconds;
        if (typeof found.scores === "string") reason = found.scores;
        else cut(chosen, fitting, found.scores, data, set, method);
      } else {
        for (const [k, neurons] of await choose(request, fitting, data, columns, plan, options)) {
          chosen.set(k, neurons);
        }
      }
    } catch (error) {
      if (stopsSweep(error, options.signal)) throw error;
      reason = messageOf(error);
    }
  }
  const seconds = shared + (performance.now() - began) / 1000;
  return ks.map((k) => ({
    set,
    method,
    k,
    neurons: chosen.get(k),
    reason: chosen.has(k) ? null : (reasons.get(k) ?? reason ?? "The method has no support of this size."),
    seconds: seconds / ks.length,
  }));
}

export function messageOf(error: unknown): string {
  return error instanceof SparseProbeError ? error.message : String(error);
}

/** By label set: why it cannot be probed here, or null. */
function unusableSets({ sets, moments }: HookPointData): (string | null)[] {
  return sets.map((set, s) => unusable(moments, s, set.feature));
}

function unusable(moments: ClassMoments, set: number, feature: string): string | null {
  try {
    assertUsable(moments, set, feature);
    return null;
  } catch (error) {
    return messageOf(error);
  }
}

function misfit(k: number, method: PlannedMethod, d: number): string | undefined {
  try {
    assertSupportSize(k, d, method.options.prefilter);
    return undefined;
  } catch (error) {
    if (error instanceof SupportSizeError) return error.message;
    throw error;
  }
}

/** Methods that do not rank by values. */
async function choose(
  { set, method }: SupportRequest,
  ks: readonly number[],
  data: HookPointData,
  columns: HeldColumns | undefined,
  plan: StudyPlan,
  { signal }: CallOptions,
): Promise<Map<number, Uint32Array>> {
  const { backend, moments, training, sets, neurons: d } = data;
  const { feature, seed } = sets[set];
  const chosen = new Map<number, Uint32Array>();
  switch (method.kind) {
    case "dense":
      return chosen.set(
        d,
        Uint32Array.from({ length: d }, (_, j) => j),
      );
    case "ranking": {
      const scores = scoreNeurons(moments, set, method.ranking, { name: feature, seed });
      cut(chosen, ks, scores, data, set, method);
      return chosen;
    }
    case "adaptive": {
      const ranked = thresholdStart(moments, set, method.schedule, ks, d);
      const { host, neurons } = columns!;
      const transform = standardisation(plan.settings.standardise, moments, set);
      const supports = await thresholdSupports(
        {
          backend,
          labels: oneSet(training, set),
          ranked,
          host: host.gatherColumns(placesIn(ranked, neurons)),
          transform,
          settings: plan.settings,
        },
        ks,
        method.schedule,
        { signal, expired: () => false },
      );
      for (const [k, support] of supports) chosen.set(k, Uint32Array.from(support));
      return chosen;
    }
    case "optimal": {
      const found = await findOptimalSupports(columns!.x, oneSet(training, set), ks, {
        ...searchOptions(method.options),
        timeLimit: method.timeLimit,
        classWeight: plan.settings.classWeight,
        backend,
        signal,
      });
      for (const { k, support } of found) chosen.set(k, Uint32Array.from(support));
      return chosen;
    }
  }
}

/** Options of the search for optimal supports among those of its method. */
function searchOptions(options: SweepMethodOptions): OptimalSupportsOptions {
  const { loss, gamma, candidates, relativeGap } = options;
  return {
    ...(loss !== undefined && { loss }),
    ...(gamma !== undefined && { gamma }),
    ...(candidates !== undefined && { candidates }),
    ...(relativeGap !== undefined && { relativeGap }),
  };
}

/** Cuts a ranking at every k. */
function cut(
  chosen: Map<number, Uint32Array>,
  ks: readonly number[],
  scores: Float64Array,
  { moments }: HookPointData,
  set: number,
  { options }: PlannedMethod,
): void {
  const order = strongestOf(scores, Math.max(...ks), eligibleNeurons(moments, set, options.prefilter));
  for (const k of ks) chosen.set(k, order.slice(0, k));
}

/** Columns that are at hand, as rankings see them. */
export function heldSource({ rows, neurons }: HookPointData, columns: HeldColumns): ColumnSource {
  const held = { x: columns.x, ...(columns.neurons && { neurons: columns.neurons }) };
  return { rows, neurons, streamed: false, columns: () => Promise.resolve(held) };
}

/** Scores of the rankings that read values: label sets of one seed together, which read every column once. */
export async function rankByValues(
  requests: readonly SupportRequest[],
  data: HookPointData,
  source: ColumnSource,
  plan: StudyPlan,
  { signal }: CallOptions,
): Promise<Map<SupportRequest, ValueScores>> {
  const ranked = new Map<SupportRequest, ValueScores>();
  const unfit = unusableSets(data);
  const together = new Map<string, SupportRequest[]>();
  for (const request of requests) {
    const { method, set } = request;
    if (method.kind !== "ranking" || !method.readsValues) continue;
    const reason = unfit[set];
    if (reason !== null) {
      ranked.set(request, { scores: reason, seconds: 0 });
      continue;
    }
    const key = JSON.stringify([method.name, data.sets[set].seed]);
    together.set(key, [...(together.get(key) ?? []), request]);
  }
  for (const group of together.values()) {
    const began = performance.now();
    const { method } = group[0];
    if (method.kind !== "ranking") continue;
    const sets = group.map(({ set }) => set);
    let scores: (Float64Array | string)[];
    try {
      const found = await rankColumns(
        data.backend,
        source,
        someSets(data.training, sets),
        someMoments(data.moments, sets),
        {
          ranking: method.ranking,
          prefilter: method.options.prefilter,
          seed: data.sets[sets[0]].seed,
          standardise: plan.settings.standardise,
          signal,
        },
      );
      scores = found.map((one) => (one.error ? one.error.message : one.scores));
    } catch (error) {
      if (stopsSweep(error, signal)) throw error;
      scores = group.map(() => messageOf(error));
    }
    const seconds = (performance.now() - began) / 1000 / group.length;
    for (const [at, request] of group.entries()) ranked.set(request, { scores: scores[at], seconds });
  }
  return ranked;
}

/** Columns where neurons lie. */
export function placesIn(neurons: Uint32Array, held: Uint32Array | undefined): Uint32Array {
  if (!held) return neurons;
  const place = new Map<number, number>(Array.from(held, (neuron, c) => [neuron, c]));
  return neurons.map((neuron) => place.get(neuron)!);
}

function oneSet(labels: LabelMatrix, set: number): LabelMatrix {
  return new LabelMatrix([labels.features[set]], labels.rows, labels.of(set));
}

function someSets(labels: LabelMatrix, sets: readonly number[]): LabelMatrix {
  const values = new Uint8Array(sets.length * labels.rows);
  for (const [s, set] of sets.entries()) values.set(labels.of(set), s * labels.rows);
  return new LabelMatrix(
    sets.map((set) => labels.features[set]),
    labels.rows,
    values,
  );
}

function someMoments(moments: ClassMoments, sets: readonly number[]): ClassMoments {
  const pick = (values: Float64Array, size: number): Float64Array => {
    const out = new Float64Array(sets.length * size);
    for (const [s, set] of sets.entries()) out.set(values.subarray(set * size, (set + 1) * size), s * size);
    return out;
  };
  const { neurons: d } = moments;
  return {
    features: sets.length,
    neurons: d,
    count: pick(moments.count, 2),
    mean: pick(moments.mean, 2 * d),
    sumOfSquares: moments.sumOfSquares && pick(moments.sumOfSquares, 2 * d),
    withinSquares: moments.withinSquares && pick(moments.withinSquares, d),
  };
}
