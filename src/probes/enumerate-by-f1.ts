/** The work of `enumerateNeurons`. */
import type { Backend } from "../backends/backend.ts";
import { createCpuBackend } from "../backends/cpu/cpu-backend.ts";
import { Pacer } from "../backends/cpu/pacer.ts";
import {
  LabelMatrix,
  readLabelSets,
  UNLABELLED,
  type ClassValue,
  type RowSelection,
} from "../data/labels.ts";
import { ShapeError, SupportSizeError } from "../errors.ts";
import { evaluateBinary, type Metrics } from "../metrics/evaluate.ts";
import { strongestOf, type RankingOptions } from "../ranking/ranking.ts";
import { openActivations, type ActivationSource, type OpenActivations } from "./activation-source.ts";
import type { ProbeFailure } from "./fit-supports.ts";
import { momentSquares, probeSettings } from "./probe-options.ts";
import { fitNeuronProbes, type NeuronProbe, type ProbeNeuronsOptions } from "./neuron-probes.ts";
import { rankColumns } from "./rank-source.ts";
import type { ProbeLabelSets } from "./one-feature.ts";

export interface EnumerateOptions extends ProbeNeuronsOptions, RankingOptions {
  /** Neurons of each feature, the strongest by the ranking; `"all"` for every one. Default 30. */
  readonly top?: number | "all";
  /** Rows that the metrics are measured on. Default: the training rows. */
  readonly test?: RowSelection;
}

/** What is measured of a neuron's probe. */
export type NeuronMetrics = Pick<
  Metrics,
  "f1" | "mcc" | "precision" | "recall" | "rocAuc" | "undefinedBecause"
>;

/** One neuron as a probe of one feature: decision(x) = coefficient · (x − center)/scale + intercept. Plain data. */
export interface NeuronRow extends NeuronMetrics {
  readonly feature: string;
  /** The class that label 1 stands for. */
  readonly positive: ClassValue;
  readonly neuron: number;
  /** Place in the ranking, from 0. */
  readonly rank: number;
  /** Signed score of the ranking. */
  readonly score: number;
  readonly coefficient: number;
  readonly intercept: number;
  readonly center: number;
  readonly scale: number;
  readonly converged: boolean;
}

/** Bytes of columns that are gathered at once. */
const COLUMN_BYTES = 64 * 2 ** 20;

/** A feature's neurons in their ranking's order. */
interface Ranked {
  readonly feature: string;
  readonly positive: ClassValue;
  /** Labels of every row. */
  readonly y: Uint8Array;
  readonly order: Uint32Array;
  readonly scores: Float64Array;
}

/** See `enumerateNeurons`. */
export async function enumerateByF1(
  acts: ActivationSource,
  labelSets: ProbeLabelSets,
  options: EnumerateOptions,
): Promise<{ rows: readonly NeuronRow[]; failures: readonly Omit<ProbeFailure, "k">[] }> {
  probeSettings(options);
  const { signal, backend = createCpuBackend() } = options;
  signal?.throwIfAborted();
  const read =
    labelSets instanceof LabelMatrix
      ? { labels: labelSets, positives: [], failures: [] }
      : readLabelSets(labelSets);
  const source = await openActivations(acts, backend, { signal });
  try {
    const failures = [...read.failures];
    const { labels: all, positives } = read;
    if (all.features.length === 0) return { rows: [], failures };
    if (all.rows !== source.rows) {
      throw new ShapeError(
        `There are ${all.rows} labels for ${source.rows} rows.`,
        "Give one label per row.",
      );
    }
    const training = options.rows ? all.restrictedTo(options.rows) : all;
    const ranked = await rankFeatures(backend, source, all, training, positives, options, failures);
    if (ranked.length === 0) return { rows: [], failures };
    const fitted = new LabelMatrix(
      ranked.map(({ feature }) => feature),
      all.rows,
      concatenate(ranked.map(({ feature }) => training.of(all.features.indexOf(feature)))),
    );
    const rows = await probeAndMeasure(source, backend, fitted, ranked, options);
    return { rows, failures };
  } finally {
    source.close();
  }
}

