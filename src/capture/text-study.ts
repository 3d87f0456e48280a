/** The whole path from labelled texts to the neurons that tell them apart, stage by stage. */
import type { Backend, ClassMomentsOptions, HookPoint } from "../backends/backend.ts";
import { parseHookPoint } from "../backends/hook-points.ts";
import type { Activations, GroupId } from "../data/activations.ts";
import type { ClassMoments } from "../data/class-moments.ts";
import { type LabelMatrix, readLabelSets, type ClassValue, type LabelsInput } from "../data/labels.ts";
import { splitRows, THREE_PARTS } from "../data/splits.ts";
import { OptionError, ShapeError } from "../errors.ts";
import { evaluateBinary, METRIC_NAMES, type MetricName, type Metrics } from "../metrics/evaluate.ts";
import type { LanguageModel } from "../model/language-model.ts";
import {
  candidateNeurons,
  cutRankings,
  selectSupports,
  type ProbeFailure,
  type SelectedSupport,
} from "../probes/fit-supports.ts";
import { momentSquares, probeSettings, ranksByMoments, type ProbeOptions } from "../probes/probe-options.ts";
import type { ProbeJson } from "../probes/probe-record.ts";
import { K_SCHEDULE, SparseProbe } from "../probes/sparse-probe.ts";
import { assertSupportSizes } from "../ranking/ranking.ts";
import { captureActivations } from "./capture-activations.ts";
import { observeClassMoments } from "./capture-class-moments.ts";
import { captureColumns } from "./capture-columns.ts";
import { TokenRows, type TokenRowsOptions } from "./token-rows.ts";
import type { PassOptions } from "./visit-batches.ts";

/** Steps of `probeTexts`, in order. */
export type ProbeTextsStage = "tokenise" | "moments" | "select" | "columns" | "fit" | "evaluate";

export interface ProbeTextsInput {
  readonly texts: readonly string[];
  /** One label per text: classes (each against the rest), or several label sets by name. */
  readonly labels: LabelsInput | Readonly<Record<string, LabelsInput>>;
  /** Document of each text; texts of one document stay on one side of the split. Default: each its own. */
  readonly docs?: readonly GroupId[] | undefined;
}

export interface ProbeTextsOptions extends Omit<TokenRowsOptions, "groups">, Omit<PassOptions, "onProgress"> {
  /** Where to look. Default: `mlp.hook_post` of every layer. */
  readonly hookPoints?: readonly HookPoint[] | undefined;
  /** Support sizes. Default {@link K_SCHEDULE}, as far as every hook point has neurons. */
  readonly ks?: readonly number[] | undefined;
  /** Shares of the texts. Default {@link THREE_PARTS}. */
  readonly fractions?: Readonly<Record<"train" | "validation" | "test", number>> | undefined;
  /** Seed of the split. Default 0. */
  readonly seed?: number | undefined;
  /** Metric on validation rows that chooses the hook point. Default `"f1"`. */
  readonly chooseBy?: MetricName | undefined;
  /**
   * Bytes of float32 activations that may be kept at once. If all of them fit, the model reads every text once;
   * otherwise training texts are read twice and only the supports' columns are kept; three times for a ranking that reads
   * values, whose columns must fit. Default 256 MiB.
   */
  readonly keepBytes?: number | undefined;
  /** How probes are ranked and fitted. */
  readonly probe?: Omit<ProbeOptions, "signal" | "onProgress"> | undefined;
  /** Called as stages go on; totals are tokens, probes or hook points. */
  readonly onProgress?: ((stage: ProbeTextsStage, done: number, total: number) => void) | undefined;
}

/** One probe and how it does on validation rows. Plain data. */
export interface ProbeTextsRow {
  readonly feature: string;
  readonly k: number;
  readonly hookPoint: HookPoint;
  readonly layer: number;
  readonly neurons: readonly number[];
  readonly converged: boolean;
  readonly separated: boolean;
  readonly validation: Metrics;
}

/** The hook point chosen for a feature and k, and how its probe does on test rows, which chose nothing. Plain data. */
export interface ChosenProbe extends ProbeTextsRow {
  readonly test: Metrics;
  readonly probe: ProbeJson;
}

