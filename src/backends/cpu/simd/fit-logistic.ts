/**
 * Batches of logistic fits by the SIMD kernels (assembly/fit-logistic.ts): the columns of one label set's problems are gathered
 * once, each fit runs within one item of a job, and what the kernels give up goes to the float64 reference.
 */
import type { Activations } from "../../../data/activations.ts";
import { UNLABELLED, type LabelMatrix } from "../../../data/labels.ts";
import type { LogisticFit, LogisticOptions, LogisticProblem } from "../../backend.ts";
import { Pacer } from "../pacer.ts";
import { assertProblems, chunksOfColumns, fitLogistic as fitByReference } from "../reference/fit-logistic.ts";
import { LogisticLoss } from "../reference/logistic-loss.ts";
import { newtonSteps } from "../reference/newton.ts";
import type { KernelPool } from "../wasm/kernel-pool.ts";
import { gatherDesign, type LogisticDesign } from "./logistic-design.ts";
import { Scope } from "../wasm/kernel-memory.ts";

/** Bytes of gathered columns held at once; twice, when they have to be centred. */
const GATHER_BYTES = 128 * 2 ** 20;

/** Columns beyond which a Hessian is too dear. */
const MOST_COLUMNS = 512;

/** Rows of the subset that a fit starts on: at least, and per parameter. */
const SUBSET_ROWS = 1280;
const SUBSET_ROWS_PER_PARAMETER = 50;

/** Elementary operations of an item, about 1 ms, and of the items between two reports of progress. */
const ITEM_OPERATIONS = 10_000_000;
const PROGRESS_OPERATIONS = 400_000_000;

/** Words that the kernels add to an evaluation's gradient, and that they report of a fit. */
const EVALUATION = 7;
const REPORT = 8;
const CONVERGED = 1;

/**
 * Fits every problem, label set by label set.
 *
 * @returns fits in the order of the problems; one that did not converge says so and does not throw
 * @throws ShapeError | SupportSizeError | OptionError when a problem does not fit the data
 * @throws OneClassError when a label set that is fitted lacks a class
 */
export async function fitLogistic(
  pool: KernelPool,
  x: Activations,
  labels: LabelMatrix,
  problems: readonly LogisticProblem[],
  options: LogisticOptions,
): Promise<LogisticFit[]> {
  assertProblems(x, labels, problems, options);
  const pacer = new Pacer(options.signal);
  const fits = new Array<LogisticFit>(problems.length);
  const left: number[] = [];
  let done = 0;
  const report = (more: number): void => {
    done += more;
    options.onProgress?.(done, problems.length);
  };
  for (const [feature, members] of byFeature(problems)) {
    const narrow = members.filter((p) => problems[p].support.length <= MOST_COLUMNS);
    left.push(...members.filter((p) => problems[p].support.length > MOST_COLUMNS));
    const y = labels.of(feature);
    for (const chunk of chunksOfColumns(problems, narrow, labelled(y), GATHER_BYTES)) {
      const design = await gatherDesign(pool, x, y, unionOf(problems, chunk), options.signal);
      try {
        const fit = new BatchOfFits(pool, design, options, pacer);
        const usable = chunk.filter((p) => problems[p].support.every((j) => design.finite.has(j)));
        left.push(...chunk.filter((p) => !usable.includes(p)));
        await fit.run(problems, usable, fits, report);
      } finally {
        design.close();
      }
    }
  }
  if (left.length > 0) {
    const before = done;
    const rest = await fitByReference(
      x,
      labels,
      left.map((p) => problems[p]),
      { ...options, onProgress: (more) => options.onProgress?.(before + more, problems.length) },
      pacer,
    );
    for (const [at, p] of left.entries()) fits[p] = rest[at];
  }
  return fits;
}

function byFeature(problems: readonly LogisticProblem[]): Map<number, number[]> {
  const groups = new Map<number, number[]>();
  for (const [p, { feature }] of problems.entries()) {
    const members = groups.get(feature);
    if (members) members.push(p);
    else groups.set(feature, [p]);
  }
  return groups;
}

function labelled(y: Uint8Array): number {
  let count = 0;
  for (const label of y) if (label !== UNLABELLED) count++;
  return count;
}

