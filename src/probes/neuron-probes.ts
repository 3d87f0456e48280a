/** Probes of all neurons of a feature, each alone; the work of `probeNeurons`, where its promises are written. */
import type { Backend, SingleNeuronFits } from "../backends/backend.ts";
import { createCpuBackend } from "../backends/cpu/cpu-backend.ts";
import { LabelMatrix, readLabelSets, type ClassValue, type RowSelection } from "../data/labels.ts";
import { standardisation } from "../data/standardisation.ts";
import { OneClassError, ShapeError, SupportSizeError } from "../errors.ts";
import { strongest, type RankingOptions } from "../ranking/ranking.ts";
import { openActivations, type ActivationSource, type OpenActivations } from "./activation-source.ts";
import type { ProbeFailure } from "./fit-supports.ts";
import { probeSettings, type ProbeOptions } from "./probe-options.ts";
import type { ProbeLabelSets } from "./one-feature.ts";

/** Bytes of columns that are held at once of activations that arrive in blocks. */
const COLUMN_BYTES = 256 * 2 ** 20;

export interface ProbeNeuronsOptions extends Omit<ProbeOptions, keyof RankingOptions> {
  /** Newton decrement per unit weight at which a fit has converged. Default 1e-10, see {@link probeNeurons}. */
  readonly tolerance?: number;
  /** Where to compute. Default: a cpu backend on one thread; pass `await createBackend("cpu")` for all cores. */
  readonly backend?: Backend;
  /** Rows to fit and to measure on, each once; all others have no influence at all. Default: every row. */
  readonly rows?: RowSelection;
  /** Called as neurons are finished. */
  readonly onProgress?: ((done: number, total: number) => void) | undefined;
}

/** What {@link NeuronProbes.best} sorts by: area under the ROC curve, the probe's objective, or TPR − FPR at the threshold. */
export type NeuronOrder = "auc" | "objective" | "informedness";

/** One neuron's probe: decision(x) = coefficient · (x − center)/scale + intercept. */
export interface NeuronProbe {
  readonly neuron: number;
  readonly coefficient: number;
  readonly intercept: number;
  readonly center: number;
  readonly scale: number;
  /** C · Σ ω · loss + coefficient²/2. */
  readonly objective: number;
  readonly newtonDecrement: number;
  readonly converged: boolean;
  /** Area under the ROC curve with the activation as the score; below ½ where the neuron is low on positive rows. */
  readonly auc: number;
  /** The observed value t for which "activation ≥ t" has the largest |TPR − FPR|. */
  readonly threshold: number;
  /** TPR − FPR at the threshold. */
  readonly informedness: number;
}

/** Probes of all neurons for one feature. Every array has one value per neuron; NaN where the neuron is not finite. */
export class NeuronProbes {
  readonly feature: string;
  /** The class that label 1 stands for. */
  readonly positive: ClassValue;
  readonly neurons: number;
  readonly coefficients: Float64Array;
  readonly intercepts: Float64Array;
  readonly center: Float64Array;
  readonly scale: Float64Array;
  readonly objectives: Float64Array;
  readonly newtonDecrements: Float64Array;
  /** 1 where the fit has converged. */
  readonly converged: Uint8Array;
  readonly auc: Float64Array;
  readonly threshold: Float64Array;
  readonly informedness: Float64Array;

  constructor(
    fields: Pick<NeuronProbes, "feature" | "positive" | "center" | "scale"> & NeuronValues & ThresholdValues,
  ) {
    this.feature = fields.feature;
    this.positive = fields.positive;
    this.neurons = fields.coefficients.length;
    this.coefficients = fields.coefficients;
    this.intercepts = fields.intercepts;
    this.center = fields.center;
    this.scale = fields.scale;
    this.objectives = fields.objectives;
    this.newtonDecrements = fields.newtonDecrements;
    this.converged = fields.converged;
    this.auc = fields.auc;
    this.threshold = fields.threshold;
    this.informedness = fields.informedness;
  }

