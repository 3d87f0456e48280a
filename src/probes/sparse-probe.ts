/** k-sparse probes: linear classifiers that read k neurons. */
import type { Backend, CallOptions, Convergence, DeviceActivations } from "../backends/backend.ts";
import { createCpuBackend } from "../backends/cpu/cpu-backend.ts";
import { Activations, type ActivationsInput } from "../data/activations.ts";
import {
  LabelMatrix,
  positiveClass,
  readLabels,
  readLabelSets,
  readLabelsLike,
  UNLABELLED,
  type ClassValue,
  type LabelsInput,
  type RowSelection,
} from "../data/labels.ts";
import type { ClassMoments } from "../data/class-moments.ts";
import { NonFiniteError, ShapeError } from "../errors.ts";
import { evaluateBinary, type Metrics } from "../metrics/evaluate.ts";
import { assertSupportSizes } from "../ranking/ranking.ts";
import { openActivations, type ActivationSource, type FitColumns } from "./activation-source.ts";
import {
  candidateNeurons,
  fitRecords,
  selectSupports,
  type ProbeFailure,
  type ProbeOrigin,
  type SelectedSupport,
} from "./fit-supports.ts";
import { momentSquares, probeSettings, type ProbeOptions, type ProbeSettings } from "./probe-options.ts";
import {
  recordFromJson,
  recordToJson,
  type ProbeJson,
  type ProbeProvenance,
  type ProbeRecord,
} from "./probe-record.ts";

/** The support sizes of Gurnee et al. (2023). */
export const K_SCHEDULE: readonly number[] = Object.freeze([
  1, 2, 3, 4, 5, 6, 7, 8, 10, 12, 16, 32, 64, 128, 256,
]);

export interface FitOptions extends ProbeOptions {
  /** Where to compute. Default: a cpu backend on one thread; pass `await createBackend("cpu")` for all cores. */
  readonly backend?: Backend;
  /** Training rows, each once; all others have no influence at all. Default: every row. */
  readonly rows?: RowSelection;
  /** The class to find where the labels leave a choice; see `readLabels`. */
  readonly positive?: ClassValue;
  /** Name of the feature. Default: the positive class where it has a name, else `"feature"`. */
  readonly feature?: string;
  /** Where the activations came from, if they do not say so themselves. */
  readonly provenance?: Omit<ProbeProvenance, "backend">;
}

export interface EvaluateOptions {
  /** Rows to score; one that is listed twice counts twice. Default: every row. */
  readonly rows?: RowSelection;
}

/** Labels of one feature; a matrix of one feature may leave rows unlabelled. */
export type ProbeLabels = LabelsInput | LabelMatrix;

/** Labels of several features: by name, as class names (each against the rest), or as a matrix. */
export type ProbeLabelSets = LabelsInput | Readonly<Record<string, LabelsInput>> | LabelMatrix;

/**
 * A fitted k-sparse probe: decision(x) = Σ_j coefficient_j · (x_{support j} − center_j)/scale_j + intercept, positive where
 * it is above 0. Weighted L2 logistic regression on the k neurons that rank first (Gurnee et al. 2023). Immutable.
 *
 * @example
 * const probe = await SparseProbe.fit(activations, labels, 4, { rows: train });
 * const { f1 } = probe.evaluate(activations, labels, { rows: test });
 */
export class SparseProbe implements ProbeRecord {
  readonly feature: string;
  readonly positive: ClassValue;
  readonly neurons: number;
  readonly support: readonly number[];
  readonly scores: readonly number[];
  readonly coefficients: readonly number[];
  readonly intercept: number;
  readonly center: readonly number[];
  readonly scale: readonly number[];
  readonly convergence: Convergence;
  readonly options: ProbeSettings;
  readonly provenance: ProbeProvenance;

  /** Copies and freezes a record. Use `fit`, `path`, `fitMany` or `fromJSON` instead, unless you fitted it yourself. */
  constructor(record: ProbeRecord) {
    this.feature = record.feature;
    this.positive = record.positive;
    this.neurons = record.neurons;
    this.support = Object.freeze([...record.support]);
    this.scores = Object.freeze([...record.scores]);
    this.coefficients = Object.freeze([...record.coefficients]);
    this.intercept = record.intercept;
    this.center = Object.freeze([...record.center]);
    this.scale = Object.freeze([...record.scale]);
    this.convergence = Object.freeze({ ...record.convergence });
    this.options = Object.freeze({ ...record.options });
    this.provenance = Object.freeze({ ...record.provenance });
    Object.freeze(this);
  }

  /** Number of neurons read. */
  get k(): number {
    return this.support.length;
  }