function unionOf(problems: readonly LogisticProblem[], members: readonly number[]): Uint32Array {
  const union = new Set<number>();
  for (const p of members) for (const j of problems[p].support) union.add(j);
  return Uint32Array.from(union);
}

/** Fits on one design. */
class BatchOfFits {
  readonly #pool: KernelPool;
  readonly #design: LogisticDesign;
  readonly #options: LogisticOptions;
  readonly #pacer: Pacer;
  /** Weights C·ω of a negative and of a positive row. */
  readonly #weight: readonly [negative: number, positive: number];
  readonly #totalWeight: number;

  constructor(pool: KernelPool, design: LogisticDesign, options: LogisticOptions, pacer: Pacer) {
    this.#pool = pool;
    this.#design = design;
    this.#options = options;
    this.#pacer = pacer;
    const { counts } = design;
    const n = counts[0] + counts[1];
    const of = (c: 0 | 1): number => options.C * (options.balanced ? n / (2 * counts[c]) : 1);
    this.#weight = [of(0), of(1)];
    this.#totalWeight = counts[0] * this.#weight[0] + counts[1] * this.#weight[1];
  }

  async run(
    problems: readonly LogisticProblem[],
    members: readonly number[],
    fits: LogisticFit[],
    report: (more: number) => void,
  ): Promise<void> {
    // Large ones first: the last items to finish are then small.
    const order = [...members].sort((a, b) => problems[b].support.length - problems[a].support.length);
    let part: number[] = [];
    let operations = 0;
    for (const [at, p] of order.entries()) {
      part.push(p);
      operations += this.#operations(problems[p].support.length);
      if (operations < PROGRESS_OPERATIONS && at < order.length - 1) continue;
      await this.#runPart(problems, part, fits, operations);
      report(part.length);
      part = [];
      operations = 0;
    }
  }

