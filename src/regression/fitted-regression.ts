/** A fitted regression probe and what it can do. */
import type { Backend, CallOptions, DeviceActivations } from "../backends/backend.ts";
import { Activations, type ActivationsInput } from "../data/activations.ts";
import type { RowSelection } from "../data/labels.ts";
import type { TargetsInput } from "../data/targets.ts";
import { NonFiniteError, ShapeError } from "../errors.ts";
import { evaluateRegression, type RegressionMetrics } from "../metrics/regression.ts";
import type { ProbeProvenance } from "../probes/probe-record.ts";
import type { RegressionSettings } from "./regression-options.ts";
import { regressionToJson, type RegressionJson, type RegressionRecord } from "./regression-record.ts";
import type { RegressionConvergence } from "./solution.ts";

/**
 * A fitted k-sparse regression probe: prediction(x) = Σ_j coefficient_j · (x_{support j} − center_j)/scale_j + intercept.
 * Immutable.
 */
export class FittedRegression implements RegressionRecord {
  readonly target: string;
  readonly neurons: number;
  readonly support: readonly number[];
  readonly scores: readonly number[];
  readonly coefficients: readonly number[];
  readonly intercept: number;
  readonly center: readonly number[];
  readonly scale: readonly number[];
  readonly convergence: RegressionConvergence;
  readonly options: RegressionSettings;
  readonly provenance: ProbeProvenance;

  /** Copies and freezes a record. */
  constructor(record: RegressionRecord) {
    this.target = record.target;
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

  /** Plain data under a schema name and version. */
  toJSON(): RegressionJson {
    return regressionToJson(this);
  }

  /** The same predictor on raw activations: Σ_j coefficient_j · x_{support j} + intercept. */
  rawCoefficients(): { coefficients: Float64Array; intercept: number } {
    const coefficients = Float64Array.from(this.coefficients, (w, c) => w / this.scale[c]);
    const shift = coefficients.reduce((sum, w, c) => sum + w * this.center[c], 0);
    return { coefficients, intercept: this.intercept - shift };
  }

  /**
   * Predicted target of every row, in float64.
   * @param acts activations on the host, with the neurons that the probe was fitted to
   * @throws ShapeError when the number of neurons differs
   * @throws NonFiniteError when a value that the probe reads is NaN or infinite
   */
  predict(acts: ActivationsInput): Float64Array {
    const predictions = this.#predictOnHost(acts);
    assertFinitePredictions(predictions);
    return predictions;
  }

  /** {@link predict} for activations on a device: only the support's columns are copied to the host. */
  async predictOnDevice(
    x: DeviceActivations,
    backend: Backend,
    options: CallOptions = {},
  ): Promise<Float64Array> {
    const predictions = await this.#predictOnDevice(x, backend, options);
    assertFinitePredictions(predictions);
    return predictions;
  }

  /**
   * All metrics on rows whose target is known. Those that are undefined are null, with the reason.
   *
   * @param targets one per row; only those of the rows scored need be numbers
   * @throws ShapeError when targets and activations differ in length, or a row does not exist
   * @throws NonFiniteError when a target, or a value that the probe reads, is NaN or infinite in these rows
   */
  evaluate(
    acts: ActivationsInput,
    targets: TargetsInput,
    options: { readonly rows?: RowSelection } = {},
  ): RegressionMetrics {
    return score(this.#predictOnHost(acts), targets, options.rows);
  }

  /** {@link evaluate} for activations on a device. */
  async evaluateOnDevice(
    x: DeviceActivations,
    targets: TargetsInput,
    backend: Backend,
    options: { readonly rows?: RowSelection } & CallOptions = {},
  ): Promise<RegressionMetrics> {
    return score(await this.#predictOnDevice(x, backend, options), targets, options.rows);
  }

  #predictOnHost(acts: ActivationsInput): Float64Array {
    const x = Activations.from(acts);
    this.#assertNeurons(x.neurons);
    return this.#predict(x.gatherColumns(this.support));
  }

  async #predictOnDevice(
    x: DeviceActivations,
    backend: Backend,
    options: CallOptions,
  ): Promise<Float64Array> {
    this.#assertNeurons(x.neurons);
    return this.#predict(await backend.gatherColumns(x, Uint32Array.from(this.support), options));
  }

  #predict(columns: Activations): Float64Array {
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

function score(
  predictions: Float64Array,
  targets: TargetsInput,
  rows: RowSelection | undefined,
): RegressionMetrics {
  if (targets.length !== predictions.length) {
    throw new ShapeError(
      `There are ${targets.length} targets for ${predictions.length} rows.`,
      "Give one target per row.",
    );
  }
  const asked = rows ? Array.from(rows) : Array.from(predictions.keys());
  for (const i of asked) {
    if (i in predictions) continue;
    throw new ShapeError(`Row ${i} does not exist.`, `Rows run from 0 to ${predictions.length - 1}.`);
  }
  assertFinitePredictions(predictions, asked);
  return evaluateRegression(
    asked.map((i) => targets[i]),
    asked.map((i) => predictions[i]),
  );
}

/** @throws NonFiniteError naming the first row, of those given, without a finite prediction */
function assertFinitePredictions(predictions: Float64Array, rows?: readonly number[]): void {
  const count = rows?.length ?? predictions.length;
  for (let r = 0; r < count; r++) {
    const i = rows ? rows[r] : r;
    if (Number.isFinite(predictions[i])) continue;
    throw new NonFiniteError(
      `The prediction of row ${i} is ${predictions[i]}: a neuron that the probe reads is NaN or infinite there.`,
      "Leave such rows out, or store the activations in a type with a larger range.",
    );
  }
}
