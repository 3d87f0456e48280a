/** The training rows of a source, read on the host: every row once for the moments, chosen columns afterwards. */
import type { Backend, CallOptions } from "../backends/backend.ts";
import { createCpuBackend } from "../backends/cpu/cpu-backend.ts";
import { Pacer } from "../backends/cpu/pacer.ts";
import { gatherAsColumns } from "../backends/cpu/reference/gather-columns.ts";
import { Activations, type Provenance } from "../data/activations.ts";
import type { RowSelection } from "../data/labels.ts";
import type { TargetMoments } from "../data/target-moments.ts";
import { trainingRows } from "../data/targets.ts";
import {
  isBlocks,
  isDevice,
  isForeign,
  openActivations,
  visitBlocks,
  type ActivationBlocks,
  type ActivationSource,
} from "../probes/activation-source.ts";
import { MomentAccumulator } from "./accumulate-moments.ts";

/** Values of a device's activations that are copied to the host at a time. */
const CHUNK = 2 ** 24;

export interface TrainingData {
  readonly neurons: number;
  readonly provenance: Provenance;
  /** Rows of the whole source. */
  readonly sourceRows: number;
  /** The training rows, ascending. */
  readonly rows: Uint32Array;
  /** Moments of all neurons and the targets given, each on the training rows. */
  moments(targets: readonly Float64Array[], options: CallOptions): Promise<TargetMoments>;
  /** Float32 columns of the neurons given, on the training rows. */
  columns(neurons: Uint32Array, options: CallOptions): Promise<Float32Array[]>;
  close(): void;
}

/**
 * Opens any source of activations.
 * @throws what `openActivations` throws
 * @throws ShapeError | EmptyDataError when the rows do not exist
 */
export async function openTrainingData(
  source: ActivationSource,
  selection: RowSelection | undefined,
  backend: Backend | undefined,
  options: CallOptions,
): Promise<TrainingData> {
  if (typeof source === "object" && isBlocks(source)) return new StreamedRows(source, selection);
  if (typeof source === "object" && (isDevice(source) || isForeign(source))) {
    const owner = backend ?? createCpuBackend();
    const open = await openActivations(source, owner, options);
    const { x } = await open.columns(new Uint32Array(0), options);
    const { rows, neurons, provenance } = open;
    if (owner.info.kind === "cpu") {
      const host = await x.read(options);
      return new HostRows(host, selection);
    }
    const gather = (columns: Uint32Array) => owner.gatherColumns(x, columns, options);
    return new DeviceRows({ rows, neurons, provenance, gather, close: () => open.close() }, selection);
  }
  return new HostRows(Activations.from(source), selection);
}

/** A matrix on the host. */
class HostRows implements TrainingData {
  readonly neurons: number;
  readonly provenance: Provenance;
  readonly sourceRows: number;
  readonly rows: Uint32Array;
  readonly #x: Activations;

  constructor(x: Activations, selection: RowSelection | undefined) {
    this.#x = x;
    this.neurons = x.neurons;
    this.provenance = x.provenance;
    this.sourceRows = x.rows;
    this.rows = trainingRows(selection, x.rows);
  }

