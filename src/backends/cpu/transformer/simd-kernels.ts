/** Transformer kernels in WebAssembly SIMD (sources in wasm/assembly). */
import { Activations, type ActivationsOptions } from "../../../data/activations.ts";
import type {
  Aggregation,
  AttentionLayer,
  CallOptions,
  DeviceActivations,
  RotarySpec,
  RowSegments,
  TransformerSpec,
} from "../../backend.ts";
import { rotaryTable } from "../../rotary.ts";
import { CHANGE_CODE, type ColumnChange } from "../../interventions.ts";
import { CpuActivations } from "../cpu-activations.ts";
import { Scope, type KernelMemory } from "../wasm/kernel-memory.ts";
import type { KernelPool, Step } from "../wasm/kernel-pool.ts";
import type {
  FloatBuffer,
  LinearMap,
  LinearOptions,
  NormParts,
  NormWeights,
  TransformerKernels,
} from "./kernels.ts";

/** Columns of a packed panel and rows of an item, as in wasm/assembly/linear.ts. */
const PANEL = 8;
const BLOCK = 48;
/** Multiplications and additions of an item: about 0.3 ms. */
const ITEM_OPERATIONS = 16e6;

/** Rows and values of an item, as in wasm/assembly/intervene.ts. */
const CHANGED_ROWS = 64;
const VALUES = 16384;
/** Panels of an item of sums of exponentials at least: each leaves a maximum and a sum of every row behind. */
const FEWEST_PANELS = 64;

/** Rows of an item of a norm, as in wasm/assembly/layer-norm.ts. */
const NORM_ROWS = 16;
/** Positions of the smallest table of angles. */
const FEWEST_TURNS = 256;
/** More keys than any sequence has. */
const NO_WINDOW = 2 ** 30;

const ACTIVATIONS = { gelu: 1, "gelu-tanh": 2, relu: 3, silu: 4 } as const;
const AGGREGATIONS = { mean: 0, max: 1, last: 2, token: 2 } as const;

const roundUp = (n: number): number => Math.ceil(n / PANEL) * PANEL;

class SimdBuffer implements FloatBuffer {
  readonly at: number;
  readonly length: number;
  readonly #memory: KernelMemory;

  constructor(memory: KernelMemory, at: number, length: number) {
    this.#memory = memory;
    this.at = at;
    this.length = length;
  }

  static allocate(memory: KernelMemory, length: number): SimdBuffer {
    return new SimdBuffer(memory, memory.allocate(4 * length), length);
  }

  view(): Float32Array {
    return this.#memory.f32(this.at, this.length);
  }
}

class PackedLinearMap implements LinearMap {
  readonly inputs: number;
  readonly outputs: number;
  readonly weight: SimdBuffer;
  readonly bias: SimdBuffer;

  constructor(
    memory: KernelMemory,
    weight: Float32Array,
    bias: Float32Array | null,
    outputs: number,
    inputs: number,
  ) {
    this.inputs = inputs;
    this.outputs = outputs;
    this.weight = SimdBuffer.allocate(memory, roundUp(outputs) * inputs);
    this.bias = SimdBuffer.allocate(memory, roundUp(outputs));
    const biases = this.bias.view().fill(0);
    if (bias) biases.set(bias);
    const packed = this.weight.view();
    if (outputs % PANEL !== 0) packed.fill(0, (outputs - (outputs % PANEL)) * inputs);
    for (let o = 0; o < outputs; o++) {
      const panel = (o - (o % PANEL)) * inputs + (o % PANEL);
      const row = o * inputs;
      for (let i = 0; i < inputs; i++) packed[panel + i * PANEL] = weight[row + i];
    }
  }
}

/** The bits of a float32. */
const floatBits = (value: number): number => new Uint32Array(Float32Array.of(value).buffer)[0];

/** @param pool whose memory these kernels own */
export function simdKernels(
  pool: KernelPool,
  spec: TransformerSpec,
): TransformerKernels<SimdBuffer, PackedLinearMap> {
  return new SimdKernels(pool, spec);
}

class SimdKernels implements TransformerKernels<SimdBuffer, PackedLinearMap> {
  readonly name = "WebAssembly SIMD";
  readonly #pool: KernelPool;
  readonly #memory: KernelMemory;
  readonly #spec: TransformerSpec;
  /** Angles by rotary settings, for as many positions as a sequence has had. */
  readonly #turns = new Map<string, SimdBuffer>();
  /** Tables that have been replaced by larger ones, but may still be read by what is asked for. */
  #outgrown: SimdBuffer[] = [];
  /** As long as the longest norm. */
  readonly #zeros: SimdBuffer;
  #program: Program;