  /**
   * Fits one probe on the k strongest neurons.
   *
   * @param acts activations [rows × neurons], on the host, a device, in a GPU buffer or in blocks
   * @param labels one per row
   * @param k neurons to read, 1 … number of neurons
   * @throws ShapeError | EmptyDataError | NonFiniteError | LabelError | OneClassError | SupportSizeError | OptionError
   */
  static async fit(
    acts: ActivationSource,
    labels: ProbeLabels,
    k: number,
    options: FitOptions = {},
  ): Promise<SparseProbe> {
    const [probe] = await SparseProbe.path(acts, labels, [k], options);
    return probe;
  }

  /**
   * Fits one feature at several k in one batch; the supports are nested.
   *
   * @param ks support sizes. Default: {@link K_SCHEDULE}, as far as there are neurons
   * @returns one probe per k, in the order given
   * @throws what `fit` throws
   */
  static async path(
    acts: ActivationSource,
    labels: ProbeLabels,
    ks?: readonly number[],
    options: FitOptions = {},
  ): Promise<SparseProbe[]> {
    const { matrix, positive } = oneFeature(labels, options);
    const { probes, failures } = await fitBatch(acts, matrix, ks, options, [positive]);
    if (failures.length > 0) throw failures[0].error;
    return probes;
  }

  /**
   * Fits several features at several k in one batch. A feature that cannot be fitted is reported, and the others are
   * fitted all the same.
   *
   * @param labelSets by feature name, as class names (each class against the rest), or as a matrix
   * @param ks support sizes. Default: {@link K_SCHEDULE}, as far as there are neurons
   * @returns probes by feature, then by k in the order given, and failures by feature and k
   * @throws ShapeError | EmptyDataError | LabelError | SupportSizeError | OptionError for what concerns all features alike
   */
  static async fitMany(
    acts: ActivationSource,
    labelSets: ProbeLabelSets,
    ks?: readonly number[],
    options: Omit<FitOptions, "positive" | "feature"> = {},
  ): Promise<{ probes: SparseProbe[]; failures: ProbeFailure[] }> {
    if (labelSets instanceof LabelMatrix) return fitBatch(acts, labelSets, ks, options);
    const { labels, positives, failures } = readLabelSets(labelSets);
    return fitBatch(acts, labels, ks, options, positives, failures);
  }

  /**
   * Fits all neurons of one feature with an L1 penalty, min C·Σ ω·loss + ‖w‖₁, which leaves most coefficients at zero: the
   * probe's support is the others, strongest first, and its scores are the coefficients. `convergence.newtonDecrement` is the
   * duality gap per unit of weight, which bounds what is still to be gained.
   *
   * @param Cs inverse regularisation strengths; a larger one leaves more neurons
   * @param options tolerance is that of the duality gap, 1e-10 by default; maxIterations 1000
   * @returns one probe per C, in the order given
   * @throws SupportSizeError when a C is so small that no neuron is left
   * @throws what `fit` throws
   */
  static async lasso(
    acts: ActivationSource,
    labels: ProbeLabels,
    Cs: readonly number[],
    options: Omit<FitOptions, "C" | "ranking"> = {},
  ): Promise<SparseProbe[]> {
    const { matrix, positive } = oneFeature(labels, options);
    const { signal, rows, backend = createCpuBackend() } = options;
    signal?.throwIfAborted();
    const source = await openActivations(acts, backend, { signal });
    try {
      assertLabelled(matrix.rows, source.rows);
      const chosen = rows ? matrix.restrictedTo(rows) : matrix;
      const moments = await source.classMoments(chosen, { signal });
      const [failure] = selectSupports(moments, chosen, [1]).failures;
      if (failure as ProbeFailure | undefined) throw failure.error;
      const all = Uint32Array.from({ length: source.neurons }, (_, j) => j);
      const columns = await source.columns(all, { signal });
      const origin: ProbeOrigin = {
        backend: backend.info.kind,
        neurons: source.neurons,
        ...originOf({ ...source.provenance, ...options.provenance }),
        positives: [positive],
      };
      const { fitLassoRecords } = await import("./fit-lasso.ts");
      const records = await fitLassoRecords(backend, columns, chosen, Cs, moments, origin, options);
      return records.map((record) => new SparseProbe(record));
    } finally {
      source.close();
    }
  }

  /**
   * Fits supports that were chosen beforehand with `selectSupports`, on gathered columns; for pipelines that stream
   * activations. The result is that of `fitMany` on the whole matrix.
   */
  static async fitSupports(
    backend: Backend,
    columns: FitColumns,
    labels: LabelMatrix,
    supports: readonly SelectedSupport[],
    moments: ClassMoments,
    origin: ProbeOrigin,
    options: ProbeOptions = {},
  ): Promise<SparseProbe[]> {
    const records = await fitRecords(backend, columns, labels, supports, moments, origin, options);
    return records.map((record) => new SparseProbe(record));
  }

