/** Everything a probe can be fitted to, behind one face: moments first, then the columns that supports need. */
import {
  Activations,
  type ActivationsInput,
  type ActivationsOptions,
  type Provenance,
} from "../data/activations.ts";
import { emptyClassMoments, mergeClassMoments, type ClassMoments } from "../data/class-moments.ts";
import type { LabelMatrix } from "../data/labels.ts";
import { OptionError, ShapeError } from "../errors.ts";
import type {
  Backend,
  CallOptions,
  ClassMomentsOptions,
  DeviceActivations,
  ForeignBuffer,
} from "../backends/backend.ts";

/** The caller's own GPU buffer, row-major. It is read in place and stays the caller's. */
export interface ForeignActivations {
  readonly buffer: ForeignBuffer;
  readonly shape: readonly [rows: number, neurons: number];
  /** Default `"f32"`. */
  readonly dtype?: "f32" | "f16";
}

/**
 * Activations too large for memory, as blocks of rows in a fixed order. They are read twice: once for the moments,
 * once for the columns of the chosen supports.
 */
export interface ActivationBlocks {
  readonly rows: number;
  readonly neurons: number;
  readonly provenance?: Provenance;
  /** Starts from the first row again at each call. */
  blocks(): Iterable<Activations> | AsyncIterable<Activations>;
}

export type ActivationSource = ActivationsInput | DeviceActivations | ForeignActivations | ActivationBlocks;

/** Columns that fits read: column c of `x` is neuron `neurons[c]`, or neuron c where `neurons` is absent. */
export interface FitColumns {
  readonly x: DeviceActivations;
  readonly neurons?: Uint32Array;
}

/** Sees blocks of rows as they pass by. */
export type BlockObserver = (block: Activations, start: number) => Promise<void>;

/** A source placed on a backend. Call `close()` when done. */
export interface OpenActivations {
  readonly rows: number;
  readonly neurons: number;
  readonly provenance: Provenance;
  /** The activations pass by in blocks: every call reads them all again. */
  readonly streamed: boolean;
  /**
   * Class moments of every neuron for every label set.
   * @param options with `observe`: sees every block of streamed activations in the same pass, with its first row
   */
  classMoments(
    labels: LabelMatrix,
    options?: ClassMomentsOptions & { readonly observe?: BlockObserver | undefined },
  ): Promise<ClassMoments>;
  /** At least the neurons asked for, of all rows; freed by `close()`. */
  columns(neurons: Uint32Array, options?: CallOptions): Promise<FitColumns>;
  close(): void;
}

/**
 * Places activations on a backend.
 * @throws ShapeError | EmptyDataError | OptionError when the input is not a matrix
 * @throws BackendUnavailableError for a GPU buffer on the cpu backend
 */
export async function openActivations(
  source: ActivationSource,
  backend: Backend,
  options: CallOptions & ActivationsOptions = {},
): Promise<OpenActivations> {
  const { signal, ...layout } = options;
  assertBackend(backend);
  if (typeof source !== "object" || (source as unknown) === null) {
    throw new ShapeError(
      "The activations are not a matrix.",
      "Give { data, shape: [rows, neurons] }, one array per row, Activations, or blocks of them.",
    );
  }
  if (isBlocks(source)) return new StreamedActivations(source, backend);
  if (isDevice(source)) return new ResidentActivations(source, backend, layout.provenance ?? {}, false);
  if (isForeign(source)) {
    const [rows, neurons] = source.shape;
    const x = backend.adopt(source.buffer, { rows, neurons, dtype: source.dtype ?? "f32" });
    return new ResidentActivations(x, backend, layout.provenance ?? {}, true);
  }
  const host = Activations.from(source, layout);
  const x = await backend.upload(host, { signal });
  return new ResidentActivations(x, backend, layout.provenance ?? host.provenance, true);
}

/** Activations that the backend holds as a whole. */
class ResidentActivations implements OpenActivations {
  readonly streamed = false;
  readonly rows: number;
  readonly neurons: number;
  readonly provenance: Provenance;
  readonly #x: DeviceActivations;
  readonly #backend: Backend;
  readonly #owned: boolean;

