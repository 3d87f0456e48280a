/** Several exclusive classes by one k-sparse probe each: fitting, prediction and the JSON form. */
import type { Backend, CallOptions, DeviceActivations } from "../backends/backend.ts";
import { Activations, type ActivationsInput } from "../data/activations.ts";
import {
  classesOf,
  LabelMatrix,
  type ClassValue,
  type LabelsInput,
  type RowSelection,
} from "../data/labels.ts";
import { LabelError, NonFiniteError, OneClassError, ShapeError } from "../errors.ts";
import {
  evaluateMulticlass,
  oneVsRestProbabilities,
  strongestClasses,
  type MulticlassMetrics,
} from "../metrics/multiclass.ts";
import type { ActivationSource } from "./activation-source.ts";
import { bad, list, object, text } from "./json-fields.ts";
import type { ProbeJson } from "./probe-record.ts";
import { SparseProbe, type FitOptions } from "./sparse-probe.ts";

/** A class that has no probe, and why. */
export interface UnfittedClass {
  readonly class: ClassValue;
  readonly reason: string;
}

/** How multiclass probes are made; see `MulticlassProbe`. */
export interface MulticlassProbes {
  /**
   * Fits one k-sparse probe per class against all other rows, all in one batch.
   *
   * @param acts activations [rows × neurons], on the host, a device, in a GPU buffer or in blocks
   * @param labels the class of each row: names, numbers or booleans
   * @param k neurons that each class's probe reads, 1 … number of neurons
   * @param options as for `SparseProbe.fit`
   * @returns a probe whose `unfitted` lists the classes that could not be fitted, such as those without training rows
   * @throws ShapeError | EmptyDataError | NonFiniteError | LabelError | OneClassError | SupportSizeError | OptionError
   */
  fit(
    acts: ActivationSource,
    labels: LabelsInput,
    k: number,
    options?: Omit<FitOptions, "positive" | "feature">,
  ): Promise<FittedMulticlass>;

  /**
   * Fits several k in one batch; the supports of a class are nested.
   *
   * @param ks support sizes. Default: `K_SCHEDULE`, as far as there are neurons to choose from
   * @returns one probe per k, in the order given
   * @throws what `fit` throws
   */
  path(
    acts: ActivationSource,
    labels: LabelsInput,
    ks?: readonly number[],
    options?: Omit<FitOptions, "positive" | "feature">,
  ): Promise<FittedMulticlass[]>;

  /**
   * Reads what `toJSON` wrote, after `JSON.parse`.
   * @throws FormatError naming the first field that is wrong
   */
  fromJSON(json: unknown): Promise<FittedMulticlass>;
}

const SCHEMA = "sparseprobe/multiclass-probe";
const VERSION = 1;

/** The JSON form of a multiclass probe, under a schema name and version. */
export interface MulticlassJson {
  readonly schema: typeof SCHEMA;
  readonly version: typeof VERSION;
  readonly classes: readonly ClassValue[];
  /** One per class, in that order. */
  readonly probes: readonly ProbeJson[];
  readonly unfitted: readonly UnfittedClass[];
}

/** One k-sparse probe per class, each against the rest. Immutable. */
export class FittedMulticlass {
  /** Classes that have a probe, in sorted order. */
  readonly classes: readonly ClassValue[];
  /** One per class, in that order. */
  readonly probes: readonly SparseProbe[];
  /** Classes of the labels that could not be fitted; they are never predicted. */
  readonly unfitted: readonly UnfittedClass[];

  constructor(
    classes: readonly ClassValue[],
    probes: readonly SparseProbe[],
    unfitted: readonly UnfittedClass[],
  ) {
    this.classes = Object.freeze([...classes]);
    this.probes = Object.freeze([...probes]);
    this.unfitted = Object.freeze(unfitted.map((one) => Object.freeze({ ...one })));
    Object.freeze(this);
  }

  /** Number of neurons that each class's probe reads. */
  get k(): number {
    return this.probes[0].k;
  }

  /** Columns of the activations that the probes were fitted to. */
  get neurons(): number {
    return this.probes[0].neurons;
  }

  /** Plain data under a schema name and version. */
  toJSON(): MulticlassJson {
    return {
      schema: SCHEMA,
      version: VERSION,
      classes: this.classes,
      probes: this.probes.map((probe) => probe.toJSON()),
      unfitted: this.unfitted,
    };
  }

  /**
   * Decision values of every row, [rows × classes] row-major, in float64.
   * @param acts activations on the host, with the neurons that the probes were fitted to
   * @throws ShapeError when the number of neurons differs
   * @throws NonFiniteError when a value that a probe reads is NaN or infinite
   */
  decisionFunction(acts: ActivationsInput): Float64Array {
    const decisions = this.#decideOnHost(acts);
    this.#assertFinite(decisions);
    return decisions;
  }