  /**
   * Reads what `toJSON` wrote, after `JSON.parse`.
   * @throws FormatError naming the first field that is wrong
   */
  static fromJSON(json: unknown): SparseProbe {
    return new SparseProbe(recordFromJson(json));
  }

  /** Plain data under a schema name and version. */
  toJSON(): ProbeJson {
    return recordToJson(this);
  }

  /** The same classifier on raw activations: Σ_j coefficient_j · x_{support j} + intercept. */
  rawCoefficients(): { coefficients: Float64Array; intercept: number } {
    const coefficients = Float64Array.from(this.coefficients, (w, c) => w / this.scale[c]);
    const shift = coefficients.reduce((sum, w, c) => sum + w * this.center[c], 0);
    return { coefficients, intercept: this.intercept - shift };
  }

  /**
   * Decision value of every row, in float64.
   * @param acts activations on the host, with the neurons that the probe was fitted to
   * @throws ShapeError when the number of neurons differs
   * @throws NonFiniteError when a value that the probe reads is NaN or infinite
   */
  decisionFunction(acts: ActivationsInput): Float64Array {
    const decisions = this.#decideOnHost(acts);
    assertFiniteDecisions(decisions);
    return decisions;
  }

  /**
   * Decision values of activations on a device: only the support's columns are copied to the host.
   * @throws ShapeError when the number of neurons differs
   * @throws NonFiniteError when a value that the probe reads is NaN or infinite
   */
  async decisionFunctionOnDevice(
    x: DeviceActivations,
    backend: Backend,
    options: CallOptions = {},
  ): Promise<Float64Array> {
    const decisions = await this.#decideOnDevice(x, backend, options);
    assertFiniteDecisions(decisions);
    return decisions;
  }

  /** Probability of the positive class by row: 1/(1 + exp(−decision)). */
  predictProbability(acts: ActivationsInput): Float64Array {
    return probabilities(this.decisionFunction(acts));
  }

  /** 1 where the decision value is above 0, else 0. */
  predict(acts: ActivationsInput): Uint8Array {
    return Uint8Array.from(this.decisionFunction(acts), (z) => (z > 0 ? 1 : 0));
  }

  /**
   * All metrics on labelled rows. Where a class is missing, the metrics that need it are null, with the reason.
   *
   * @param labels one per row, of the kind that the probe was fitted to, or a matrix of one feature, whose unlabelled
   * rows are left out
   * @throws ShapeError when labels and activations differ in length, or a row does not exist
   * @throws LabelError when the labels are of another kind
   * @throws NonFiniteError when a value that the probe reads in these rows is NaN or infinite
   */
  evaluate(acts: ActivationsInput, labels: ProbeLabels, options: EvaluateOptions = {}): Metrics {
    return this.#score(this.#decideOnHost(acts), labels, options);
  }

  /** {@link evaluate} for activations on a device. */
  async evaluateOnDevice(
    x: DeviceActivations,
    labels: ProbeLabels,
    backend: Backend,
    options: EvaluateOptions & CallOptions = {},
  ): Promise<Metrics> {
    return this.#score(await this.#decideOnDevice(x, backend, options), labels, options);
  }

  #score(decisions: Float64Array, labels: ProbeLabels, { rows }: EvaluateOptions): Metrics {
    const matrix = labels instanceof LabelMatrix;
    if (matrix) assertOneFeature(labels);
    assertLabelled(matrix ? labels.rows : labels.length, decisions.length);
    const y = matrix ? labels.of(0) : readLabelsLike(labels, this.positive);
    const asked = rows ? Array.from(rows) : Array.from(y.keys());
    for (const i of asked) {
      if (!(i in y)) throw new ShapeError(`Row ${i} does not exist.`, `Rows run from 0 to ${y.length - 1}.`);
    }
    const scored = asked.filter((i) => y[i] !== UNLABELLED);
    assertFiniteDecisions(decisions, scored);
    const z = Float64Array.from(scored, (i) => decisions[i]);
    return evaluateBinary(
      Uint8Array.from(scored, (i) => y[i]),
      z,
      probabilities(z),
    );
  }

  #decideOnHost(acts: ActivationsInput): Float64Array {
    const x = Activations.from(acts);
    this.#assertNeurons(x.neurons);
    return this.#decide(x.gatherColumns(this.support));
  }

  async #decideOnDevice(x: DeviceActivations, backend: Backend, options: CallOptions): Promise<Float64Array> {
    this.#assertNeurons(x.neurons);
    return this.#decide(await backend.gatherColumns(x, Uint32Array.from(this.support), options));
  }

  #decide(columns: Activations): Float64Array {
    const x = columns.toFloat32();
    const k = this.k;
    const factors = this.coefficients.map((w, c) => w / this.scale[c]);
    const out = new Float64Array(columns.rows).fill(this.intercept);
    for (let i = 0; i < out.length; i++) {
      for (let c = 0; c < k; c++) out[i] += (x[i * k + c] - this.center[c]) * factors[c];
    }
    return out;
  }

  #assertNeurons(neurons: number): void {
    if (neurons === this.neurons) return;
    throw new ShapeError(
      `The activations have ${neurons} neurons, and the probe was fitted to ${this.neurons}.`,
      "Give activations of the same hook point.",
    );
  }
}