export interface ProbeTextsResult {
  /**
   * One per feature and k: the hook point that is best on validation rows; where several are, the one with the smaller
   * log-loss there.
   */
  readonly chosen: readonly ChosenProbe[];
  /** Every feature, k and hook point. */
  readonly rows: readonly ProbeTextsRow[];
  /** What could not be fitted, with the reason. */
  readonly failures: readonly {
    readonly feature: string;
    readonly k: number;
    readonly hookPoint: HookPoint | null;
    readonly reason: string;
  }[];
  /** Indices of each part's texts, and how many rows they make. */
  readonly split: Readonly<
    Record<"train" | "validation" | "test", { readonly texts: readonly number[]; readonly rows: number }>
  >;
  /** Tokens that the model read, over both passes where there were two. */
  readonly tokens: number;
  /** Wall time by stage. */
  readonly seconds: Readonly<Record<ProbeTextsStage | "total", number>>;
}

/** The work of `probeTexts`, where its promises are written. */
export async function runTextStudy(
  model: LanguageModel,
  input: ProbeTextsInput,
  options: ProbeTextsOptions = {},
): Promise<ProbeTextsResult> {
  const { spec, backend } = model;
  const { signal, batchTokens, seed = 0, fractions = THREE_PARTS, chooseBy = "f1", probe = {} } = options;
  const { keepBytes = 2 ** 28 } = options;
  const hookPoints =
    options.hookPoints ??
    Array.from({ length: spec.layers }, (_, layer): HookPoint => `blocks.${layer}.mlp.hook_post`);
  const widths = hookPoints.map((point) =>
    parseHookPoint(spec, point).name.startsWith("mlp.") ? spec.dMlp : spec.dModel,
  );
  const narrowest = Math.min(...widths);
  const { prefilter = Infinity } = probe;
  const ks = options.ks ?? K_SCHEDULE.filter((k) => k <= Math.min(narrowest, prefilter));
  // A wrong option is said before the model has read anything.
  if (hookPoints.length === 0) throw new OptionError("There are no hook points.", "Give at least one.");
  assertSupportSizes(ks, narrowest, prefilter);
  assertOptions(chooseBy, keepBytes, fractions);
  probeSettings(probe);
  const clock = new Clock();
  const report = (stage: ProbeTextsStage) => (done: number, total: number) =>
    options.onProgress?.(stage, done, total);

  const { labels, positives, failures: unread } = readLabelSets(input.labels);
  const textCount = input.texts.length;
  // Nothing is left to fit: the reason is worth more than a report of failures.
  if (labels.features.length === 0) throw unread[0].error;
  if (labels.rows !== textCount) {
    throw new ShapeError(
      `There are ${labels.rows} labels for ${textCount} texts.`,
      "Give one label per text, of at least one feature that can be read.",
    );
  }
  const parts = splitRows({
    labels: jointClasses(labels),
    ...(input.docs && { groups: input.docs }),
    seed,
    fractions,
  });
  const all = await TokenRows.tokenise(model, input.texts, { ...options, groups: input.docs });
  const rowLabels = all.labelRows(labels);
  const partRows = rowsByPart(all.textOfRow(), textCount, parts);
  clock.lap("tokenise");

  const trainLabels = rowLabels.restrictedTo(partRows.train);
  const bytes = 4 * all.rows * widths.reduce((sum, width) => sum + width, 0);
  const training = all.selectTexts(parts.train);
  const squares = momentSquares(probe);
  const pass = { hookPoints, batchTokens, signal, onProgress: report("moments") };
  const kept = bytes <= keepBytes ? await captureActivations(model, all, pass) : undefined;
  const trainingLabels = training.labelRows(labels);
  const ranker = ranksByMoments(probe)
    ? undefined
    : new (await import("./text-ranking.ts")).TextRanking(
        model,
        kept ? { activations: kept, labels: trainLabels } : { rows: training, labels: trainingLabels },
        { ...pass, onProgress: report("select"), keepBytes, probe },
      );
  const moments = kept
    ? await momentsOf(backend, kept, trainLabels, { signal, squares })
    : await observeClassMoments(model, training, trainingLabels, { ...pass, squares }, ranker?.observer);
  clock.lap("moments");

  const failures = unread.flatMap(({ feature, error }) =>
    ks.map((k) => ({ feature, k, hookPoint: null, reason: error.message })),
  ) as { feature: string; k: number; hookPoint: HookPoint | null; reason: string }[];
  const fail = (hookPoint: HookPoint, failed: readonly ProbeFailure[]): void => {
    for (const { feature, k, error } of failed)
      failures.push({ feature, k, hookPoint, reason: error.message });
  };
  const supportsAt = new Map<HookPoint, readonly SelectedSupport[]>();
  const columnsAt = new Map<HookPoint, Uint32Array>();
  const ranked = await ranker?.rank(moments);
  for (const [point, pointMoments] of moments) {
    const { supports, failures: failed } = ranked
      ? cutRankings(ranked.get(point)!, ks)
      : selectSupports(pointMoments, labels, ks, probe);
    fail(point, failed);
    if (supports.length === 0) continue;
    supportsAt.set(point, supports);
    columnsAt.set(point, candidateNeurons(supports));
  }
  clock.lap("select");

  const secondPass = kept === undefined && columnsAt.size > 0;
  const columns = secondPass
    ? await captureColumns(model, all, columnsAt, { batchTokens, signal, onProgress: report("columns") })
    : new Map(Array.from(columnsAt, ([point, neurons]) => [point, kept!.get(point)!.gatherColumns(neurons)]));
  clock.lap("columns");

  const fitted = new Map<HookPoint, SparseProbe[]>();
  let done = 0;
  const total = [...supportsAt.values()].reduce((sum, supports) => sum + supports.length, 0);
  for (const [point, supports] of supportsAt) {
    const before = done;
    fitted.set(
      point,
      await fitAt(backend, model, point, columns.get(point)!, columnsAt.get(point)!, {
        labels: trainLabels,
        positives,
        supports,
        moments: moments.get(point)!,
        aggregation: all.aggregation,
        probe: { ...probe, signal, onProgress: (now) => report("fit")(before + now, total) },
      }),
    );
    done += supports.length;
  }
  clock.lap("fit");

  const rows: ProbeTextsRow[] = [];
  const best = new Map<string, { row: ProbeTextsRow; test: () => Metrics; probe: SparseProbe }>();
  let evaluated = 0;
  for (const [point, probes] of fitted) {
    const place = new Map<number, number>(Array.from(columnsAt.get(point)!, (neuron, c) => [neuron, c]));
    for (const [p, fit] of probes.entries()) {
      const y = rowLabels.of(supportsAt.get(point)![p].feature);
      const score = (part: Uint32Array): Metrics => evaluateOn(fit, columns.get(point)!, place, y, part);
      const row: ProbeTextsRow = {
        feature: fit.feature,
        k: fit.k,
        hookPoint: point,
        layer: parseHookPoint(spec, point).layer,
        neurons: fit.support,
        converged: fit.convergence.converged,
        separated: fit.convergence.separated,
        validation: score(partRows.validation),
      };
      rows.push(row);
      const key = JSON.stringify([row.feature, row.k]);
      const leader = best.get(key);
      if (!leader || isBetter(chooseBy, row.validation, leader.row.validation)) {
        best.set(key, { row, test: () => score(partRows.test), probe: fit });
      }
    }
    signal?.throwIfAborted();
    report("evaluate")(++evaluated, fitted.size);
  }
  const chosen = Array.from(best.values(), ({ row, test, probe: fit }) => ({
    ...row,
    test: test(),
    probe: fit.toJSON(),
  }));
  clock.lap("evaluate");

  const size = (part: "train" | "validation" | "test") => ({
    texts: Array.from(parts[part]),
    rows: partRows[part].length,
  });
  return {
    chosen,
    rows,
    failures,
    split: { train: size("train"), validation: size("validation"), test: size("test") },
    tokens: kept ? all.tokens : training.tokens * (1 + (ranker?.passes ?? 0)) + (secondPass ? all.tokens : 0),
    seconds: clock.seconds(),
  };
}