async function rankFeatures(
  backend: Backend,
  source: OpenActivations,
  all: LabelMatrix,
  training: LabelMatrix,
  positives: readonly ClassValue[],
  options: EnumerateOptions,
  failures: Omit<ProbeFailure, "k">[],
): Promise<Ranked[]> {
  const { top = 30, signal } = options;
  const count = top === "all" ? source.neurons : top;
  if (!Number.isInteger(count) || count < 1) {
    throw new SupportSizeError(`top is ${count}.`, 'Give a whole number of at least 1, or "all".');
  }
  const moments = await source.classMoments(training, { signal, squares: momentSquares(options) });
  const scored = await rankColumns(backend, source, training, moments, { ...options, onProgress: undefined });
  const most = Math.min(count, source.neurons, options.prefilter ?? Infinity);
  const ranked: Ranked[] = [];
  for (const [f, one] of scored.entries()) {
    if (one.error) {
      failures.push({ feature: one.name, error: one.error });
      continue;
    }
    const order = strongestOf(one.scores, most, one.eligible);
    ranked.push({ feature: one.name, positive: positives[f] ?? 1, y: all.of(f), order, scores: one.scores });
  }
  return ranked;
}

/** Gathers the neurons block by block, fits them all, and measures those that are asked for. */
async function probeAndMeasure(
  source: OpenActivations,
  backend: Backend,
  training: LabelMatrix,
  ranked: readonly Ranked[],
  options: EnumerateOptions,
): Promise<NeuronRow[]> {
  // The labels are those of the training rows already, and progress is counted here.
  const { rows: trained, onProgress, ...fitting } = options;
  const { signal, test = trained } = options;
  const pacer = new Pacer(signal);
  const neurons = Uint32Array.from(new Set(ranked.flatMap(({ order }) => Array.from(order)))).sort();
  const places = ranked.map(({ order }) => new Map(Array.from(order, (j, rank) => [j, rank])));
  const asked = Uint32Array.from(test ?? Array.from({ length: training.rows }, (_, i) => i));
  for (const i of asked) {
    if (i >= training.rows) {
      throw new ShapeError(`Row ${i} does not exist.`, `Rows run from 0 to ${training.rows - 1}.`);
    }
  }
  const scored = ranked.map(({ y }) => asked.filter((i) => y[i] !== UNLABELLED));
  const rows: NeuronRow[][] = ranked.map(() => []);
  const width = Math.max(1, Math.floor(COLUMN_BYTES / (4 * training.rows)));
  for (let first = 0; first < neurons.length; first += width) {
    const part = neurons.subarray(first, first + width);
    const columns = await source.columns(part, { signal });
    const at = columns.neurons ? part.map((_, c) => c) : part;
    const host = await backend.gatherColumns(columns.x, at, { signal });
    if (columns.neurons) columns.x.dispose();
    const { probes } = await fitNeuronProbes(host, training, { ...fitting, backend });
    const values = host.toFloat32();
    for (const [f, { feature, positive, y, scores }] of ranked.entries()) {
      const labels = Uint8Array.from(scored[f], (i) => y[i]);
      for (const [c, neuron] of part.entries()) {
        const rank = places[f].get(neuron);
        if (rank === undefined) continue;
        const probe = probes[f].probe(c);
        const decisions = Float64Array.from(scored[f], (i) => decide(probe, values[i * part.length + c]));
        rows[f].push(
          Object.freeze({
            feature,
            positive,
            neuron,
            rank,
            score: scores[neuron],
            coefficient: probe.coefficient,
            intercept: probe.intercept,
            center: probe.center,
            scale: probe.scale,
            converged: probe.converged,
            ...measure(labels, decisions),
          }),
        );
        if (pacer.due) await pacer.turn();
      }
    }
    onProgress?.(first + part.length, neurons.length);
  }
  return rows.flatMap((ofFeature) =>
    ofFeature.sort((a, b) => (b.f1 ?? -1) - (a.f1 ?? -1) || a.rank - b.rank),
  );
}

function decide({ coefficient, intercept, center, scale }: NeuronProbe, value: number): number {
  return (coefficient * (value - center)) / scale + intercept;
}

function measure(labels: Uint8Array, decisions: Float64Array): NeuronMetrics {
  const { f1, mcc, precision, recall, rocAuc, undefinedBecause } = evaluateBinary(labels, decisions);
  const reasons = Object.entries(undefinedBecause).filter(([name]) => KEPT.has(name));
  return { f1, mcc, precision, recall, rocAuc, undefinedBecause: Object.fromEntries(reasons) };
}

const KEPT: ReadonlySet<string> = new Set(["f1", "mcc", "precision", "recall", "rocAuc"]);

function concatenate(parts: readonly Uint8Array[]): Uint8Array {
  const out = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    out.set(part, at);
    at += part.length;
  }
  return out;
}
