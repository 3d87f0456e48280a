/** Kernels of the transformer's forward pass, and the tiles that suit a device and a size. */
import activateSource from "#shaders/activate.wgsl";
import addSource from "#shaders/add.wgsl";
import causalAttentionSource from "#shaders/causal-attention.wgsl";
import gateSource from "#shaders/gate.wgsl";
import gatherRowsSource from "#shaders/gather-rows.wgsl";
import headNormSource from "#shaders/head-norm.wgsl";
import interveneSource from "#shaders/intervene.wgsl";
import layerNormSource from "#shaders/layer-norm.wgsl";
import gridSource from "#shaders/lib/grid.wgsl";
import mlpActivationSource from "#shaders/lib/mlp-activation.wgsl";
import reduceSource from "#shaders/lib/reduce.wgsl";
import cappedSource from "#shaders/lib/softcap.wgsl";
import weightsSource from "#shaders/lib/weights.wgsl";
import linearSource from "#shaders/linear.wgsl";
import rotarySource from "#shaders/rotary.wgsl";
import softcapSource from "#shaders/softcap.wgsl";
import tokenLossesSource from "#shaders/token-losses.wgsl";
import { UnsupportedModelError } from "../../errors.ts";
import type { MlpActivation, TransformerSpec } from "../backend.ts";
import { defineKernel, type Kernel, type Overrides } from "./kernel.ts";
import { WEIGHT_CODE, type WeightType } from "./weight-matrix.ts";

export const gatherRowsKernel: Kernel<
  { table: "storage-read"; indices: "storage-read"; out: "storage-read-write"; params: "uniform" },
  {
    rows: "u32";
    width: "u32";
    stride: "u32";
    first_row: "u32";
    table_rows: "u32";
    scale: "f32";
    accumulate: "u32";
  },
  { weight_type: number; workgroup_size: number }
> = defineKernel({
  label: "gather-rows",
  source: gridSource + weightsSource + gatherRowsSource,
  entryPoint: "gather_rows",
  bindings: {
    table: "storage-read",
    indices: "storage-read",
    out: "storage-read-write",
    params: "uniform",
  },
  params: {
    rows: "u32",
    width: "u32",
    stride: "u32",
    first_row: "u32",
    table_rows: "u32",
    scale: "f32",
    accumulate: "u32",
  },
  overrides: { weight_type: 0, workgroup_size: 64 },
});

export const layerNormKernel: Kernel<
  {
    x: "storage-read";
    gain: "storage-read";
    bias: "storage-read";
    y: "storage-read-write";
    params: "uniform";
  },
  { rows: "u32"; width: "u32"; y_stride: "u32"; epsilon: "f32"; centred: "u32" },
  { workgroup_size: number }
> = defineKernel({
  label: "layer-norm",
  source: gridSource + reduceSource + layerNormSource,
  entryPoint: "layer_norm",
  bindings: {
    x: "storage-read",
    gain: "storage-read",
    bias: "storage-read",
    y: "storage-read-write",
    params: "uniform",
  },
  params: { rows: "u32", width: "u32", y_stride: "u32", epsilon: "f32", centred: "u32" },
  overrides: { workgroup_size: 64 },
});

export const headNormKernel: Kernel<
  { x: "storage-read-write"; gain: "storage-read"; params: "uniform" },
  {
    rows: "u32";
    row_stride: "u32";
    first_column: "u32";
    heads: "u32";
    width: "u32";
    epsilon: "f32";
  },
  { workgroup_size: number }
> = defineKernel({
  label: "head-norm",
  source: gridSource + reduceSource + headNormSource,
  entryPoint: "head_norm",
  bindings: { x: "storage-read-write", gain: "storage-read", params: "uniform" },
  params: {
    rows: "u32",
    row_stride: "u32",
    first_column: "u32",
    heads: "u32",
    width: "u32",
    epsilon: "f32",
  },
  overrides: { workgroup_size: 64 },
});