  /** {@link decisionFunction} for activations on a device: only the supports' columns are copied to the host. */
  async decisionFunctionOnDevice(
    x: DeviceActivations,
    backend: Backend,
    options: CallOptions = {},
  ): Promise<Float64Array> {
    const decisions = await this.#decideOnDevice(x, backend, options);
    this.#assertFinite(decisions);
    return decisions;
  }

  /** The class of the highest decision value by row; of equals the first in `classes`. */
  predict(acts: ActivationsInput): ClassValue[] {
    const places = strongestClasses(this.decisionFunction(acts), this.classes.length);
    return Array.from(places, (c) => this.classes[c]);
  }

  /** Sigmoids of the decision values, divided by their sum, [rows × classes] row-major, as scikit-learn's `OneVsRestClassifier`. */
  predictProbability(acts: ActivationsInput): Float64Array {
    return oneVsRestProbabilities(this.decisionFunction(acts), this.classes.length);
  }

  /**
   * All metrics on labelled rows. Rows of a class that could not be fitted count, as errors.
   *
   * @param labels one per row, of the kind that the probe was fitted to
   * @throws ShapeError when labels and activations differ in length, or a row does not exist
   * @throws LabelError when a row that is scored has a class that the probe has not seen
   * @throws NonFiniteError when a value that a probe reads in these rows is NaN or infinite
   */
  evaluate(
    acts: ActivationsInput,
    labels: LabelsInput,
    options: { readonly rows?: RowSelection } = {},
  ): MulticlassMetrics {
    return this.#score(this.#decideOnHost(acts), labels, options.rows);
  }

  /** {@link evaluate} for activations on a device. */
  async evaluateOnDevice(
    x: DeviceActivations,
    labels: LabelsInput,
    backend: Backend,
    options: { readonly rows?: RowSelection } & CallOptions = {},
  ): Promise<MulticlassMetrics> {
    return this.#score(await this.#decideOnDevice(x, backend, options), labels, options.rows);
  }

  #score(
    decisions: Float64Array,
    labels: LabelsInput,
    selection: RowSelection | undefined,
  ): MulticlassMetrics {
    const width = this.classes.length;
    const rows = decisions.length / width;
    if (labels.length !== rows) {
      throw new ShapeError(`There are ${labels.length} labels for ${rows} rows.`, "Give one label per row.");
    }
    const scored = selection ? Array.from(selection) : Array.from({ length: rows }, (_, i) => i);
    const known = [...this.classes, ...this.unfitted.map((one) => one.class)];
    const place = new Map(known.map((value, c) => [value, c]));
    const y = scored.map((i) => {
      if (!Number.isInteger(i) || i < 0 || i >= rows) {
        throw new ShapeError(`Row ${i} does not exist.`, `Rows run from 0 to ${rows - 1}.`);
      }
      const c = place.get(labels[i]);
      if (c !== undefined) return c;
      throw new LabelError(
        `Row ${i} is of the class ${JSON.stringify(labels[i])}, which the probe has not seen.`,
        "Leave such rows out with the rows option, or fit with rows of that class.",
      );
    });
    this.#assertFinite(decisions, scored);
    const z = new Float64Array(scored.length * width);
    for (const [r, i] of scored.entries()) z.set(decisions.subarray(i * width, (i + 1) * width), r * width);
    return evaluateMulticlass(known, y, z);
  }

  #decideOnHost(acts: ActivationsInput): Float64Array {
    const x = Activations.from(acts);
    this.#assertNeurons(x.neurons);
    const neurons = this.#neuronsRead();
    return this.#decide(x.gatherColumns(neurons), neurons);
  }

  async #decideOnDevice(x: DeviceActivations, backend: Backend, options: CallOptions): Promise<Float64Array> {
    this.#assertNeurons(x.neurons);
    const neurons = this.#neuronsRead();
    return this.#decide(await backend.gatherColumns(x, neurons, options), neurons);
  }

  /** Every neuron that some class's probe reads, ascending. */
  #neuronsRead(): Uint32Array {
    return Uint32Array.from(new Set(this.probes.flatMap(({ support }) => support))).sort();
  }

  #decide(columns: Activations, neurons: Uint32Array): Float64Array {
    const x = columns.toFloat32();
    const width = neurons.length;
    const place = new Map(Array.from(neurons, (neuron, c) => [neuron, c]));
    const out = new Float64Array(columns.rows * this.probes.length);
    for (const [p, { support, coefficients, center, scale, intercept }] of this.probes.entries()) {
      const at = support.map((neuron) => place.get(neuron)!);
      const factors = coefficients.map((w, c) => w / scale[c]);
      for (let i = 0; i < columns.rows; i++) {
        let z = intercept;
        for (let c = 0; c < at.length; c++) z += (x[i * width + at[c]] - center[c]) * factors[c];
        out[i * this.probes.length + p] = z;
      }
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

  /** @throws NonFiniteError naming the first row, of those given, without finite decision values */
  #assertFinite(decisions: Float64Array, rows?: readonly number[]): void {
    const width = this.classes.length;
    const count = rows?.length ?? decisions.length / width;
    for (let r = 0; r < count; r++) {
      const i = rows ? rows[r] : r;
      if (decisions.subarray(i * width, (i + 1) * width).every(Number.isFinite)) continue;
      throw new NonFiniteError(
        `A decision value of row ${i} is not finite: a neuron that the probe reads is NaN or infinite there.`,
        "Leave such rows out, or store the activations in a type with a larger range.",
      );
    }
  }
}