  constructor(pool: KernelPool, spec: TransformerSpec) {
    this.#pool = pool;
    this.#memory = pool.memory;
    this.#spec = spec;
    this.#program = new Program(pool.memory);
    this.#zeros = this.allocate(Math.max(PANEL, spec.dModel, spec.dHead));
    this.#zeros.view().fill(0);
  }

  allocate(length: number): SimdBuffer {
    return SimdBuffer.allocate(this.#memory, length);
  }

  free(buffer: SimdBuffer): void {
    this.#memory.free(buffer.at);
  }

  part(buffer: SimdBuffer, from: number, length: number): SimdBuffer {
    return new SimdBuffer(this.#memory, buffer.at + 4 * from, length);
  }

  linearMap(
    weight: Float32Array,
    bias: Float32Array | null,
    outputs: number,
    inputs: number,
  ): PackedLinearMap {
    return new PackedLinearMap(this.#memory, weight, bias, outputs, inputs);
  }

  weightsOf({ weight, inputs }: PackedLinearMap, output: number, to: Float32Array): void {
    const packed = weight.view();
    const panel = (output - (output % PANEL)) * inputs + (output % PANEL);
    for (let i = 0; i < inputs; i++) to[i] = packed[panel + i * PANEL];
  }

  biasOf({ bias }: PackedLinearMap, output: number): number {
    return bias.view()[output];
  }

  freeMap({ weight, bias }: PackedLinearMap): void {
    this.free(weight);
    this.free(bias);
  }

  linear(
    x: SimdBuffer,
    map: PackedLinearMap,
    y: SimdBuffer,
    rows: number,
    { norm, softcap, activated, factor, sum }: LinearOptions<SimdBuffer> = {},
  ): void {
    const { inputs, outputs, weight, bias } = map;
    const panels = Math.ceil(outputs / PANEL);
    const panelOperations = 2 * Math.min(rows, BLOCK) * inputs * PANEL;
    const perItem = Math.min(panels, Math.max(1, Math.floor(ITEM_OPERATIONS / panelOperations)));
    const items = Math.ceil(rows / BLOCK) * Math.ceil(panels / perItem);
    this.#program.add(
      "linearRows",
      items,
      [
        x.at,
        weight.at,
        bias.at,
        y.at,
        rows,
        inputs,
        outputs,
        perItem,
        norm?.gain.at ?? 0,
        norm?.bias?.at ?? this.#zeros.at,
        floatBits(this.#spec.norm.epsilon),
        activated ? ACTIVATIONS[this.#spec.mlp.activation] : 0,
        activated?.at ?? 0,
        sum?.from.at ?? 0,
        sum?.and?.at ?? 0,
        sum?.to.at ?? 0,
        factor?.at ?? 0,
        floatBits(softcap ?? 0),
        this.#spec.norm.kind === "layer" ? 1 : 0,
      ],
      2 * rows * inputs * outputs,
      4 * (BLOCK * inputs + 64),
    );
  }

  attention(qkv: SimdBuffer, offsets: ArrayLike<number>, z: SimdBuffer, layer: AttentionLayer): void {
    const { heads, kvHeads, dHead } = this.#spec;
    const { scale, softcap } = this.#spec.attention;
    const { rotary, window } = layer;
    const items: number[] = [];
    let longest = 0;
    let operations = 0;
    for (let s = 0; s + 1 < offsets.length; s++) {
      const first = offsets[s];
      const length = offsets[s + 1] - first;
      longest = Math.max(longest, length);
      const perHead = 2 * length * (length + 16) * dHead;
      operations += heads * perHead;
      const together = Math.min(heads, Math.max(1, Math.floor(ITEM_OPERATIONS / perHead)));
      // Every part of the queries packs the keys again, so parts are not small.
      const parts = Math.max(1, Math.round(perHead / (2 * ITEM_OPERATIONS)));
      const queries = Math.max(8 * PANEL, roundUp(Math.ceil(length / parts)));
      for (let head = 0; head < heads; head += together) {
        for (let query = 0; query < length; query += queries) {
          items.push(
            first,
            head,
            Math.min(together, heads - head),
            query,
            Math.min(length, query + queries),
            0,
          );
        }
      }
    }
    const t8 = roundUp(longest);
    this.#program.add(
      "attendHeads",
      items.length / 6,
      [
        qkv.at,
        z.at,
        this.#program.lists.copyOf(Uint32Array.from(items)),
        heads,
        dHead,
        rotary?.dims ?? 0,
        rotary ? this.#turnsOf(rotary, longest).at : 0,
        this.#zeros.at,
        kvHeads,
        floatBits(scale),
        floatBits(softcap ?? 0),
        Math.min(window ?? NO_WINDOW, NO_WINDOW),
      ],
      operations,
      4 * (t8 * (dHead + roundUp(dHead) + 8) + 8 * dHead + 64),
    );
  }

  normalise(
    x: SimdBuffer,
    { gain, bias }: NormWeights<SimdBuffer>,
    rows: number,
    { stride, first, count }: NormParts,
    sum?: SimdBuffer,
  ): void {
    this.#program.add(
      "normRows",
      Math.ceil(rows / NORM_ROWS),
      [
        x.at + 4 * first,
        stride,
        rows,
        count,
        gain.length,
        gain.at,
        bias?.at ?? this.#zeros.at,
        floatBits(this.#spec.norm.epsilon),
        this.#spec.norm.kind === "layer" ? 1 : 0,
        sum ? sum.at + 4 * first : 0,
      ],
      4 * rows * count * gain.length,
    );
  }

  aggregate(
    x: SimdBuffer,
    width: number,
    how: Aggregation,
    { rows, offsets }: RowSegments,
    out: SimdBuffer,
    first: number,
  ): void {
    this.#program.add(
      "aggregateRows",
      offsets.length - 1,
      [
        x.at,
        width,
        this.#program.lists.copyOf(rows),
        this.#program.lists.copyOf(offsets),
        out.at + 4 * first * width,
        AGGREGATIONS[how],
      ],
      rows.length * width,
    );
  }

  change(
    x: SimdBuffer,
    width: number,
    rows: number | Uint32Array,
    { kind, columns, values }: ColumnChange,
  ): void {
    const { lists } = this.#program;
    const count = typeof rows === "number" ? rows : rows.length;
    this.#program.add(
      "changeRows",
      Math.ceil(count / CHANGED_ROWS),
      [
        x.at,
        width,
        typeof rows === "number" ? 0 : lists.copyOf(rows),
        count,
        lists.copyOf(columns),
        columns.length,
        lists.copyOf(values),
        CHANGE_CODE[kind],
      ],
      4 * count * columns.length,
    );
  }

  activate(x: SimdBuffer, y: SimdBuffer, count: number, factor?: SimdBuffer): void {
    this.#program.add(
      "activateValues",
      Math.ceil(count / VALUES),
      [x.at, y.at, factor?.at ?? 0, count, ACTIVATIONS[this.#spec.mlp.activation]],
      16 * count,
      16,
    );
  }

  add(x: SimdBuffer, and: SimdBuffer | undefined, to: SimdBuffer, count: number): void {
    const args = [x.at, and?.at ?? 0, to.at, count];
    this.#program.add("addValues", Math.ceil(count / VALUES), args, 2 * count);
  }

  losses(
    x: SimdBuffer,
    { inputs, outputs, weight, bias }: PackedLinearMap,
    targets: Uint32Array,
    out: Float32Array,
    { norm, softcap }: Pick<LinearOptions<SimdBuffer>, "norm" | "softcap">,
  ): void {
    const rows = targets.length;
    const { lists } = this.#program;
    const panels = Math.ceil(outputs / PANEL);
    const panelOperations = 2 * Math.min(rows, BLOCK) * inputs * PANEL;
    const perItem = Math.max(FEWEST_PANELS, Math.floor(ITEM_OPERATIONS / panelOperations));
    const groups = Math.ceil(panels / perItem);
    const own = lists.allocate(4 * rows);
    const parts = lists.allocate(8 * groups * rows);
    this.#program.add(
      "sumExponentials",
      Math.ceil(rows / BLOCK) * groups,
      [
        x.at,
        weight.at,
        bias.at,
        rows,
        inputs,
        outputs,
        perItem,
        norm?.gain.at ?? 0,
        norm?.bias?.at ?? this.#zeros.at,
        floatBits(this.#spec.norm.epsilon),
        this.#spec.norm.kind === "layer" ? 1 : 0,
        floatBits(softcap ?? 0),
        lists.copyOf(targets),
        own,
        parts,
      ],
      2 * rows * inputs * outputs,
      4 * (BLOCK * inputs + 64 + 2 * 4 * BLOCK),
    );
    this.#program.afterwards.push(() => {
      const logits = this.#memory.f32(own, rows);
      const sums = this.#memory.f32(parts, 2 * groups * rows);
      for (let r = 0; r < rows; r++) {
        let high = -Infinity;
        for (let at = 2 * r; at < sums.length; at += 2 * rows) high = Math.max(high, sums[at]);
        let total = 0;
        for (let at = 2 * r; at < sums.length; at += 2 * rows)
          total += sums[at + 1] * Math.exp(sums[at] - high);
        out[r] = Math.log(total) + high - logits[r];
      }
    });
  }

