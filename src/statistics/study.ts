/** What every call of this folder starts from: activations opened on a backend, and the labels of one feature. */
import type { Backend, CallOptions } from "../backends/backend.ts";
import { createCpuBackend } from "../backends/cpu/cpu-backend.ts";
import { Activations, type GroupId } from "../data/activations.ts";
import type { LabelMatrix } from "../data/labels.ts";
import { UNLABELLED, type ClassValue, type RowSelection } from "../data/labels.ts";
import { splitFolds, splitRows, type Fold } from "../data/splits.ts";
import { EmptyDataError, OptionError, ShapeError } from "../errors.ts";
import { openActivations, type ActivationSource, type OpenActivations } from "../probes/activation-source.ts";
import type { ProbeOptions } from "../probes/probe-options.ts";
import { oneFeature, type ProbeLabels } from "../probes/one-feature.ts";

/** Options of all statistics on activations. */
export interface StudyOptions extends CallOptions {
  /** Where to compute. Default: a cpu backend on one thread; pass `await createBackend("cpu")` for all cores. */
  readonly backend?: Backend | undefined;
  /** Rows to use, each once; all others have no influence at all. Default: every labelled row. */
  readonly rows?: RowSelection | undefined;
  /** Document of each row. Default: the groups of the activations, if they have any; else each row stands alone. */
  readonly groups?: ArrayLike<GroupId> | undefined;
  /** Whole number; the same seed gives the same result. Default 0. */
  readonly seed?: number | undefined;
  /** The class to find where the labels leave a choice; see `readLabels`. */
  readonly positive?: ClassValue | undefined;
  /** Name of the feature. Default: the positive class where it has a name, else `"feature"`. */
  readonly feature?: string | undefined;
  /** Called as the work goes on. */
  readonly onProgress?: ((done: number, total: number) => void) | undefined;
}

/** Options of statistics that fit probes. */
export interface StatisticsOptions extends StudyOptions, Omit<ProbeOptions, "C" | keyof StudyOptions> {}

/** Activations and the labels of one feature, open for any number of fits. Call `close()` when done. */
export class Study {
  readonly source: OpenActivations;
  readonly backend: Backend;
  readonly feature: string;
  readonly positive: ClassValue;
  /** One feature; rows that take no part are `UNLABELLED`. */
  readonly labels: LabelMatrix;
  /** The rows that take part, ascending. */
  readonly rows: Uint32Array;
  /** Group of each of all rows as a number from 0; undefined where each row stands alone. */
  readonly groupOf: Uint32Array | undefined;
  readonly seed: number;

  private constructor(
    source: OpenActivations,
    backend: Backend,
    labels: LabelMatrix,
    positive: ClassValue,
    groupOf: Uint32Array | undefined,
    seed: number,
  ) {
    this.source = source;
    this.backend = backend;
    this.labels = labels;
    this.feature = labels.features[0];
    this.positive = positive;
    this.groupOf = groupOf;
    this.seed = seed;
    const y = labels.of(0);
    this.rows = Uint32Array.from(y.keys()).filter((i) => y[i] !== UNLABELLED);
  }

  /** @throws ShapeError | EmptyDataError | LabelError | OneClassError | OptionError */
  static async open(acts: ActivationSource, labels: ProbeLabels, options: StudyOptions): Promise<Study> {
    const { signal, backend = createCpuBackend(), rows, seed = 0 } = options;
    signal?.throwIfAborted();
    const { matrix, positive } = oneFeature(labels, options);
    const chosen = rows ? matrix.restrictedTo(rows) : matrix;
    chosen.assertTwoClasses(0);
    const groups = options.groups ?? (acts instanceof Activations ? acts.groups : undefined);
    if (groups && groups.length !== matrix.rows) {
      throw new ShapeError(
        `There are ${groups.length} groups for ${matrix.rows} rows.`,
        "Give one group per row.",
      );
    }
    const source = await openActivations(acts, backend, { signal });
    try {
      if (source.rows !== matrix.rows) {
        throw new ShapeError(
          `There are ${matrix.rows} labels for ${source.rows} rows.`,
          "Give one label per row.",
        );
      }
      return new Study(source, backend, chosen, positive, groups && groupNumbers(groups), seed);
    } catch (error) {
      source.close();
      throw error;
    }
  }

  /** Labels, 0 or 1, of all rows; `UNLABELLED` where a row takes no part. */
  get y(): Uint8Array {
    return this.labels.of(0);
  }