  /** @throws ShapeError when the neuron does not exist */
  probe(neuron: number): NeuronProbe {
    if (!(neuron in this.coefficients)) {
      throw new ShapeError(`Neuron ${neuron} does not exist.`, `Neurons run from 0 to ${this.neurons - 1}.`);
    }
    return {
      neuron,
      coefficient: this.coefficients[neuron],
      intercept: this.intercepts[neuron],
      center: this.center[neuron],
      scale: this.scale[neuron],
      objective: this.objectives[neuron],
      newtonDecrement: this.newtonDecrements[neuron],
      converged: this.converged[neuron] === 1,
      auc: this.auc[neuron],
      threshold: this.threshold[neuron],
      informedness: this.informedness[neuron],
    };
  }

  /**
   * The `count` best neurons, best first: largest |auc − ½|, smallest objective, or largest |informedness|; ties have the
   * lower index first. Neurons that are not finite are left out.
   * @throws SupportSizeError when `count` is not a whole number of at least 1; more than there are is all of them
   */
  best(count: number, by: NeuronOrder = "auc"): NeuronProbe[] {
    if (!Number.isInteger(count) || count < 1) {
      throw new SupportSizeError(`count is ${count}.`, "Give a whole number of at least 1.");
    }
    const finite = Uint32Array.from(this.auc.keys()).filter(
      (j) => Number.isFinite(this.auc[j]) && Number.isFinite(this.objectives[j]),
    );
    if (finite.length === 0) return [];
    const scores = Float64Array.from(finite, (j) => {
      if (by === "auc") return this.auc[j] - 0.5;
      // All objectives are positive, so the smallest has the largest inverse.
      return by === "objective" ? 1 / this.objectives[j] : this.informedness[j];
    });
    return Array.from(strongest(scores, Math.min(count, finite.length)), (at) => this.probe(finite[at]));
  }
}

type NeuronValues = Omit<SingleNeuronFits, "features" | "neurons">;

interface ThresholdValues {
  readonly auc: Float64Array;
  readonly threshold: Float64Array;
  readonly informedness: Float64Array;
}

export async function fitNeuronProbes(
  acts: ActivationSource,
  labelSets: ProbeLabelSets,
  options: ProbeNeuronsOptions,
): Promise<{ probes: NeuronProbes[]; failures: Omit<ProbeFailure, "k">[] }> {
  const settings = probeSettings({ tolerance: 1e-10, ...options });
  const { signal, rows, backend = createCpuBackend() } = options;
  signal?.throwIfAborted();
  const read =
    labelSets instanceof LabelMatrix ? { labels: labelSets, failures: [] } : readLabelSets(labelSets);
  const source = await openActivations(acts, backend, { signal });
  try {
    const failures = [...read.failures];
    const given = read.labels;
    if (given.features.length === 0) return { probes: [], failures };
    if (given.rows !== source.rows) {
      throw new ShapeError(
        `There are ${given.rows} labels for ${source.rows} rows.`,
        "Give one label per row.",
      );
    }
    const { labels, kept } = withTwoClasses(rows ? given.restrictedTo(rows) : given, failures);
    const features = kept.length;
    if (features === 0) return { probes: [], failures };
    const d = source.neurons;
    const center = new Float64Array(features * d);
    const scale = new Float64Array(features * d).fill(1);
    if (settings.standardise !== "none") {
      const moments = await source.classMoments(labels, { signal });
      for (let f = 0; f < features; f++) {
        const transform = standardisation(settings.standardise, moments, f);
        center.set(transform.center, f * d);
        scale.set(transform.scale, f * d);
      }
    }
    const result = emptyValues(features * d);
    const total = 2 * features * d;
    for await (const { x, first } of columnBlocks(source, signal)) {
      const count = x.neurons;
      const part = (values: Float64Array) => cut(values, d, first, count);
      const before = 2 * features * first;
      const fits = await backend.fitSingleNeurons(x, labels, {
        C: settings.C,
        balanced: settings.classWeight === "balanced",
        tolerance: settings.tolerance,
        maxIterations: settings.maxIterations,
        center: part(center),
        scale: part(scale),
        signal,
        onProgress: (done) => options.onProgress?.(before + done, total),
      });
      const roc = await backend.neuronRoc(x, labels, { signal });
      options.onProgress?.(before + 2 * features * count, total);
      const values = { ...fits, ...roc };
      for (const name of VALUES) {
        for (let f = 0; f < features; f++) {
          result[name].set(values[name].subarray(f * count, (f + 1) * count), f * d + first);
        }
      }
    }
    const positives = "positives" in read ? read.positives : [];
    const probes = kept.map((feature, f) => {
      const of = <T extends Float64Array | Uint8Array>(values: T) => values.subarray(f * d, (f + 1) * d) as T;
      return new NeuronProbes({
        feature: given.features[feature],
        positive: positives[feature] ?? 1,
        center: of(center),
        scale: of(scale),
        coefficients: of(result.coefficients),
        intercepts: of(result.intercepts),
        objectives: of(result.objectives),
        newtonDecrements: of(result.newtonDecrements),
        converged: of(result.converged),
        auc: of(result.auc),
        threshold: of(result.threshold),
        informedness: of(result.informedness),
      });
    });
    return { probes, failures };
  } finally {
    source.close();
  }
}

