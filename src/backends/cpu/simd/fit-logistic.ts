/**
 * Batches of logistic fits by the SIMD kernels (assembly/fit-logistic.ts): the columns of one label set's problems are gathered
 * once, each fit runs within one item of a job, and what the kernels give up goes to the float64 reference.
 */
import { Activations } from "../../../data/activations.ts";
import type { LabelMatrix } from "../../../data/labels.ts";
import type { LogisticFit, LogisticOptions, LogisticProblem } from "../../backend.ts";
import { Pacer } from "../pacer.ts";
import { assertProblems, chunksOfColumns, fitLogistic as fitByReference } from "../reference/fit-logistic.ts";
import { LogisticLoss } from "../reference/logistic-loss.ts";
import { newtonSteps } from "../reference/newton.ts";
import type { KernelPool } from "../wasm/kernel-pool.ts";
import { inPlace } from "../wasm/kernel-rows.ts";
import { CHUNK_ROWS, gatherDesign, orderOfRows, type LogisticDesign } from "./logistic-design.ts";
import { Scope } from "../wasm/kernel-memory.ts";

/** Bytes of gathered columns held at once; twice, when they have to be centred. */
const GATHER_BYTES = 128 * 2 ** 20;

/** Bytes of a matrix that are copied once for all label sets. */
const COPY_BYTES = 32 * 2 ** 20;

/** Rows of the subset that a fit starts on: per parameter, and at least; a few parameters need a few more. */
const SUBSET_ROWS_PER_PARAMETER = 60;
const SUBSET_ROWS = 4096;
const SUBSET_ROWS_OF_FEW = 640;
const LEAST_ROWS_PER_PARAMETER = 20;

/** Of all chunks, one in so many is the sample that corrects a Newton step, and the least that it is worth having. */
const SAMPLE_SHARE = 5;
const LEAST_SAMPLE_ROWS = 2048;

/** Elementary operations of an item, about 1 ms, and of the items between two reports of progress. */
const ITEM_OPERATIONS = 10_000_000;
const PROGRESS_OPERATIONS = 400_000_000;

/** Elementary operations of a fit, about 10 ms, beyond which its passes are spread over many items. */
const LARGE_OPERATIONS = 120_000_000;

/** Words that the kernels add to an evaluation's gradient, and that they report of a fit. */
const EVALUATION = 7;
const REPORT = 8;
const CONVERGED = 1;

/** Where a state says what it asks for, and what that may be. */
const TASK = 8;
const NOTHING = 0;
const HESSIAN = 2;
const CURVATURE = 3;

/** Elementary operations of an item of a pass. */
const PASS_ITEM_OPERATIONS = 4_000_000;

