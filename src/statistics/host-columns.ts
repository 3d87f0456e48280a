/** Columns of some neurons on the host, and what probes decide on them. */
import type { Backend, CallOptions } from "../backends/backend.ts";
import { NonFiniteError } from "../errors.ts";
import type { FitColumns, OpenActivations } from "../probes/activation-source.ts";
import type { SparseProbe } from "../probes/sparse-probe.ts";

export class HostColumns {
  readonly #values: Float32Array;
  readonly #width: number;
  readonly #place: ReadonlyMap<number, number>;

  private constructor(values: Float32Array, neurons: Uint32Array) {
    this.#values = values;
    this.#width = neurons.length;
    this.#place = new Map(Array.from(neurons, (neuron, c) => [neuron, c]));
  }

  /** Copies the neurons of all rows to the host; `columns` go on being the source's. */
  static async gather(
    source: OpenActivations,
    backend: Backend,
    neurons: Uint32Array,
    options: CallOptions,
  ): Promise<{ columns: FitColumns; host: HostColumns }> {
    const columns = await source.columns(neurons, options);
    // A source that streams has gathered these neurons and no others.
    const held = columns.neurons;
    const host = await backend.gatherColumns(
      columns.x,
      held ? Uint32Array.from(held.keys()) : neurons,
      options,
    );
    return { columns, host: new HostColumns(host.toFloat32(), held ?? neurons) };
  }

  /**
   * Decision values of a probe on some rows.
   * @throws NonFiniteError when a neuron that the probe reads is NaN or infinite there
   */
  decide(probe: SparseProbe, rows: Uint32Array): Float64Array {
    const places = probe.support.map((j) => this.#place.get(j)!);
    const factors = probe.coefficients.map((w, j) => w / probe.scale[j]);
    const out = new Float64Array(rows.length).fill(probe.intercept);
    for (const [r, i] of rows.entries()) {
      for (let j = 0; j < places.length; j++) {
        out[r] += (this.#values[i * this.#width + places[j]] - probe.center[j]) * factors[j];
      }
    }
    const bad = out.findIndex((z) => !Number.isFinite(z));
    if (bad >= 0) {
      throw new NonFiniteError(
        `The decision value of row ${rows[bad]} is ${out[bad]}: a neuron that the probe reads is NaN or infinite there.`,
        "Leave such rows out, or store the activations in a type with a larger range.",
      );
    }
    return out;
  }
}

/** 1/(1 + exp(−decision)). */
export function probabilities(decisions: Float64Array): Float64Array {
  return decisions.map((z) => 1 / (1 + Math.exp(-z)));
}