export const linearKernel: Kernel<
  {
    x: "storage-read";
    weight: "storage-read";
    bias: "storage-read";
    y: "storage-read-write";
    params: "uniform";
  },
  {
    rows: "u32";
    inputs: "u32";
    outputs: "u32";
    first_output: "u32";
    first_column: "u32";
    y_stride: "u32";
    activation: "u32";
    combine: "u32";
  },
  {
    weight_type: number;
    workgroup_size: number;
    workgroup_columns: number;
    rows_per_thread: number;
    tile_inputs: number;
  }
> = defineKernel({
  label: "linear",
  source: mlpActivationSource + weightsSource + linearSource,
  entryPoint: "linear",
  bindings: {
    x: "storage-read",
    weight: "storage-read",
    bias: "storage-read",
    y: "storage-read-write",
    params: "uniform",
  },
  params: {
    rows: "u32",
    inputs: "u32",
    outputs: "u32",
    first_output: "u32",
    first_column: "u32",
    y_stride: "u32",
    activation: "u32",
    combine: "u32",
  },
  overrides: {
    weight_type: 0,
    workgroup_size: 256,
    workgroup_columns: 16,
    rows_per_thread: 4,
    tile_inputs: 4,
  },
});

export const rotaryKernel: Kernel<
  { qkv: "storage-read-write"; turns: "storage-read"; positions: "storage-read"; params: "uniform" },
  { tokens: "u32"; row_stride: "u32"; heads: "u32"; head_width: "u32"; half: "u32" },
  { workgroup_size: number }
> = defineKernel({
  label: "rotary",
  source: gridSource + rotarySource,
  entryPoint: "rotary",
  bindings: {
    qkv: "storage-read-write",
    turns: "storage-read",
    positions: "storage-read",
    params: "uniform",
  },
  params: { tokens: "u32", row_stride: "u32", heads: "u32", head_width: "u32", half: "u32" },
  overrides: { workgroup_size: 64 },
});

export const causalAttentionKernel: Kernel<
  { qkv: "storage-read"; blocks: "storage-read"; z: "storage-read-write"; params: "uniform" },
  {
    block_count: "u32";
    heads: "u32";
    kv_heads: "u32";
    head_width: "u32";
    z_stride: "u32";
    scale: "f32";
    softcap: "f32";
    window: "u32";
  },
  {
    workgroup_size: number;
    workgroup_columns: number;
    queries_per_thread: number;
    keys_per_thread: number;
    head_vectors: number;
  }
> = defineKernel({
  label: "causal-attention",
  source: gridSource + cappedSource + causalAttentionSource,
  entryPoint: "causal_attention",
  bindings: { qkv: "storage-read", blocks: "storage-read", z: "storage-read-write", params: "uniform" },
  params: {
    block_count: "u32",
    heads: "u32",
    kv_heads: "u32",
    head_width: "u32",
    z_stride: "u32",
    scale: "f32",
    softcap: "f32",
    window: "u32",
  },
  overrides: {
    workgroup_size: 256,
    workgroup_columns: 16,
    queries_per_thread: 1,
    keys_per_thread: 1,
    head_vectors: 16,
  },
});

export const addKernel: Kernel<
  { x: "storage-read"; y: "storage-read-write"; params: "uniform" },
  { count: "u32" },
  { workgroup_size: number }
> = defineKernel({
  label: "add",
  source: gridSource + addSource,
  entryPoint: "add",
  bindings: { x: "storage-read", y: "storage-read-write", params: "uniform" },
  params: { count: "u32" },
  overrides: { workgroup_size: 64 },
});

export const activateKernel: Kernel<
  { y: "storage-read-write"; params: "uniform" },
  { count: "u32"; activation: "u32" },
  { workgroup_size: number }
> = defineKernel({
  label: "activate",
  source: gridSource + mlpActivationSource + activateSource,
  entryPoint: "activate",
  bindings: { y: "storage-read-write", params: "uniform" },
  params: { count: "u32", activation: "u32" },
  overrides: { workgroup_size: 64 },
});

export const gateKernel: Kernel<
  { x: "storage-read"; y: "storage-read-write"; params: "uniform" },
  { count: "u32"; activation: "u32" },
  { workgroup_size: number }