/**
 * Fits every problem, label set by label set. Supports are narrow enough for a Hessian (see `splitWide`).
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
  const features = byFeature(problems);
  const scope = new Scope(pool.memory);
  try {
    const near = features.size > 1 ? copyToKernels(pool, scope, x) : x;
    for (const [feature, members] of features) {
      const order = await orderOfRows(labels.of(feature), pacer);
      const rows = order.counts[0] + order.counts[1];
      const isLarge = (p: number): boolean =>
        operationsOf(rows, problems[p].support.length) > LARGE_OPERATIONS;
      const small = members.filter((p) => !isLarge(p));
      for (const chunk of [
        ...chunksOfColumns(problems, small, rows, GATHER_BYTES),
        ...members.filter(isLarge).map((p) => [p]),
      ]) {
        const layout = chunk.length === 1 ? "chunks" : "columns";
        const design = await gatherDesign(
          pool,
          near,
          order,
          unionOf(problems, chunk),
          layout,
          options.signal,
        );
        try {
          const fit = new BatchOfFits(pool, design, options, pacer);
          const usable = chunk.filter((p) => {
            const { support, center } = problems[p];
            return support.every((j) => design.finite.has(j)) && (center?.every(Number.isFinite) ?? true);
          });
          if (usable.length < chunk.length) left.push(...chunk.filter((p) => !usable.includes(p)));
          if (usable.some(isLarge)) {
            for (const p of usable) fits[p] = await fit.runOverRows(problems[p]);
            report(usable.length);
          } else await fit.run(problems, usable, fits, report);
        } finally {
          design.close();
        }
      }
    }
  } finally {
    scope.close();
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

/** The matrix in memory that the kernels read, where it is small and not there already: each label set reads it. */
function copyToKernels(pool: KernelPool, scope: Scope, x: Activations): Activations {
  const { memory } = pool;
  const { data, rows, neurons, dtype, code } = x;
  // Memory that is not shared moves when it grows.
  if (inPlace(pool, x) || !memory.shared || data.byteLength > COPY_BYTES) return x;
  const at = scope.copyOf(data);
  const copy =
    dtype === "f32"
      ? memory.f32(at, data.length)
      : dtype === "f16"
        ? memory.u16(at, data.length)
        : memory.u8(at, data.length);
  return new Activations(copy, [rows, neurons], { dtype, ...(code && { code }) });
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

/** Elementary operations of a fit of k columns, roughly. */
function operationsOf(rows: number, k: number): number {
  return rows * (100 + 20 * k + (k * k) / 8) + k ** 3;
}

/** Columns of the members, ascending: neighbours share cache lines of a row. */
function unionOf(problems: readonly LogisticProblem[], members: readonly number[]): Uint32Array {
  const union = new Set<number>();
  for (const p of members) for (const j of problems[p].support) union.add(j);
  return Uint32Array.from(union).sort();
}

/** Rows of the lower triangle of an m × m matrix at which its panels begin: even, and of about as many entries each. */
function panelsOf(m: number): Uint32Array {
  const count = Math.max(1, Math.min(64, Math.ceil((m * m) / 512)));
  const bounds = new Set([0]);
  for (let i = 1; i < count; i++) bounds.add(2 * Math.round((m * Math.sqrt(i / count)) / 2));
  bounds.delete(m);
  return Uint32Array.from([...bounds, m]);
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
      operations += operationsOf(this.#design.rows, problems[p].support.length);
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
    const scope = new Scope(this.#pool.memory);
    try {
      const items: number[] = [];
      let ofItem = Infinity;
      for (const [at, p] of part.entries()) {
        if (ofItem >= ITEM_OPERATIONS) {
          items.push(at);
          ofItem = 0;
        }
        ofItem += operationsOf(this.#design.rows, problems[p].support.length);
      }
      items.push(part.length);
      const batch = await this.#prepare(
        scope,
        part.map((p) => problems[p]),
      );
      const args = [...batch.args, scope.copyOf(Uint32Array.from(items))];
      await this.#pool.run("fitSupports", items.length - 1, args, {
        signal: this.#options.signal,
        operations,
      });
      for (const [at, p] of part.entries()) {
        const fit = this.#finish(problems[p], batch.results[at]);
        fits[p] = fit instanceof Promise ? await fit : fit;
        if (this.#pacer.due) await this.#pacer.turn();
      }
    } finally {
      scope.close();
    }
  }

  /** One fit whose passes are spread over the threads; as {@link run}, but for the last bits of its sums. */
  async runOverRows(problem: LogisticProblem): Promise<LogisticFit> {
    const pool = this.#pool;
    const { memory } = pool;
    const { signal } = this.#options;
    const { chunks } = this.#design;
    const scope = new Scope(memory);
    try {
      const m = problem.support.length + 1;
      const { args, results } = await this.#prepare(scope, [problem]);
      const state = scope.allocate(pool.kernel("fitStateBytes")(m, chunks, 0)!);
      const perItem = Math.max(8, Math.ceil(PASS_ITEM_OPERATIONS / (CHUNK_ROWS * (8 * m + 64))));
      const parts = scope.allocate(8 * (m + EVALUATION) * Math.ceil(chunks / perItem));
      const panels = panelsOf(m);
      const words = [...args, 0, state, perItem, parts, scope.copyOf(panels)];
      const at = scope.copyOf(Uint32Array.from(words));
      pool.kernel("startFit")(state, at, 0);
      for (;;) {
        const task = memory.u32(state + TASK, 1)[0];
        if (task === NOTHING) break;
        const ofPass = pool.kernel("chunksOfPass")(state)!;
        if (task !== HESSIAN) {
          const items = Math.ceil(ofPass / perItem);
          await pool.run("addChunksOfPass", items, words, { signal });
          pool.kernel("mergePass")(at, items);
        }
        if (task === HESSIAN || task === CURVATURE) {
          await pool.run("addPanelOfHessian", panels.length - 1, words, { signal });
        }
        pool.kernel("advance")(state);
        if (this.#pacer.due) await this.#pacer.turn();
      }
      return await this.#finish(problem, results[0]);
    } finally {
      scope.close();
    }
  }

  /** Puts problems where the kernels read them, and lists the words that jobs on them have in common. */
  async #prepare(
    scope: Scope,
    problems: readonly LogisticProblem[],
  ): Promise<{ args: readonly number[]; results: readonly number[] }> {
    const { memory, threads } = this.#pool;
    const design = this.#design;
    const sizes = problems.map(({ support }) => support.length + 1);
    const total = sizes.reduce((sum, m) => sum + m, 0);
    const words = new Uint32Array(8 * problems.length);
    const places = new Uint32Array(total);
    const ridges = new Float64Array(total);
    const starts = new Float64Array(total);
    const placesAt = scope.allocate(places.byteLength);
    const ridgesAt = scope.allocate(ridges.byteLength);
    const startsAt = scope.allocate(starts.byteLength);
    const resultsAt = scope.allocate(8 * (2 * total + (EVALUATION + REPORT) * problems.length));
    const logOdds = Math.log((design.counts[1] * this.#weight[1]) / (design.counts[0] * this.#weight[0]));
    const subsets = new Map<number, { chunks: number; weights: number }>();
    const results: number[] = [];
    let first = 0;
    for (const [p, { support, scale }] of problems.entries()) {
      const m = sizes[p];
      let subset = subsets.get(m);
      if (!subset) {
        const { chunks, weights } = this.#subset(m);
        subset = { chunks, weights: scope.copyOf(weights) };
        subsets.set(m, subset);
      }
      for (let j = 0; j < m - 1; j++) {
        places[first + j] = design.place.get(support[j])!;
        ridges[first + j] = scale ? scale[j] ** 2 : 1;
      }
      places[first + m - 1] = design.columns;
      starts[first + m - 1] = logOdds;
      const result = resultsAt + 8 * (2 * first + (EVALUATION + REPORT) * p);
      results.push(result);
      words.set(
        [
          ...[m, placesAt + 4 * first, ridgesAt + 8 * first, startsAt + 8 * first, result],
          ...[subset.chunks, subset.weights, this.#options.maxIterations],
        ],
        8 * p,
      );
      first += m;
      if (this.#pacer.due) await this.#pacer.turn();
    }
    memory.u32(placesAt, total).set(places);
    memory.f64(ridgesAt, total).set(ridges);
    memory.f64(startsAt, total).set(starts);
    const copies = design.advance === 4 * CHUNK_ROWS ? 1 : 0;
    // Fits of few parameters keep moments that wide ones do not: the widest need not take the most.
    let scratch = 0;
    for (const m of subsets.keys()) {
      const state = this.#pool.kernel("fitStateBytes")(m, design.chunks, copies)!;
      const work = this.#pool.kernel("fitWorkBytes")(m)!;
      scratch = Math.max(scratch, 64 * Math.ceil((state + work) / 64 + 1));
    }
    const { tolerance } = this.#options;
    const sample = this.#sample();
    const numbers = Float64Array.of(
      ...[this.#weight[1], this.#weight[0], 2 * this.#totalWeight, tolerance],
      ...[...this.#weightsOf(sample), sample],
    );
    const args = [
      ...[scope.copyOf(words), design.centred, design.raw - design.centred, design.stride, design.pilots],
      ...[
        design.chunkWords,
        design.chunks,
        scope.copyOf(numbers),
        scope.allocate(threads * scratch),
        scratch,
      ],
      design.advance,
    ];
    return { args, results };
  }

  /** The chunks that a fit of m parameters starts on, none for all, and the weights of their rows. */
  #subset(m: number): { chunks: number; weights: Float64Array } {
    const design = this.#design;
    const least = Math.min(SUBSET_ROWS, SUBSET_ROWS_OF_FEW * m);
    const wanted = Math.ceil(Math.max(least, SUBSET_ROWS_PER_PARAMETER * m) / CHUNK_ROWS);
    // A third of many rows still shows the way; a part of few rows is not worth its steps.
    const third = Math.floor(design.chunks / 3);
    const enough = third * CHUNK_ROWS >= Math.max(SUBSET_ROWS_OF_FEW, LEAST_ROWS_PER_PARAMETER * m);
    const chunks = 2 * wanted <= design.chunks ? wanted : enough ? third : 0;
    return { chunks, weights: this.#weightsOf(chunks) };
  }

  /** The chunks on which third derivatives are seen; none where they would be few. */
  #sample(): number {
    const chunks = Math.floor(this.#design.chunks / SAMPLE_SHARE);
    return chunks * CHUNK_ROWS >= LEAST_SAMPLE_ROWS ? chunks : 0;
  }

  /** Weights of a positive and of a negative row where they stand for all rows of their class; of all rows for 0 chunks. */
  #weightsOf(chunks: number): Float64Array {
    const design = this.#design;
    const counts = design.countsOf(chunks || design.chunks);
    const of = (c: 0 | 1): number => (this.#weight[c] * design.counts[c]) / counts[c];
    return Float64Array.of(of(1), of(0));
  }

  /** The problem's own parameters from the kernel's, or what the reference makes of it. */
  #finish(problem: LogisticProblem, result: number): LogisticFit | Promise<LogisticFit> {
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
    // Between the rows' directions the penalty alone curves, which sums in float32 may lose: there the gradient has to say it.
    if (
      design.counts[0] + design.counts[1] < m &&
      squares > 2 * this.#totalWeight * this.#options.tolerance
    ) {
      return this.#refit(problem, Float64Array.of(...coefficients, intercept), steps);
    }
    const [mantissa0, exponent0, hinge0, mantissa1, exponent1, hinge1, most] = numbers.subarray(2 * m);
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
        separated: most < 0,
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