  wait(): void {
    this.#program.wait();
  }

  async run({ signal }: CallOptions = {}): Promise<void> {
    const program = this.#program;
    this.#program = new Program(this.#memory);
    try {
      await this.#pool.runProgram(program.steps(this.#pool.threads), {
        signal,
        operations: program.operations,
      });
      for (const finish of program.afterwards) finish();
    } finally {
      program.close();
      this.#freeOutgrown();
    }
  }

  drop(): void {
    this.#program.close();
    this.#program = new Program(this.#memory);
    this.#freeOutgrown();
  }

  /** Angles of at least so many positions. */
  #turnsOf(rotary: RotarySpec, positions: number): SimdBuffer {
    const key = JSON.stringify(rotary);
    const known = this.#turns.get(key);
    if (known && known.length >= positions * rotary.dims) return known;
    if (known) this.#outgrown.push(known);
    // A power of two, so that sequences that grow longer and longer replace few tables.
    const count = Math.min(this.#spec.context, 2 ** Math.ceil(Math.log2(Math.max(positions, FEWEST_TURNS))));
    const turns = this.allocate(count * rotary.dims);
    turns.view().set(rotaryTable(rotary, count));
    this.#turns.set(key, turns);
    return turns;
  }

  #freeOutgrown(): void {
    for (const turns of this.#outgrown) this.free(turns);
    this.#outgrown = [];
  }

  lend(buffer: SimdBuffer, rows: number, neurons: number, options: ActivationsOptions): DeviceActivations {
    const data = buffer.view().subarray(0, rows * neurons);
    if (!this.#memory.shared) {
      // Such memory moves when it grows.
      const copy = new CpuActivations(new Activations(data.slice(), [rows, neurons], options));
      this.free(buffer);
      return copy;
    }
    return new CpuActivations(new Activations(data, [rows, neurons], options), () => this.free(buffer));
  }

  dispose(): void {
    this.#program.close();
    this.#pool.release();
  }
}

