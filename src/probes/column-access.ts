/** Columns of open activations for rankings: from memory, or from as few passes over the blocks as memory allows. */
import type { Backend, CallOptions, DeviceActivations } from "../backends/backend.ts";
import type { Activations } from "../data/activations.ts";
import type { OpenActivations } from "./activation-source.ts";

/** Bytes of columns that one pass over blocks keeps, unless the source says how many. */
const PASS_BYTES = 256 * 2 ** 20;

/** Bytes of columns that are worked on at a time. */
const BLOCK_BYTES = 8 * 2 ** 20;

/** A part of `OpenActivations`; what `ranking` needs of it. */
export type ColumnSource = Pick<OpenActivations, "rows" | "neurons" | "columns" | "streamed"> & {
  /** Bytes of columns that may be asked for at once of a source that streams. */
  readonly passBytes?: number;
};

export class ColumnAccess {
  readonly #backend: Backend;
  readonly #source: ColumnSource;
  readonly #options: CallOptions;
  readonly #placed: DeviceActivations[] = [];

  constructor(backend: Backend, source: ColumnSource, options: CallOptions) {
    this.#backend = backend;
    this.#source = source;
    this.#options = options;
  }

  /** All rows of some neurons on the host, in the order given. */
  async host(neurons: Uint32Array): Promise<Activations> {
    const { x, neurons: held } = await this.#source.columns(neurons, this.#options);
    try {
      return await this.#backend.gatherColumns(x, placesIn(neurons, held), this.#options);
    } finally {
      if (this.#source.streamed) x.dispose();
    }
  }

  /** The same where the backend computes; freed by {@link close}. */
  async device(neurons: Uint32Array): Promise<DeviceActivations> {
    const { x, neurons: held } = await this.#source.columns(neurons, this.#options);
    const places = placesIn(neurons, held);
    if (x.neurons === places.length && places.every((place, c) => place === c)) return x;
    const gathered = await this.#backend.gatherColumns(x, places, this.#options);
    const placed = await this.#backend.upload(gathered, this.#options);
    this.#placed.push(placed);
    return placed;
  }

  /** Some neurons on the host, a few at a time. */
  async *blocks(neurons: Uint32Array): AsyncGenerator<{ columns: Activations; neurons: Uint32Array }> {
    const width = Math.max(1, Math.floor(BLOCK_BYTES / (4 * this.#source.rows)));
    const most = this.#source.streamed
      ? Math.max(1, Math.floor((this.#source.passBytes ?? PASS_BYTES) / (4 * this.#source.rows)))
      : neurons.length;
    for (let start = 0; start < neurons.length; start += most) {
      const pass = neurons.subarray(start, start + most);
      const { x, neurons: held } = await this.#source.columns(pass, this.#options);
      for (let at = 0; at < pass.length; at += width) {
        const part = pass.subarray(at, at + width);
        const columns = await this.#backend.gatherColumns(x, placesIn(part, held), this.#options);
        yield { columns, neurons: part };
      }
      if (this.#source.streamed) x.dispose();
    }
  }

  close(): void {
    for (const x of this.#placed.splice(0)) x.dispose();
  }
}

/** Where neurons lie among the columns at hand. */
function placesIn(neurons: Uint32Array, held: Uint32Array | undefined): Uint32Array {
  if (!held) return neurons;
  const place = new Map<number, number>(Array.from(held, (neuron, c) => [neuron, c]));
  return neurons.map((neuron) => place.get(neuron)!);
}