const VALUES = [
  "coefficients",
  "intercepts",
  "objectives",
  "newtonDecrements",
  "converged",
  "auc",
  "threshold",
  "informedness",
] as const;

function emptyValues(size: number): NeuronValues & ThresholdValues {
  return {
    coefficients: new Float64Array(size),
    intercepts: new Float64Array(size),
    objectives: new Float64Array(size),
    newtonDecrements: new Float64Array(size),
    converged: new Uint8Array(size),
    auc: new Float64Array(size),
    threshold: new Float64Array(size),
    informedness: new Float64Array(size),
  };
}

/** The label sets that have both classes, and their indices; the others are added to the failures. */
function withTwoClasses(
  all: LabelMatrix,
  failures: Omit<ProbeFailure, "k">[],
): { labels: LabelMatrix; kept: number[] } {
  const kept: number[] = [];
  for (const [f, feature] of all.features.entries()) {
    try {
      all.assertTwoClasses(f);
      kept.push(f);
    } catch (error) {
      if (!(error instanceof OneClassError)) throw error;
      failures.push({ feature, error });
    }
  }
  if (kept.length === all.features.length) return { labels: all, kept };
  const values = new Uint8Array(kept.length * all.rows);
  for (const [at, f] of kept.entries()) values.set(all.of(f), at * all.rows);
  return {
    labels: new LabelMatrix(
      kept.map((f) => all.features[f]),
      all.rows,
      values,
    ),
    kept,
  };
}

/** All columns of a source: at once where the backend holds them, else as many as fit in memory, one pass for each. */
async function* columnBlocks(
  source: OpenActivations,
  signal: AbortSignal | undefined,
): AsyncGenerator<{ x: Awaited<ReturnType<OpenActivations["columns"]>>["x"]; first: number }> {
  const width = Math.max(1, Math.floor(COLUMN_BYTES / (4 * source.rows)));
  for (let first = 0; first < source.neurons; first += width) {
    const count = Math.min(width, source.neurons - first);
    const asked = Uint32Array.from({ length: count }, (_, c) => first + c);
    const { x, neurons } = await source.columns(asked, { signal });
    yield { x, first };
    if (!neurons) return;
    x.dispose();
  }
}

/** Columns [first, first + count) of [features × d] values. */
function cut(values: Float64Array, d: number, first: number, count: number): Float64Array {
  if (count === d) return values;
  const features = values.length / d;
  const out = new Float64Array(features * count);
  for (let f = 0; f < features; f++) {
    out.set(values.subarray(f * d + first, f * d + first + count), f * count);
  }
  return out;
}
