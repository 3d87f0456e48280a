/** Reads a transformer's weights tensor by tensor, into the layout that every backend computes with. */
import type { TensorSource } from "../data/tensor.ts";
import type { LoadTransformerOptions, TransformerSpec } from "./backend.ts";
import {
  assertTensors,
  requiredTensors,
  type LinearTensors,
  type NormTensors,
  type TransformerTensors,
} from "./transformer-tensors.ts";

/** A linear map's values. */
export interface LinearValues {
  /** [outputs × inputs] */
  readonly weight: Float32Array;
  /** [outputs] */
  readonly bias: Float32Array | null;
}

/** A norm's values; the gain is what the normalised value is multiplied by. */
export interface NormValues {
  readonly gain: Float32Array;
  readonly bias: Float32Array | null;
}

/** Reads the tensors of a checkpoint that has been found to fit its config. At most one linear map is held at a time. */
export class TransformerWeightReader {
  readonly tensors: TransformerTensors;
  readonly #spec: TransformerSpec;
  readonly #source: TensorSource;
  readonly #options: LoadTransformerOptions;
  readonly #total: number;
  readonly #read = new Set<string>();

  /**
   * @throws MissingTensorError when tensors are missing or misshapen
   * @throws UnsupportedModelError when the weights are quantised
   */
  constructor(spec: TransformerSpec, source: TensorSource, options: LoadTransformerOptions) {
    this.#spec = spec;
    this.#source = source;
    this.#options = options;
    this.tensors = assertTensors(spec, source);
    this.#total = requiredTensors(spec, this.tensors).size;
  }

  /** A tensor as it is stored. */
  async tensor(name: string): Promise<Float32Array> {
    const { signal, onProgress } = this.#options;
    signal?.throwIfAborted();
    const { data } = await this.#source.read(name, { signal });
    this.#read.add(name);
    onProgress?.(this.#read.size, this.#total);
    return data;
  }

  async norm({ name, bias }: NormTensors): Promise<NormValues> {
    const stored = await this.tensor(`${name}.weight`);
    const { gainOffset } = this.#spec.norm;
    return {
      gain: gainOffset === 0 ? stored : stored.map((value) => value + gainOffset),
      bias: bias ? await this.tensor(`${name}.bias`) : null,
    };
  }

  async linear(map: LinearTensors): Promise<LinearValues> {
    const { outputs, inputs, pieces } = map;
    const order = map.byHead ? headOrder(this.#spec) : undefined;
    const bias = map.bias ? new Float32Array(outputs) : null;
    let weight: Float32Array | undefined;
    let at = 0;
    for (const { name, stored, first, count } of pieces) {
      if (bias)
        place(await this.tensor(`${name}.bias`), { stored, inputs: 1, first, count }, bias, at, order);
      const data = await this.tensor(`${name}.weight`);
      // What is stored as it is used is not copied.
      if (count === outputs && stored === outputs && !map.inputsFirst && !order) weight = data;
      else {
        weight ??= new Float32Array(outputs * inputs);
        place(data, { stored, inputs, first, count, inputsFirst: map.inputsFirst }, weight, at, order);
      }
      at += count;
    }
    return { weight: weight!, bias };
  }
}

/** Puts `count` stored outputs, from `first` on, to output `at` and those after it, or where `order` says. */
function place(
  data: Float32Array,
  from: {
    readonly stored: number;
    readonly inputs: number;
    readonly first: number;
    readonly count: number;
    readonly inputsFirst?: boolean;
  },
  to: Float32Array,
  at: number,
  order: Uint32Array | undefined,
): void {
  const { stored, inputs, first, count, inputsFirst = false } = from;
  for (let o = 0; o < count; o++) {
    const row = (order ? order[o] : at + o) * inputs;
    if (inputsFirst) for (let i = 0; i < inputs; i++) to[row + i] = data[i * stored + first + o];
    else to.set(data.subarray((first + o) * inputs, (first + o + 1) * inputs), row);
  }
}

/** Where rows go that are stored head by head, query, key, value: all queries come first, then all keys, then all values. */
function headOrder({ heads, dHead }: TransformerSpec): Uint32Array {
  return Uint32Array.from({ length: 3 * heads * dHead }, (_, row) => {
    const part = Math.floor(row / dHead) % 3;
    const head = Math.floor(row / (3 * dHead));
    return (part * heads + head) * dHead + (row % dHead);
  });
}