/** Steps that have been asked for, and what they read besides buffers. */
class Program {
  /** Lists that live as long as the program. */
  readonly lists: Scope;
  operations = 0;
  /** What the calling thread does with the results. */
  readonly afterwards: (() => void)[] = [];
  readonly #steps: { readonly step: Step; readonly scratch: boolean }[] = [];
  /** Scratch bytes of a thread. */
  #scratchBytes = 0;
  #beside = false;

  constructor(memory: KernelMemory) {
    this.lists = new Scope(memory);
  }

  /** @param scratchBytes that a thread needs; where they lie and how many they are become the last two words */
  add(job: string, items: number, args: readonly number[], operations: number, scratchBytes = 0): void {
    this.#steps.push({ step: { job, items, args, beside: this.#beside }, scratch: scratchBytes > 0 });
    this.#scratchBytes = Math.max(this.#scratchBytes, Math.ceil(scratchBytes / 64) * 64);
    this.operations += operations;
    this.#beside = true;
  }

  wait(): void {
    this.#beside = false;
  }

  steps(threads: number): Step[] {
    const bytes = this.#scratchBytes;
    const at = bytes > 0 ? this.lists.allocate(threads * bytes) : 0;
    return this.#steps.map(({ step, scratch }) =>
      scratch ? { ...step, args: [...step.args, at, bytes] } : step,
    );
  }

  close(): void {
    this.lists.close();
  }
}