  close(): void {
    this.source.close();
  }

  /** The rows that take part, in parts: stratified, and by group where there are groups. */
  split<Part extends string>(fractions: Readonly<Record<Part, number>>): Record<Part, Uint32Array> {
    const parts = splitRows({ ...this.#strata(), seed: this.seed, fractions });
    for (const name of Object.keys(parts) as Part[]) parts[name] = parts[name].map((r) => this.rows[r]);
    return parts;
  }

  /**
   * Folds of the rows that take part: as many as asked for, or those given, with rows that take no part left out.
   * @throws EmptyDataError when a given fold has no row that takes part on one of its sides
   * @throws ShapeError when a row of a given fold does not exist, or is on both sides
   */
  folds(asked: number | readonly FoldRows[]): Fold[] {
    if (typeof asked === "number") {
      return splitFolds({ ...this.#strata(), seed: this.seed, folds: asked }).map(({ train, test }) => ({
        train: train.map((r) => this.rows[r]),
        test: test.map((r) => this.rows[r]),
      }));
    }
    if (asked.length === 0) throw new EmptyDataError("There are no folds.", "Give at least one.");
    return asked.map(({ train, test }) => this.parts({ train, test }));
  }

  /**
   * Checks parts that the caller made: rows that take no part are left out.
   * @throws ShapeError when a part is missing, or a row does not exist or is in two parts
   * @throws EmptyDataError when a part is empty
   */
  parts<Part extends string>(given: Readonly<Record<Part, RowSelection>>): Record<Part, Uint32Array> {
    const partOf = new Map<number, string>();
    const names = Object.keys(given) as Part[];
    const kept = names.map((name) => {
      if ((given[name] as RowSelection | undefined) === undefined) {
        throw new ShapeError(`The split has no part "${name}".`, `Give rows for ${names.join(", ")}.`);
      }
      const rows = Uint32Array.from(given[name]);
      for (const [at, i] of rows.entries()) {
        if (given[name][at] !== i || i >= this.labels.rows) {
          throw new ShapeError(
            `Row ${given[name][at]} does not exist.`,
            `Rows run from 0 to ${this.labels.rows - 1}.`,
          );
        }
        const other = partOf.get(i);
        if (other !== undefined) {
          throw new ShapeError(
            `Row ${i} is in ${other === name ? `${name} twice` : `${other} and in ${name}`}.`,
            "Give parts that have no row in common, each row once.",
          );
        }
        partOf.set(i, name);
      }
      const used = rows.filter((i) => this.y[i] !== UNLABELLED);
      if (used.length === 0) {
        throw new EmptyDataError(`No row of ${name} takes part.`, "Give every part labelled rows.");
      }
      return [name, used] as const;
    });
    return Object.fromEntries(kept) as Record<Part, Uint32Array>;
  }

  /** Groups that rows belong to, densely numbered; each row its own where there are no groups. */
  groupsOf(rows: Uint32Array): Uint32Array {
    return this.groupOf ? rows.map((i) => this.groupOf![i]) : rows;
  }

  #strata(): { labels: Uint8Array; groups?: Uint32Array } {
    const labels = Uint8Array.from(this.rows, (i) => this.y[i]);
    return { labels, ...(this.groupOf && { groups: this.groupsOf(this.rows) }) };
  }
}

/** A fold that the caller made. */
export interface FoldRows {
  readonly train: RowSelection;
  readonly test: RowSelection;
}

/** The labels of some rows; all others `UNLABELLED`. */
export function labelsOf(y: Uint8Array, rows: Uint32Array): Uint8Array {
  const out = new Uint8Array(y.length).fill(UNLABELLED);
  for (const i of rows) out[i] = y[i];
  return out;
}

/** Groups as numbers from 0, in order of appearance. */
export function groupNumbers(groups: ArrayLike<GroupId>): Uint32Array {
  const numbers = new Map<GroupId, number>();
  return Uint32Array.from(groups, (group) => {
    let number = numbers.get(group);
    if (number === undefined) numbers.set(group, (number = numbers.size));
    return number;
  });
}

/** @throws OptionError unless the number of draws, resamples or permutations is a whole number of at least `least` */
export function assertCount(name: string, value: number, least = 1): void {
  if (Number.isSafeInteger(value) && value >= least) return;
  throw new OptionError(`${name} is ${value}.`, `Give a whole number of at least ${least}.`);
}