  async #runPart(
    problems: readonly LogisticProblem[],
    part: readonly number[],
    fits: LogisticFit[],
    operations: number,
  ): Promise<void> {
    const { memory, threads } = this.#pool;
    const design = this.#design;
    const scope = new Scope(memory);
    try {
      const words = new Uint32Array(8 * part.length);
      const items: number[] = [];
      let ofItem = Infinity;
      const results: number[] = [];
      for (const [at, p] of part.entries()) {
        const { support, scale } = problems[p];
        const m = support.length + 1;
        if (ofItem >= ITEM_OPERATIONS) {
          items.push(at);
          ofItem = 0;
        }
        ofItem += this.#operations(m - 1);
        const places = Uint32Array.from({ length: m }, (_, j) =>
          j < m - 1 ? design.place.get(support[j])! : design.columns,
        );
        const ridge = Float64Array.from({ length: m }, (_, j) =>
          j < m - 1 ? (scale ? scale[j] ** 2 : 1) : 0,
        );
        const start = new Float64Array(m);
        start[m - 1] = Math.log((design.counts[1] * this.#weight[1]) / (design.counts[0] * this.#weight[0]));
        const subset = this.#subset(m);
        const result = scope.allocate(8 * (2 * m + EVALUATION + REPORT));
        results.push(result);
        words.set(
          [
            m,
            scope.copyOf(places),
            scope.copyOf(ridge),
            scope.copyOf(start),
            result,
            subset.chunks,
            scope.copyOf(subset.weights),
            this.#options.maxIterations,
          ],
          8 * at,
        );
        if (this.#pacer.due) await this.#pacer.turn();
      }
      items.push(part.length);
      const widest = part.reduce((most, p) => Math.max(most, problems[p].support.length), 0) + 1;
      const state = Math.ceil(this.#pool.kernel("fitStateBytes")(widest, design.chunks)! / 64 + 1) * 64;
      const scratch = state + Math.ceil(this.#pool.kernel("fitWorkBytes")(widest)! / 64) * 64;
      const numbers = Float64Array.of(
        this.#weight[1],
        this.#weight[0],
        2 * this.#totalWeight,
        this.#options.tolerance,
      );
      await this.#pool.run(
        "fitSupports",
        items.length - 1,
        [
          scope.copyOf(words),
          design.centred,
          design.raw - design.centred,
          design.stride,
          design.pilots,
          design.chunkWords,
          design.chunks,
          scope.copyOf(numbers),
          scope.allocate(threads * scratch),
          scratch,
          scope.copyOf(Uint32Array.from(items)),
        ],
        { signal: this.#options.signal, operations },
      );
      for (const [at, p] of part.entries()) {
        fits[p] = await this.#finish(problems[p], results[at]);
        if (this.#pacer.due) await this.#pacer.turn();
      }
    } finally {
      scope.close();
    }
  }

  /** Elementary operations of a fit of k columns, roughly. */
  #operations(k: number): number {
    const { rows } = this.#design;
    return rows * (100 + 20 * k + (k * k) / 8) + k ** 3;
  }

  /** The chunks that a fit of m parameters starts on, none for all, and the weights of their rows. */
  #subset(m: number): { chunks: number; weights: Float64Array } {
    const design = this.#design;
    const wanted = Math.ceil(Math.max(SUBSET_ROWS, SUBSET_ROWS_PER_PARAMETER * m) / 64);
    const chunks = 2 * wanted > design.chunks ? 0 : wanted;
    const counts = design.countsOf(chunks || design.chunks);
    const of = (c: 0 | 1): number => (this.#weight[c] * design.counts[c]) / counts[c];
    return { chunks, weights: Float64Array.of(of(1), of(0)) };
  }

  /** The problem's own parameters from the kernel's, or what the reference makes of it. */
  async #finish(problem: LogisticProblem, result: number): Promise<LogisticFit> {
    const { support, center, scale } = problem;
    const design = this.#design;
    const k = support.length;
    const m = k + 1;
    const numbers = this.#pool.memory.f64(result, 2 * m + EVALUATION + REPORT);
    const [decrement, status, steps] = numbers.subarray(2 * m + EVALUATION);
    const coefficients = new Float64Array(k);
    let intercept = numbers[k];
    for (let j = 0; j < k; j++) {
      const v = numbers[j];
      coefficients[j] = v * (scale?.[j] ?? 1);
      intercept += v * ((center?.[j] ?? 0) - design.pilotOf(support[j]));
    }
    if (status !== CONVERGED) return this.#refit(problem, Float64Array.of(...coefficients, intercept), steps);
    const ofIntercept = numbers[m + k];
    let squares = ofIntercept * ofIntercept;
    let penalty = 0;
    for (let j = 0; j < k; j++) {
      const w = coefficients[j];
      const g = (numbers[m + j] - (center?.[j] ?? 0) * ofIntercept) / (scale?.[j] ?? 1) + w;
      squares += g * g;
      penalty += w * w;
    }
    const [mantissa0, exponent0, hinge0, mantissa1, exponent1, hinge1, least] = numbers.subarray(2 * m);
    const loss = (mantissa: number, exponent: number, hinge: number): number =>
      Math.log(mantissa) + exponent * Math.LN2 + hinge;
    return {
      coefficients,
      intercept,
      convergence: {
        converged: true,
        iterations: steps,
        gradientNorm: Math.sqrt(squares),
        newtonDecrement: decrement,
        objective:
          this.#weight[0] * loss(mantissa0, exponent0, hinge0) +
          this.#weight[1] * loss(mantissa1, exponent1, hinge1) +
          penalty / 2,
        separated: least > 0,
      },
    };
  }

  /** The float64 reference from where the kernels stopped. */
  async #refit(problem: LogisticProblem, theta: Float64Array, steps: number): Promise<LogisticFit> {
    const { C, tolerance, maxIterations } = this.#options;
    const { columns, labels, weights } = this.#design.toReference(problem.support, this.#options.balanced);
    const { center, scale } = problem;
    const loss = new LogisticLoss({ columns, labels, weights, C, center, scale });
    const rest = newtonSteps(loss, {
      tolerance,
      maxIterations: Math.max(0, maxIterations - steps),
      ...(theta.every(Number.isFinite) && { start: theta }),
    });
    let state = rest.next();
    while (!state.done) {
      if (this.#pacer.due) await this.#pacer.turn();
      state = rest.next();
    }
    const { theta: best, convergence } = state.value;
    const k = problem.support.length;
    return {
      coefficients: best.slice(0, k),
      intercept: best[k],
      convergence: { ...convergence, iterations: steps + convergence.iterations },
    };
  }
}