  async moments(targets: readonly Float64Array[], { signal }: CallOptions): Promise<TargetMoments> {
    const accumulator = new MomentAccumulator(targets, this.neurons, signal);
    await accumulator.add(this.#x, this.rows);
    return accumulator.finish();
  }

  columns(neurons: Uint32Array, { signal }: CallOptions): Promise<Float32Array[]> {
    return gatherAsColumns(this.#x, neurons, this.rows, new Pacer(signal));
  }

  close(): void {
    // The matrix is the caller's.
  }
}

/** Blocks that pass by: once for the moments, once for every call of `columns`. */
class StreamedRows implements TrainingData {
  readonly neurons: number;
  readonly provenance: Provenance;
  readonly sourceRows: number;
  readonly rows: Uint32Array;
  readonly #source: ActivationBlocks;

  constructor(source: ActivationBlocks, selection: RowSelection | undefined) {
    this.#source = source;
    this.neurons = source.neurons;
    this.provenance = source.provenance ?? {};
    this.sourceRows = source.rows;
    this.rows = trainingRows(selection, source.rows);
  }

  async moments(targets: readonly Float64Array[], options: CallOptions): Promise<TargetMoments> {
    const accumulator = new MomentAccumulator(targets, this.neurons, options.signal);
    await this.#visit(options, (block, rows) => accumulator.add(block, rows));
    return accumulator.finish();
  }

  async columns(neurons: Uint32Array, options: CallOptions): Promise<Float32Array[]> {
    const pacer = new Pacer(options.signal);
    const out = Array.from(neurons, () => new Float32Array(this.rows.length));
    await this.#visit(options, async (block, rows, seen) => {
      const parts = await gatherAsColumns(block, neurons, rows, pacer);
      for (const [c, part] of parts.entries()) out[c].set(part, seen);
    });
    return out;
  }

  close(): void {
    // Nothing is kept.
  }

  /** Each block with its training rows, counted within it, and how many came before. */
  async #visit(
    options: CallOptions,
    use: (block: Activations, rows: Uint32Array, seen: number) => Promise<void>,
  ): Promise<void> {
    let seen = 0;
    await visitBlocks(this.#source, options, async (block, start) => {
      let end = seen;
      while (end < this.rows.length && this.rows[end] < start + block.rows) end++;
      await use(
        block,
        this.rows.subarray(seen, end).map((row) => row - start),
        seen,
      );
      seen = end;
    });
  }
}

/** What a device's activations can do for a regression. */
interface DeviceMatrix {
  readonly rows: number;
  readonly neurons: number;
  readonly provenance: Provenance;
  gather(columns: Uint32Array): Promise<Activations>;
  close(): void;
}

/** A matrix on a GPU: copied to the host some columns at a time. */
class DeviceRows implements TrainingData {
  readonly neurons: number;
  readonly provenance: Provenance;
  readonly sourceRows: number;
  readonly rows: Uint32Array;
  readonly #matrix: DeviceMatrix;

  constructor(matrix: DeviceMatrix, selection: RowSelection | undefined) {
    this.#matrix = matrix;
    this.neurons = matrix.neurons;
    this.provenance = matrix.provenance;
    this.sourceRows = matrix.rows;
    this.rows = trainingRows(selection, matrix.rows);
  }

  async moments(targets: readonly Float64Array[], { signal }: CallOptions): Promise<TargetMoments> {
    const d = this.neurons;
    const mean = new Float64Array(d);
    const sumOfSquares = new Float64Array(d);
    const products = new Float64Array(targets.length * d);
    const width = Math.max(1, Math.floor(CHUNK / this.sourceRows));
    let last: TargetMoments | undefined;
    for (let from = 0; from < d; from += width) {
      const columns = Uint32Array.from({ length: Math.min(width, d - from) }, (_, c) => from + c);
      const block = await this.#matrix.gather(columns);
      const accumulator = new MomentAccumulator(targets, columns.length, signal);
      await accumulator.add(block, this.rows);
      last = accumulator.finish();
      mean.set(last.mean, from);
      sumOfSquares.set(last.sumOfSquares, from);
      for (let t = 0; t < targets.length; t++) {
        products.set(last.products.subarray(t * columns.length, (t + 1) * columns.length), t * d + from);
      }
    }
    return { ...last!, neurons: d, mean, sumOfSquares, products };
  }

  async columns(neurons: Uint32Array, { signal }: CallOptions): Promise<Float32Array[]> {
    const block = await this.#matrix.gather(neurons);
    const all = Uint32Array.from(neurons.keys());
    return gatherAsColumns(block, all, this.rows, new Pacer(signal));
  }

  close(): void {
    this.#matrix.close();
  }
}