> = defineKernel({
  label: "gate",
  source: gridSource + mlpActivationSource + gateSource,
  entryPoint: "gate",
  bindings: { x: "storage-read", y: "storage-read-write", params: "uniform" },
  params: { count: "u32", activation: "u32" },
  overrides: { workgroup_size: 64 },
});

export const softcapKernel: Kernel<
  { y: "storage-read-write"; params: "uniform" },
  { count: "u32"; cap: "f32" },
  { workgroup_size: number }
> = defineKernel({
  label: "softcap",
  source: gridSource + cappedSource + softcapSource,
  entryPoint: "softcap",
  bindings: { y: "storage-read-write", params: "uniform" },
  params: { count: "u32", cap: "f32" },
  overrides: { workgroup_size: 64 },
});

export const interveneKernel: Kernel<
  {
    x: "storage-read-write";
    columns: "storage-read";
    values: "storage-read";
    rows: "storage-read";
    params: "uniform";
  },
  { count: "u32"; width: "u32"; stride: "u32"; kind: "u32"; listed: "u32" },
  { workgroup_size: number }
> = defineKernel({
  label: "intervene",
  source: gridSource + interveneSource,
  entryPoint: "intervene",
  bindings: {
    x: "storage-read-write",
    columns: "storage-read",
    values: "storage-read",
    rows: "storage-read",
    params: "uniform",
  },
  params: { count: "u32", width: "u32", stride: "u32", kind: "u32", listed: "u32" },
  overrides: { workgroup_size: 64 },
});

export const tokenLossesKernel: Kernel<
  {
    logits: "storage-read";
    targets: "storage-read";
    running: "storage-read-write";
    losses: "storage-read-write";
    params: "uniform";
  },
  { rows: "u32"; columns: "u32"; first: "u32" },
  { workgroup_size: number }
> = defineKernel({
  label: "token-losses",
  source: gridSource + reduceSource + tokenLossesSource,
  entryPoint: "token_losses",
  bindings: {
    logits: "storage-read",
    targets: "storage-read",
    running: "storage-read-write",
    losses: "storage-read-write",
    params: "uniform",
  },
  params: { rows: "u32", columns: "u32", first: "u32" },
  overrides: { workgroup_size: 64 },
});

/** The kernels of this file, for the tests that check every kernel. */
export const transformerKernels: readonly Kernel[] = [
  gatherRowsKernel,
  layerNormKernel,
  headNormKernel,
  linearKernel,
  rotaryKernel,
  causalAttentionKernel,
  addKernel,
  activateKernel,
  gateKernel,
  softcapKernel,
  interveneKernel,
  tokenLossesKernel,
];

/** What decides which kernels a pass runs, beside the model's shape. */
export interface PassNeeds {
  /** Ways in which the model's weights are kept. */
  readonly types: ReadonlySet<WeightType>;
  /** Numbers of rows that go through linear maps together, as far as they are known. */
  readonly rows: readonly number[];
  /** Values before the non-linearity are read or changed. */
  readonly preApart: boolean;
  readonly interventions: boolean;
  readonly losses: boolean;
  /** Logits of chosen tokens. */
  readonly chosen: boolean;
}

/** Every variant that a forward pass of a model is known to run. */
export function transformerVariants(
  { dHead, attention, mlp, unembedding }: TransformerSpec,
  limits: Parameters<typeof attentionTile>[1],
  { types, rows, preApart, interventions, losses, chosen }: PassNeeds,
): (readonly [kernel: Kernel, overrides?: Overrides])[] {
  const when = (used: boolean, kernel: Kernel): [Kernel][] => (used ? [[kernel]] : []);
  const codes = (...others: readonly WeightType[]): number[] =>
    [...new Set([...types, ...others])].map((type) => WEIGHT_CODE[type]);
  return [
    // The residual stream is float32.
    ...codes("f32").map((weight_type) => [gatherRowsKernel, { weight_type }] as const),
    [layerNormKernel],
    ...when(attention.headNorms, headNormKernel),
    // Unembeddings of chosen tokens are gathered as float32.
    ...codes(...(chosen ? (["f32"] as const) : [])).flatMap((weight_type) =>
      rows.map((count) => [linearKernel, { ...linearTile(count).overrides, weight_type }] as const),
    ),
    ...when(
      attention.layers.some(({ rotary }) => rotary !== null),
      rotaryKernel,
    ),
    [causalAttentionKernel, attentionTile(dHead, limits).overrides],
    [addKernel],
    ...when(preApart, mlp.gated ? gateKernel : activateKernel),
    ...when(unembedding.softcap !== null, softcapKernel),
    ...when(interventions, interveneKernel),
    ...when(losses, tokenLossesKernel),
  ];
}

