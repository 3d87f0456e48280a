/**
 * Target moments of rows that pass by. Within runs of {@link RUN} training rows, counted from the first, values are summed
 * about a pilot in float64, the mean so far; runs are merged by Chan's rule. Where a source cuts its rows into blocks
 * does not matter: the result has the same bits.
 *
 * With T = Σ (x − pilot)², M the largest |mean|, u = 2⁻⁵³ and γ = (2·RUN + 4·runs + 16)·u, sums of squares are within
 * 2γ·T + 8·u·M·√(n·T) of the truth, and products within 2γ·√(T_x·T_y) + 8·u·(M_x·√(n·T_y) + M_y·√(n·T_x)). The first terms are
 * those of sums of at most RUN terms and of merging (Cauchy and Schwarz bound what is subtracted), the second come from
 * rounding the means between which runs are merged.
 */
import { Pacer } from "../backends/cpu/pacer.ts";
import type { Activations } from "../data/activations.ts";
import { emptyTargetMoments, mergeTargetMoments, type TargetMoments } from "../data/target-moments.ts";

/** Training rows that are summed about one pilot. */
const RUN = 256;

/** Neurons whose sums stay in cache while a run of rows goes by. */
const TILE = 1024;

export class MomentAccumulator {
  readonly #neurons: number;
  readonly #targets: readonly Float64Array[];
  readonly #pilot: Float64Array;
  /** Mean, squares and products of the run at hand, still sums about the pilots. */
  readonly #run: TargetMoments;
  readonly #targetPilot: Float64Array;
  readonly #pacer: Pacer;
  #total: TargetMoments;
  #inRun = 0;
  #seen = 0;

  /** @param targets each on the training rows, in the order in which these will be added */
  constructor(targets: readonly Float64Array[], neurons: number, signal: AbortSignal | undefined) {
    this.#targets = targets;
    this.#neurons = neurons;
    this.#pilot = new Float64Array(neurons);
    this.#targetPilot = new Float64Array(targets.length);
    this.#run = emptyTargetMoments(targets.length, neurons);
    this.#total = emptyTargetMoments(targets.length, neurons);
    this.#pacer = new Pacer(signal);
  }

  /** Adds some rows of a block, which come next among the training rows. */
  async add(block: Activations, rows: Uint32Array): Promise<void> {
    for (let at = 0; at < rows.length;) {
      const count = Math.min(RUN - this.#inRun, rows.length - at);
      await this.#addToRun(block, rows.subarray(at, at + count));
      at += count;
    }
  }

  /** The moments of all rows added. Nothing can be added afterwards. */
  finish(): TargetMoments {
    this.#endRun();
    return this.#total;
  }

  async #addToRun(block: Activations, rows: Uint32Array): Promise<void> {
    const d = this.#neurons;
    // f32 is read in place, other types a run at a time.
    const inPlace = block.dtype === "f32";
    const values = inPlace ? block.toFloat32() : block.selectRows(rows).toFloat32();
    const starts = Float64Array.from(rows, (row, r) => (inPlace ? row : r) * d);
    if (this.#seen === 0) {
      for (let j = 0; j < d; j++) this.#pilot[j] = values[starts[0] + j];
      for (const [t, y] of this.#targets.entries()) this.#targetPilot[t] = y[0];
    }
    const deviations = this.#targets.map((y, t) =>
      y.subarray(this.#seen, this.#seen + rows.length).map((value) => value - this.#targetPilot[t]),
    );
    for (const [t, y] of deviations.entries()) {
      for (const value of y) {
        this.#run.targetMean[t] += value;
        this.#run.targetSquares[t] += value * value;
      }
    }
    for (let from = 0; from < d; from += TILE) {
      this.#addTile(values, starts, deviations, from, Math.min(d, from + TILE));
      if (this.#pacer.due) await this.#pacer.turn();
    }
    this.#seen += rows.length;
    this.#inRun += rows.length;
    if (this.#inRun === RUN) this.#endRun();
  }

  #addTile(
    values: Float32Array,
    starts: Float64Array,
    deviations: readonly Float64Array[],
    from: number,
    to: number,
  ): void {
    const { mean, sumOfSquares, products } = this.#run;
    const pilot = this.#pilot;
    const d = this.#neurons;
    for (let r = 0; r < starts.length; r++) {
      const start = starts[r];
      for (let j = from; j < to; j++) {
        const v = values[start + j] - pilot[j];
        mean[j] += v;
        sumOfSquares[j] += v * v;
      }
      for (let t = 0; t < deviations.length; t++) {
        const y = deviations[t][r];
        const row = t * d;
        for (let j = from; j < to; j++) products[row + j] += (values[start + j] - pilot[j]) * y;
      }
    }
  }

  /** Turns the run's sums into moments, adds them to the total and starts the next run about the mean so far. */
  #endRun(): void {
    const n = this.#inRun;
    if (n === 0) return;
    const d = this.#neurons;
    const { mean, sumOfSquares, targetMean, targetSquares, products } = this.#run;
    for (let t = 0; t < targetMean.length; t++) {
      const shift = targetMean[t] / n;
      for (let j = 0; j < d; j++) products[t * d + j] -= mean[j] * shift;
      targetSquares[t] = Math.max(0, targetSquares[t] - targetMean[t] * shift);
      targetMean[t] = this.#targetPilot[t] + shift;
    }
    for (let j = 0; j < d; j++) {
      const shift = mean[j] / n;
      // max lets NaN through.
      sumOfSquares[j] = Math.max(0, sumOfSquares[j] - mean[j] * shift);
      mean[j] = this.#pilot[j] + shift;
    }
    this.#total = mergeTargetMoments(this.#total, { ...this.#run, count: n });
    this.#pilot.set(this.#total.mean);
    this.#targetPilot.set(this.#total.targetMean);
    for (const sums of [mean, sumOfSquares, targetMean, targetSquares, products]) sums.fill(0);
    this.#inRun = 0;
  }
}