  constructor(x: DeviceActivations, backend: Backend, provenance: Provenance, owned: boolean) {
    this.rows = x.rows;
    this.neurons = x.neurons;
    this.provenance = provenance;
    this.#x = x;
    this.#backend = backend;
    this.#owned = owned;
  }

  classMoments(labels: LabelMatrix, options: ClassMomentsOptions = {}): Promise<ClassMoments> {
    return this.#backend.classMoments(this.#x, labels, options);
  }

  columns(): Promise<FitColumns> {
    return Promise.resolve({ x: this.#x });
  }

  close(): void {
    if (this.#owned) this.#x.dispose();
  }
}

/** Activations that pass by in blocks; only gathered columns stay. */
class StreamedActivations implements OpenActivations {
  readonly streamed = true;
  readonly rows: number;
  readonly neurons: number;
  readonly provenance: Provenance;
  readonly #source: ActivationBlocks;
  readonly #backend: Backend;
  readonly #held: DeviceActivations[] = [];

  constructor(source: ActivationBlocks, backend: Backend) {
    this.rows = source.rows;
    this.neurons = source.neurons;
    this.provenance = source.provenance ?? {};
    this.#source = source;
    this.#backend = backend;
  }

  async classMoments(
    labels: LabelMatrix,
    options: ClassMomentsOptions & { readonly observe?: BlockObserver | undefined } = {},
  ): Promise<ClassMoments> {
    const moments = emptyClassMoments(labels.features.length, this.neurons, options.squares ?? "class");
    await visitBlocks(this.#source, options, async (block, start) => {
      const x = await this.#backend.upload(block, options);
      try {
        const part = await this.#backend.classMoments(x, labels.slice(start, start + block.rows), options);
        mergeClassMoments(moments, part);
      } finally {
        x.dispose();
      }
      await options.observe?.(block, start);
    });
    return moments;
  }

  async columns(neurons: Uint32Array, options: CallOptions = {}): Promise<FitColumns> {
    const values = new Float32Array(this.rows * neurons.length);
    await visitBlocks(this.#source, options, (block, start) => {
      values.set(block.gatherColumns(neurons).toFloat32(), start * neurons.length);
    });
    const x = await this.#backend.upload(new Activations(values, [this.rows, neurons.length]), options);
    this.#held.push(x);
    return { x, neurons };
  }

  close(): void {
    for (const x of this.#held.splice(0)) x.dispose();
  }
}

/**
 * Hands over the blocks of a source in turn, with the number of each block's first row.
 * @throws ShapeError when the blocks do not add up to what the source promised
 */
export async function visitBlocks(
  source: ActivationBlocks,
  options: CallOptions,
  use: (block: Activations, start: number) => Promise<void> | void,
): Promise<void> {
  let start = 0;
  for await (const block of source.blocks()) {
    options.signal?.throwIfAborted();
    if (block.neurons !== source.neurons || start + block.rows > source.rows) {
      throw new ShapeError(
        `A block of ${block.rows} × ${block.neurons} follows row ${start} of ${source.rows} × ${source.neurons}.`,
        "Give blocks whose rows add up, with the same neurons in each.",
      );
    }
    await use(block, start);
    start += block.rows;
  }
  if (start !== source.rows) {
    throw new ShapeError(
      `The blocks held ${start} rows, and ${source.rows} were promised.`,
      "Give as many rows as the source says, at every pass.",
    );
  }
}

/** @throws OptionError for a backend's name in place of a backend, which JavaScript callers may give */
function assertBackend(backend: Backend): void {
  if (typeof (backend as Partial<Backend>).upload === "function") return;
  throw new OptionError(
    `The backend is ${JSON.stringify(backend)}.`,
    'Give what createBackend() returned, e.g. backend: await createBackend("cpu").',
  );
}

export function isBlocks(source: ActivationSource): source is ActivationBlocks {
  return typeof (source as Partial<ActivationBlocks>).blocks === "function";
}

export function isDevice(source: ActivationSource): source is DeviceActivations {
  const { read, dispose } = source as Partial<DeviceActivations>;
  return typeof read === "function" && typeof dispose === "function";
}

export function isForeign(source: ActivationSource): source is ForeignActivations {
  return typeof (source as Partial<ForeignActivations>).buffer?.destroy === "function";
}
