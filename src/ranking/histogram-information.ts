/**
 * Mutual information of every neuron with a class, from histograms that one pass over the rows fills: what can be had when
 * activations stream by and are not kept.
 */
import { Pacer } from "../backends/cpu/pacer.ts";
import type { Activations } from "../data/activations.ts";
import { UNLABELLED, type LabelMatrix } from "../data/labels.ts";

/** Labelled rows that place the bins. */
const PILOT = 256;

/** Bins an octave, and octaves on either side of the centre. */
const PER_OCTAVE = 8;
const OCTAVES = 16;
const SIDE = PER_OCTAVE * OCTAVES;
const BINS = 2 * SIDE;

/** Float32 bits of 1, and how many of them are below a bin. */
const ONE = 0x3f800000;
const SHIFT = 20;

/** Bins of about equal counts that the estimate is taken from. */
const COARSE = 16;

/**
 * Counts by neuron, class and bin. Bins are narrow about the centre of the first {@link PILOT} labelled rows and widen with
 * the distance from it: 8 to an octave of 1 + |x − centre|/scale, where the centre is the median of these rows and the scale
 * an eighth of their interquartile range; where that is zero, a 64th of the distance to the first other value. The blocks in
 * which rows arrive make no difference.
 *
 * At the end, neighbouring bins are joined to 16 of about equal counts, and
 *
 *     Σ n_bc/n·log(n·n_bc/(n_b·n_c)) − (B − 1)/(2n),  at least 0,
 *
 * in nats; the last term takes off the bias of B filled bins (Miller 1955, "Note on the bias of information estimates").
 * Memory: 2 kB by neuron.
 */
export class HistogramInformation {
  readonly #neurons: number;
  readonly #counts: Uint32Array;
  readonly #centre: Float64Array;
  /** 1/scale; 0 until the neuron has had two different values. */
  readonly #density: Float64Array;
  /** Rows of the pilot, until it is complete. */
  #pilot: Float32Array | null;
  readonly #pilotLabels = new Uint8Array(PILOT);
  #pilotRows = 0;
  readonly #distance: Float32Array;
  readonly #distanceBits: Int32Array;

  constructor(neurons: number) {
    this.#neurons = neurons;
    this.#counts = new Uint32Array(neurons * 2 * BINS);
    this.#centre = new Float64Array(neurons);
    this.#density = new Float64Array(neurons);
    this.#pilot = new Float32Array(neurons * PILOT);
    this.#distance = new Float32Array(neurons);
    this.#distanceBits = new Int32Array(this.#distance.buffer);
  }

  /**
   * Counts further rows; unlabelled ones are passed over.
   * @param values [rows × neurons] row-major, finite in labelled rows
   * @param labels 1, 0 or `UNLABELLED` by row
   */
  add(values: Float32Array, labels: Uint8Array): void {
    const d = this.#neurons;
    for (let i = 0; i < labels.length; i++) {
      if (labels[i] === UNLABELLED) continue;
      const row = values.subarray(i * d, (i + 1) * d);
      if (!this.#pilot) {
        this.#count(row, labels[i]);
        continue;
      }
      this.#pilot.set(row, this.#pilotRows * d);
      this.#pilotLabels[this.#pilotRows++] = labels[i];
      if (this.#pilotRows === PILOT) this.#place();
    }
  }

  /** Mutual information of every neuron in nats; 0 for a constant neuron. Ends the counting. */
  scores(): Float64Array {
    if (this.#pilot) this.#place();
    return Float64Array.from({ length: this.#neurons }, (_, j) =>
      this.#density[j] === 0
        ? 0
        : informationOfCounts(
            this.#counts.subarray(2 * j * BINS, (2 * j + 1) * BINS),
            this.#counts.subarray((2 * j + 1) * BINS, (2 * j + 2) * BINS),
          ),
    );
  }

  /** Places the bins by the pilot's rows, and counts these. */
  #place(): void {
    const d = this.#neurons;
    const n = this.#pilotRows;
    const rows = this.#pilot!;
    this.#pilot = null;
    const column = new Float32Array(n);
    for (let j = 0; j < d && n > 0; j++) {
      for (let i = 0; i < n; i++) column[i] = rows[i * d + j];
      column.sort();
      this.#centre[j] = column[n >> 1];
      const width = column[Math.floor((3 * n) / 4)] - column[n >> 2];
      if (width > 0) this.#density[j] = 8 / width;
    }
    for (let i = 0; i < n; i++) this.#count(rows.subarray(i * d, (i + 1) * d), this.#pilotLabels[i]);
  }

  #count(row: Float32Array, label: number): void {
    const counts = this.#counts;
    const distance = this.#distance;
    const bits = this.#distanceBits;
    for (let j = 0; j < row.length; j++) {
      const off = row[j] - this.#centre[j];
      if (this.#density[j] === 0 && off !== 0) this.#density[j] = 64 / Math.abs(off);
      distance[j] = 1 + Math.abs(off) * this.#density[j];
    }
    for (let j = 0; j < row.length; j++) {
      const bin = Math.min((bits[j] - ONE) >> SHIFT, SIDE - 1);
      const place = row[j] < this.#centre[j] ? SIDE - 1 - bin : SIDE + bin;
      counts[(2 * j + label) * BINS + place]++;
    }
  }
}

/** Values that are counted before the event loop may have a turn. */
const STEP_VALUES = 2 ** 20;

/** Counts a block of rows for every feature, and lets the event loop turn meanwhile. */
export async function countBlock(
  histograms: readonly HistogramInformation[],
  block: Activations,
  labels: LabelMatrix,
  firstRow: number,
  signal: AbortSignal | undefined,
): Promise<void> {
  const pacer = new Pacer(signal);
  const values = block.toFloat32();
  const d = block.neurons;
  const step = Math.max(1, Math.floor(STEP_VALUES / d));
  for (const [f, histogram] of histograms.entries()) {
    const y = labels.of(f).subarray(firstRow, firstRow + block.rows);
    for (let row = 0; row < block.rows; row += step) {
      histogram.add(values.subarray(row * d, (row + step) * d), y.subarray(row, row + step));
      if (pacer.due) await pacer.turn();
    }
  }
}

/** The estimate from the counts of both classes in fine bins. */
function informationOfCounts(negative: Uint32Array, positive: Uint32Array): number {
  let n0 = 0;
  let n1 = 0;
  for (let b = 0; b < BINS; b++) {
    n0 += negative[b];
    n1 += positive[b];
  }
  const n = n0 + n1;
  const joined0 = new Float64Array(COARSE);
  const joined1 = new Float64Array(COARSE);
  let before = 0;
  for (let b = 0; b < BINS; b++) {
    const count = negative[b] + positive[b];
    // A bin goes where its middle lies among the rows.
    const group = Math.min(COARSE - 1, Math.floor((COARSE * (before + count / 2)) / n));
    joined0[group] += negative[b];
    joined1[group] += positive[b];
    before += count;
  }
  let filled = 0;
  let information = 0;
  for (let g = 0; g < COARSE; g++) {
    const total = joined0[g] + joined1[g];
    if (total === 0) continue;
    filled++;
    if (joined0[g] > 0) information += (joined0[g] / n) * Math.log((n / total) * (joined0[g] / n0));
    if (joined1[g] > 0) information += (joined1[g] / n) * Math.log((n / total) * (joined1[g] / n1));
  }
  return Math.max(0, information - (filled - 1) / (2 * n));
}