/** {@link MulticlassProbes.fit} */
export async function fitMulticlass(
  acts: ActivationSource,
  labels: LabelsInput,
  k: number,
  options?: Omit<FitOptions, "positive" | "feature">,
): Promise<FittedMulticlass> {
  const [probe] = await fitMulticlassPath(acts, labels, [k], options);
  return probe;
}

/** {@link MulticlassProbes.path} */
export async function fitMulticlassPath(
  acts: ActivationSource,
  labels: LabelsInput,
  ks?: readonly number[],
  options: Omit<FitOptions, "positive" | "feature"> = {},
): Promise<FittedMulticlass[]> {
  const classes = classesOf(labels).sort((a, b) => (a < b ? -1 : 1));
  if (classes.length < 2) {
    throw new OneClassError(
      `Every row has the label ${JSON.stringify(labels[0])}.`,
      "A multiclass probe needs rows of at least two classes.",
    );
  }
  const place = new Map(classes.map((value, c) => [value, c]));
  const n = labels.length;
  const values = new Uint8Array(classes.length * n);
  for (let i = 0; i < n; i++) values[place.get(labels[i])! * n + i] = 1;
  const matrix = new LabelMatrix(classes.map(String), n, values);
  const { probes, failures } = await SparseProbe.fitMany(acts, matrix, ks, options);
  if (probes.length === 0) throw failures[0].error;
  const unfitted = classes.flatMap((value): UnfittedClass[] => {
    const failure = failures.find(({ feature }) => feature === String(value));
    return failure ? [{ class: value, reason: failure.error.message }] : [];
  });
  const fitted = classes.filter((value) => !unfitted.some((one) => one.class === value));
  // Probes come by class, then by k.
  const sizes = probes.length / fitted.length;
  return Array.from(
    { length: sizes },
    (_, s) =>
      new FittedMulticlass(
        fitted,
        fitted.map((_value, c) => probes[c * sizes + s]),
        unfitted,
      ),
  );
}

/** {@link MulticlassProbes.fromJSON} */
export function readMulticlass(json: unknown): FittedMulticlass {
  const top = object(json, "the probe");
  if (top["schema"] !== SCHEMA) throw bad("schema", `is not "${SCHEMA}"`);
  if (top["version"] !== VERSION) throw bad("version", `is not ${VERSION}`);
  const classes = list(top["classes"], "classes", classValue);
  const probes = list(top["probes"], "probes", (probe) => SparseProbe.fromJSON(probe));
  const unfitted = list(top["unfitted"], "unfitted", (value, name): UnfittedClass => {
    const one = object(value, name);
    return {
      class: classValue(one["class"], `${name}.class`),
      reason: text(one["reason"], `${name}.reason`),
    };
  });
  const all = [...classes, ...unfitted.map((one) => one.class)];
  if (classes.length === 0) throw bad("classes", "is empty");
  if (new Set(all).size !== all.length) throw bad("classes", "names a class twice");
  if (probes.length !== classes.length) throw bad("probes", `does not have ${classes.length} values`);
  if (probes.some((probe) => probe.neurons !== probes[0].neurons || probe.k !== probes[0].k)) {
    throw bad("probes", "differ in their numbers of neurons");
  }
  return new FittedMulticlass(classes, probes, unfitted);
}

function classValue(value: unknown, name: string): ClassValue {
  if (typeof value === "string" || typeof value === "boolean") return value;
  if (typeof value === "number" && Number.isFinite(value)) return value;
  throw bad(name, "is not a class");
}