/** Checks what no other step would refuse. */
function assertOptions(
  chooseBy: MetricName,
  keepBytes: number,
  fractions: Readonly<Record<string, number>>,
): void {
  if (!METRIC_NAMES.includes(chooseBy)) {
    throw new OptionError(
      `The metric ${JSON.stringify(chooseBy)} is not known.`,
      `Use one of ${METRIC_NAMES.join(", ")}.`,
    );
  }
  if (!(keepBytes >= 0)) throw new OptionError(`keepBytes is ${keepBytes}.`, "Give a number from 0.");
  const parts = Object.keys(fractions);
  if (parts.length !== 3 || !Object.keys(THREE_PARTS).every((part) => parts.includes(part))) {
    throw new OptionError(
      `The fractions are of the parts ${parts.join(", ")}.`,
      "Give fractions of train, validation and test.",
    );
  }
}

/** Class moments of activations that are at hand. */
async function momentsOf(
  backend: Backend,
  kept: ReadonlyMap<HookPoint, Activations>,
  labels: LabelMatrix,
  options: ClassMomentsOptions,
): Promise<Map<HookPoint, ClassMoments>> {
  const moments = new Map<HookPoint, ClassMoments>();
  for (const [point, activations] of kept) {
    const x = await backend.upload(activations, { signal: options.signal });
    try {
      moments.set(point, await backend.classMoments(x, labels, options));
    } finally {
      x.dispose();
    }
  }
  return moments;
}