/** Ranks, selects and fits on one open source. */
async function fitBatch(
  acts: ActivationSource,
  matrix: LabelMatrix,
  ks: readonly number[] | undefined,
  options: FitOptions,
  positives?: readonly ClassValue[],
  unread: readonly Omit<ProbeFailure, "k">[] = [],
): Promise<{ probes: SparseProbe[]; failures: ProbeFailure[] }> {
  probeSettings(options);
  const { signal, rows, backend = createCpuBackend() } = options;
  signal?.throwIfAborted();
  const source = await openActivations(acts, backend, { signal });
  try {
    const sizes = ks ?? K_SCHEDULE.filter((k) => k <= source.neurons);
    assertSupportSizes(sizes, source.neurons);
    // Labels that could not be read fail at every k.
    const early = unread.flatMap((failure) => sizes.map((k) => ({ ...failure, k })));
    if (matrix.features.length === 0) return { probes: [], failures: early };
    assertLabelled(matrix.rows, source.rows);
    const labels = rows ? matrix.restrictedTo(rows) : matrix;
    const moments = await source.classMoments(labels, { signal, squares: momentSquares(options) });
    const { supports, failures: unusable } = selectSupports(moments, labels, sizes, options);
    const failures = [...early, ...unusable];
    if (supports.length === 0) return { probes: [], failures };
    const columns = await source.columns(candidateNeurons(supports), { signal });
    const origin: ProbeOrigin = {
      backend: backend.info.kind,
      neurons: source.neurons,
      ...originOf({ ...source.provenance, ...options.provenance }),
      ...(positives && { positives }),
    };
    const probes = await SparseProbe.fitSupports(
      backend,
      columns,
      labels,
      supports,
      moments,
      origin,
      options,
    );
    return { probes, failures };
  } finally {
    source.close();
  }
}

export function originOf({
  model,
  hookPoint,
  aggregation,
}: Omit<ProbeProvenance, "backend">): Omit<ProbeProvenance, "backend"> {
  return {
    ...(model !== undefined && { model }),
    ...(hookPoint !== undefined && { hookPoint }),
    ...(aggregation !== undefined && { aggregation }),
  };
}

/** One label set as a matrix, and the class that it calls positive. */
export function oneFeature(
  labels: ProbeLabels,
  options: Pick<FitOptions, "positive" | "feature">,
): { matrix: LabelMatrix; positive: ClassValue } {
  if (labels instanceof LabelMatrix) {
    assertOneFeature(labels);
    return { matrix: labels, positive: 1 };
  }
  const positive = positiveClass(labels, options.positive);
  const name = options.feature ?? (typeof positive === "string" ? positive : "feature");
  const values = readLabels(labels, options.positive);
  return { matrix: new LabelMatrix([name], labels.length, values), positive };
}

function assertOneFeature(labels: LabelMatrix): void {
  if (labels.features.length === 1) return;
  throw new ShapeError(
    `The label matrix has ${labels.features.length} features.`,
    "Fit several with SparseProbe.fitMany, and score each with a matrix of its own labels.",
  );
}

function assertLabelled(labels: number, rows: number): void {
  if (labels === rows) return;
  throw new ShapeError(`There are ${labels} labels for ${rows} rows.`, "Give one label per row.");
}

/** @throws NonFiniteError naming the first row, of those given, without a finite decision value */
function assertFiniteDecisions(decisions: Float64Array, rows?: RowSelection): void {
  const count = rows?.length ?? decisions.length;
  for (let r = 0; r < count; r++) {
    const i = rows ? rows[r] : r;
    if (Number.isFinite(decisions[i])) continue;
    throw new NonFiniteError(
      `The decision value of row ${i} is ${decisions[i]}: a neuron that the probe reads is NaN or infinite there.`,
      "Leave such rows out, or store the activations in a type with a larger range.",
    );
  }
}

function probabilities(decisions: Float64Array): Float64Array {
  return decisions.map((z) => 1 / (1 + Math.exp(-z)));
}