/** Value of the `activation` param; 0 is none. */
export const ACTIVATION_CODE: Readonly<Record<MlpActivation, number>> = {
  gelu: 1,
  "gelu-tanh": 2,
  relu: 3,
  silu: 4,
};

/** Outputs of a row that a thread of the linear kernel computes. */
const COLUMNS_PER_THREAD = 4;

/** Overrides of the linear kernel, and the tile of the result that a workgroup then computes. */
export interface LinearTile {
  readonly rows: number;
  readonly columns: number;
  readonly overrides: { readonly rows_per_thread: number };
}

/** Few rows get a low tile, so that threads do not work on rows that are not there. */
export function linearTile(rows: number): LinearTile {
  const { workgroup_size, workgroup_columns } = linearKernel.overrides;
  const height = workgroup_size / workgroup_columns;
  const rows_per_thread = rows <= height ? 1 : rows < 16 * height ? 4 : 8;
  return {
    rows: rows_per_thread * height,
    columns: COLUMNS_PER_THREAD * workgroup_columns,
    overrides: { rows_per_thread },
  };
}

/** Overrides of the attention kernel, and the queries that a workgroup then takes. */
export interface AttentionTile {
  readonly queries: number;
  readonly overrides: {
    readonly workgroup_size: number;
    readonly workgroup_columns: number;
    readonly queries_per_thread: number;
    readonly keys_per_thread: number;
    readonly head_vectors: number;
  };
}

/** Threads, their columns, and queries and keys per thread; largest first. */
const ATTENTION_TILES = [
  [256, 16, 2, 2],
  [256, 16, 1, 1],
  [128, 16, 1, 1],
  [64, 8, 1, 1],
  [32, 8, 1, 1],
  [16, 4, 1, 1],
] as const;
/** Vectors of the result that the attention kernel's threads can hold. */
const MAX_SUMS = 16;

/**
 * The largest tile that fits the device's workgroup memory.
 * @throws UnsupportedModelError when heads are so wide that none does
 */
export function attentionTile(
  headWidth: number,
  limits: {
    readonly maxComputeWorkgroupStorageSize: number;
    readonly maxComputeInvocationsPerWorkgroup: number;
  },
): AttentionTile {
  const vectors = Math.ceil(headWidth / 4);
  for (const [threads, columns, queriesPerThread, keysPerThread] of ATTENTION_TILES) {
    const queries = queriesPerThread * (threads / columns);
    const keys = keysPerThread * columns;
    const bytes = 16 * (queries + keys) * (vectors + 1) + 4 * queries * (keys + 1 + columns);
    if (queriesPerThread * Math.ceil(vectors / columns) > MAX_SUMS) continue;
    if (bytes > limits.maxComputeWorkgroupStorageSize) continue;
    if (threads > limits.maxComputeInvocationsPerWorkgroup) continue;
    return {
      queries,
      overrides: {
        workgroup_size: threads,
        workgroup_columns: columns,
        queries_per_thread: queriesPerThread,
        keys_per_thread: keysPerThread,
        head_vectors: vectors,
      },
    };
  }
  throw new UnsupportedModelError(
    `Attention heads of width ${headWidth} do not fit the device's workgroup memory of ${limits.maxComputeWorkgroupStorageSize} bytes.`,
    "Use the CPU backend for this model.",
  );
}