async function fitAt(
  backend: Backend,
  model: LanguageModel,
  hookPoint: HookPoint,
  columns: Activations,
  neurons: Uint32Array,
  given: {
    readonly labels: LabelMatrix;
    readonly positives: readonly ClassValue[];
    readonly supports: readonly SelectedSupport[];
    readonly moments: ClassMoments;
    readonly aggregation: string;
    readonly probe: ProbeOptions;
  },
): Promise<SparseProbe[]> {
  const { labels, positives, supports, moments, aggregation, probe } = given;
  const x = await backend.upload(columns, { signal: probe.signal });
  try {
    const origin = {
      backend: backend.info.kind,
      neurons: moments.neurons,
      positives,
      hookPoint,
      aggregation,
      ...(model.name !== undefined && { model: model.name }),
    };
    return await SparseProbe.fitSupports(backend, { x, neurons }, labels, supports, moments, origin, probe);
  } finally {
    x.dispose();
  }
}

/** One class per text that stands for its labels of all features, so that a split keeps their proportions. */
function jointClasses(labels: LabelMatrix): string[] {
  return Array.from({ length: labels.rows }, (_, i) =>
    labels.features.map((_name, f) => labels.values[f * labels.rows + i]).join(),
  );
}

function rowsByPart<Part extends string>(
  textOfRow: Uint32Array,
  texts: number,
  parts: Readonly<Record<Part, Uint32Array>>,
): Record<Part, Uint32Array> {
  const partOf = new Array<string>(texts);
  for (const [part, members] of Object.entries<Uint32Array>(parts)) for (const t of members) partOf[t] = part;
  const rows = Object.fromEntries(Object.keys(parts).map((part) => [part, [] as number[]]));
  for (const [row, text] of textOfRow.entries()) rows[partOf[text]].push(row);
  return Object.fromEntries(
    Object.entries(rows).map(([part, list]) => [part, Uint32Array.from(list)]),
  ) as Record<Part, Uint32Array>;
}

/** Metrics of a probe on some rows, from the gathered columns. */
function evaluateOn(
  probe: SparseProbe,
  columns: Activations,
  place: ReadonlyMap<number, number>,
  labels: Uint8Array,
  rows: Uint32Array,
): Metrics {
  const { coefficients, intercept } = probe.rawCoefficients();
  const x = columns.toFloat32();
  const at = Uint32Array.from(probe.support, (neuron) => place.get(neuron)!);
  const scores = new Float64Array(rows.length);
  // A plain loop: this is every probe times every row times k.
  for (let r = 0; r < rows.length; r++) {
    const row = rows[r] * columns.neurons;
    let z = intercept;
    for (let c = 0; c < at.length; c++) z += coefficients[c] * x[row + at[c]];
    scores[r] = z;
  }
  const probabilities = scores.map((z) => 1 / (1 + Math.exp(-z)));
  return evaluateBinary(
    Uint8Array.from(rows, (i) => labels[i]),
    scores,
    probabilities,
  );
}

/** The metric decides, then the smaller log-loss; an undefined value loses against any other. */
export function isBetter(metric: MetricName, candidate: Metrics, leader: Metrics): boolean {
  const value = (metrics: Metrics, name: MetricName): number => {
    const found = metrics[name];
    return found === null ? -Infinity : name === "logLoss" ? -found : found;
  };
  const gain = value(candidate, metric) - value(leader, metric);
  if (gain !== 0 && !Number.isNaN(gain)) return gain > 0;
  return value(candidate, "logLoss") > value(leader, "logLoss");
}

class Clock {
  readonly #start: number = performance.now();
  readonly #laps = new Map<ProbeTextsStage, number>();
  #last: number = this.#start;

  lap(stage: ProbeTextsStage): void {
    const now = performance.now();
    this.#laps.set(stage, (now - this.#last) / 1000);
    this.#last = now;
  }

  seconds(): Record<ProbeTextsStage | "total", number> {
    const of = (stage: ProbeTextsStage): number => this.#laps.get(stage) ?? 0;
    return {
      tokenise: of("tokenise"),
      moments: of("moments"),
      select: of("select"),
      columns: of("columns"),
      fit: of("fit"),
      evaluate: of("evaluate"),
      total: (this.#last - this.#start) / 1000,
    };
  }
}
