/** GPT-NeoX on the CPU: a ragged batch goes through the layers in chunks, each layer in three steps that threads share. */
import type { TensorSource } from "../../../data/tensor.ts";
import { BackendUnavailableError, DisposedError, SparseProbeError } from "../../../errors.ts";
import type {
  CallOptions,
  DeviceActivations,
  ForwardRequest,
  ForwardResult,
  HookPoint,
  RowSegments,
  TokenBatch,
  Transformer,
  TransformerSpec,
} from "../../backend.ts";
import {
  assertTensors,
  EMBEDDING,
  FINAL_NORM,
  layerTensors,
  requiredTensors,
  UNEMBEDDING,
} from "../../gpt-neox-weights.ts";
import { hookPointsByLayer, hookWidth, type HookName } from "../../hook-points.ts";
import { assertAggregation, assertSegments } from "../../row-segments.ts";
import { assertTokenBatch } from "../../token-batch.ts";
import { KernelPool } from "../wasm/kernel-pool.ts";
import { supportedVariant } from "../wasm/kernel-variant.ts";
import { javascriptKernels } from "./javascript-kernels.ts";
import type { FloatBuffer, LinearMap, NormWeights, TransformerKernels } from "./kernels.ts";
import { simdKernels } from "./simd-kernels.ts";

/** Tokens that go through the layers together (a longer sequence goes alone): enough for every thread, and little memory. */
const CHUNK_TOKENS = 2048;
/** Rows of logits computed at a time. */
const LOGIT_ROWS = 96;

export interface CpuTransformerOptions extends CallOptions {
  /** Default: "wasm" where SIMD WebAssembly runs, else "javascript" (about 30 times slower). */
  readonly kernels?: "wasm" | "javascript" | undefined;
  /** The pool whose threads compute; the model keeps a memory of its own. Default: one with the calling thread alone. */
  readonly pool?: KernelPool | undefined;
  /** Called after each tensor. */
  readonly onProgress?: ((done: number, total: number) => void) | undefined;
}

/** A {@link Transformer} that says which kernels it runs on. */
export interface CpuTransformer extends Transformer {
  readonly kernels: TransformerKernels["name"];
}

interface Layer {
  readonly attentionNorm: NormWeights;
  readonly mlpNorm: NormWeights;
  readonly qkv: LinearMap;
  readonly attentionOut: LinearMap;
  readonly mlpIn: LinearMap;
  readonly mlpOut: LinearMap;
}

interface Model {
  readonly spec: TransformerSpec;
  readonly kernels: TransformerKernels;
  /** [vocabulary × dModel], on the host: rows are copied where they are needed. */
  readonly embedding: Float32Array;
  readonly layers: readonly Layer[];
  readonly finalNorm: NormWeights;
  readonly unembedding: LinearMap;
}

/**
 * Loads a GPT-NeoX model for the CPU. Weights are kept as float32 (about 4 bytes per parameter), packed for the kernels.
 *
 * @param weights tensors by Hugging Face's GPT-NeoX names
 * @throws MissingTensorError when tensors are missing or misshapen; nothing has been read then
 * @throws OutOfMemoryError when the weights do not fit WebAssembly's 4 GiB
 * @throws BackendUnavailableError when "wasm" is asked for and SIMD WebAssembly does not run here
 */
export async function loadCpuTransformer(
  spec: TransformerSpec,
  weights: TensorSource,
  options: CpuTransformerOptions = {},
): Promise<CpuTransformer> {
  const { signal, onProgress } = options;
  signal?.throwIfAborted();
  assertTensors(spec, weights);
  const kernels = await chooseKernels(spec, options);
  const total = requiredTensors(spec).size;
  let done = 0;
  const read = async (name: string): Promise<Float32Array> => {
    signal?.throwIfAborted();
    const { data } = await weights.read(name, { signal });
    done++;
    onProgress?.(done, total);
    return data;
  };
  const buffer = async (name: string): Promise<FloatBuffer> => {
    const data = await read(name);
    const copy = kernels.allocate(data.length);
    copy.view().set(data);
    return copy;
  };
  const norm = async (prefix: string): Promise<NormWeights> => ({
    gain: await buffer(`${prefix}.weight`),
    bias: await buffer(`${prefix}.bias`),
  });
  const linear = async (prefix: string, outputs: number, inputs: number): Promise<LinearMap> => {
    const bias = await read(`${prefix}.bias`);
    return kernels.linearMap(await read(`${prefix}.weight`), bias, outputs, inputs);
  };
  const { dModel, dMlp } = spec;
  const embedding = await read(EMBEDDING);
  const layers: Layer[] = [];
  for (let i = 0; i < spec.layers; i++) {
    const names = layerTensors(i);
    layers.push({
      attentionNorm: await norm(names.attentionNorm),
      mlpNorm: await norm(names.mlpNorm),
      qkv: await linear(names.qkv, 3 * dModel, dModel),
      attentionOut: await linear(names.attentionOut, dModel, dModel),
      mlpIn: await linear(names.mlpIn, dMlp, dModel),
      mlpOut: await linear(names.mlpOut, dModel, dMlp),
    });
  }
  const finalNorm = await norm(FINAL_NORM);
  const unembedding = kernels.linearMap(await read(UNEMBEDDING), null, spec.vocabulary, dModel);
  return new GptNeoX({ spec, kernels, embedding, layers, finalNorm, unembedding });
}

async function chooseKernels(
  spec: TransformerSpec,
  { kernels: asked, pool }: CpuTransformerOptions,
): Promise<TransformerKernels> {
  if (asked === "javascript") return javascriptKernels(spec);
  let cause: unknown;
  try {
    // A page's security policy may forbid what the engine could do.
    const variant = supportedVariant();
    if (variant) return simdKernels(await (pool?.sibling() ?? KernelPool.open(variant)), spec);
  } catch (error) {
    if (error instanceof SparseProbeError) throw error;
    cause = error;
  }
  if (asked !== "wasm") return javascriptKernels(spec);
  throw new BackendUnavailableError(
    "SIMD WebAssembly does not run here.",
    'Leave the kernels option out to run the slower "javascript" kernels, or use another engine.',
    { cause },
  );
}

class GptNeoX implements CpuTransformer {
  readonly spec: TransformerSpec;
  readonly kernels: TransformerKernels["name"];
  #model: Model | undefined;
  /** Passes run one after the other. */
  #last: Promise<unknown> = Promise.resolve();

  constructor(model: Model) {
    this.spec = model.spec;
    this.kernels = model.kernels.name;
    this.#model = model;
  }

  forward(batch: TokenBatch, request: ForwardRequest): Promise<ForwardResult> {
    const pass = this.#last.then(() => this.#forward(batch, request));
    this.#last = pass.catch(() => undefined);
    return pass;
  }

  dispose(): void {
    const model = this.#model;
    this.#model = undefined;
    // A pass that is under way ends first.
    if (model) void this.#last.then(() => model.kernels.dispose());
  }

  async #forward(batch: TokenBatch, request: ForwardRequest): Promise<ForwardResult> {
    if (!this.#model) throw new DisposedError("This model was disposed of.", "Load it again.");
    const pass = new Pass(this.#model, batch, request);
    try {
      return await pass.run();
    } finally {
      pass.close();
    }
  }
}

/** Where the rows of a hook point go: whole rows, or what segments of them are combined into. */
interface Output {
  readonly width: number;
  readonly rows: number;
  readonly buffer: FloatBuffer;
}

/** Some sequences that go through the layers together. */
interface Chunk {
  /** Its first sequence and its first token. */
  readonly sequence: number;
  readonly start: number;
  readonly tokens: number;
  /** Sequence s of the chunk is rows offsets[s] .. offsets[s + 1]. */
  readonly offsets: Uint32Array;
  /** Segments whose rows are in the chunk, counted from its first row, and the index of the first of them. */
  readonly segments: RowSegments | undefined;
  readonly firstSegment: number;
}

/** One forward pass: its buffers, and where its results go. */
class Pass {
  readonly #model: Model;
  readonly #batch: TokenBatch;
  readonly #request: ForwardRequest;
  readonly #layers: readonly ReadonlySet<HookName>[];
  readonly #segments: RowSegments | undefined;
  readonly #outputs = new Map<HookPoint, Output>();
  readonly #workspace = new Map<string, FloatBuffer>();
  /** What is given back at the end. */
  readonly #buffers = new Set<FloatBuffer>();

  constructor(model: Model, batch: TokenBatch, request: ForwardRequest) {
    request.signal?.throwIfAborted();
    this.#model = model;
    this.#batch = batch;
    this.#request = request;
    const logits = request.logits ?? "none";
    this.#layers = hookPointsByLayer(model.spec, request.hookPoints, logits !== "none");
    assertTokenBatch(model.spec, batch);
    if (request.aggregate) {
      const { aggregation, segments } = request.aggregate;
      assertAggregation(aggregation);
      const { rows } = segments;
      const offsets =
        aggregation === "token"
          ? Uint32Array.from({ length: rows.length + 1 }, (_, i) => i)
          : segments.offsets;
      assertSegments(batch.tokens.length, rows, offsets);
      this.#segments = { rows, offsets };
    }
  }

  async run(): Promise<ForwardResult> {
    const { spec, kernels } = this.#model;
    const { hookPoints, logits: wanted = "none", signal, aggregate } = this.#request;
    const { tokens, offsets } = this.#batch;
    const rows = this.#segments ? this.#segments.offsets.length - 1 : tokens.length;
    for (const point of hookPoints) {
      if (this.#outputs.has(point)) continue;
      const width = hookWidth(spec, point);
      this.#outputs.set(point, { width, rows, buffer: this.#allocate(rows * width) });
    }
    const logitRows = wanted === "none" ? 0 : wanted === "last" ? offsets.length - 1 : tokens.length;
    const logits = wanted === "none" ? null : new Float32Array(logitRows * spec.vocabulary);
    for (const chunk of chunksOf(this.#batch, this.#segments)) {
      const residual = this.#throughLayers(chunk, logits !== null);
      await kernels.run({ signal });
      if (logits) {
        const last = wanted === "last";
        const read = last
          ? chunk.offsets.subarray(1).map((end) => end - 1)
          : Uint32Array.from({ length: chunk.tokens }, (_, i) => i);
        const at = (last ? chunk.sequence : chunk.start) * spec.vocabulary;
        await this.#unembed(residual, read, logits.subarray(at, at + read.length * spec.vocabulary));
      }
    }
    const activations = new Map<HookPoint, DeviceActivations>();
    for (const [point, output] of this.#outputs) {
      this.#buffers.delete(output.buffer);
      const provenance = { hookPoint: point, ...(aggregate && { aggregation: aggregate.aggregation }) };
      activations.set(point, kernels.lend(output.buffer, output.rows, output.width, { provenance }));
    }
    return { activations, logits };
  }

  close(): void {
    this.#model.kernels.drop();
    for (const buffer of this.#buffers) this.#model.kernels.free(buffer);
    this.#buffers.clear();
  }

  /** Asks for all layers of a chunk and returns the residual stream behind the last. */
  #throughLayers(chunk: Chunk, logits: boolean): FloatBuffer {
    const residual = this.#embed(chunk);
    const layers = this.#layers;
    for (let layer = 0; layer < layers.length; layer++) {
      this.#layer(layer, chunk, residual, layer + 1 < layers.length || logits);
    }
    return residual;
  }

  /** The residual stream of a chunk, filled with its tokens' embeddings. */
  #embed(chunk: Chunk): FloatBuffer {
    const { spec, embedding } = this.#model;
    const { dModel } = spec;
    const buffer = this.#work("residual", chunk.tokens * dModel);
    const residual = buffer.view();
    const tokens = this.#batch.tokens.subarray(chunk.start, chunk.start + chunk.tokens);
    for (const [i, token] of tokens.entries()) {
      residual.set(embedding.subarray(token * dModel, (token + 1) * dModel), i * dModel);
    }
    return buffer;
  }

  /**
   * One layer over a chunk, in place. What nobody reads is not computed: `goesOn` says that the layer's output is needed.
   * Parallel residual: x + attention(norm₁ x) + mlp(norm₂ x). Sequential: m = x + attention(norm₁ x), m + mlp(norm₂ m).
   */
  #layer(index: number, chunk: Chunk, residual: FloatBuffer, goesOn: boolean): void {
    const { spec, kernels, layers } = this.#model;
    const { dModel, dMlp, parallelResidual } = spec;
    const layer = layers[index];
    const hooks = this.#layers[index];
    const rows = chunk.tokens;
    const output = goesOn || hooks.has("hook_resid_post");
    const post = output || hooks.has("mlp.hook_post");
    const pre = post || hooks.has("mlp.hook_pre");
    const middle = !parallelResidual && (pre || hooks.has("hook_resid_mid"));
    const attends = output || middle || hooks.has("hook_attn_out");
    const capture = (name: HookName, from: FloatBuffer): void => {
      if (hooks.has(name)) this.#capture(`blocks.${index}.${name}`, chunk, from);
    };
    const qkv = this.#work("qkv", rows * 3 * dModel);
    const mixed = this.#work("mixed", rows * dModel);
    const attentionOut = this.#work("attention", rows * dModel);
    const mlpOut = this.#work("mlp", rows * dModel);
    // The MLP's neurons go where they are wanted, rather than be copied there.
    const ownPre = this.#target(`blocks.${index}.mlp.hook_pre`, chunk);
    const ownPost = this.#target(`blocks.${index}.mlp.hook_post`, chunk);
    const neurons = ownPost ?? this.#work("neurons", rows * dMlp);
    const preActivations = hooks.has("mlp.hook_pre") ? (ownPre ?? this.#work("pre", rows * dMlp)) : neurons;
    const mlpIn = (): void =>
      kernels.linear(residual, layer.mlpIn, preActivations, rows, {
        norm: layer.mlpNorm,
        activated: post ? neurons : undefined,
      });
    const captureNeurons = (): void => {
      if (!ownPre) capture("mlp.hook_pre", preActivations);
      if (!ownPost) capture("mlp.hook_post", neurons);
    };

    capture("hook_resid_pre", residual);
    if (attends) kernels.linear(residual, layer.qkv, qkv, rows, { norm: layer.attentionNorm });
    if (parallelResidual && pre) mlpIn();
    kernels.wait();
    if (attends) kernels.attention(qkv, chunk.offsets, mixed);
    if (parallelResidual) {
      if (output) kernels.linear(neurons, layer.mlpOut, mlpOut, rows);
      if (pre) captureNeurons();
    }
    kernels.wait();
    if (attends) {
      const sum = parallelResidual
        ? output && { from: residual, and: mlpOut, to: residual }
        : middle && { from: residual, to: residual };
      kernels.linear(mixed, layer.attentionOut, attentionOut, rows, { sum: sum || undefined });
      kernels.wait();
      capture("hook_attn_out", attentionOut);
      capture("hook_resid_mid", residual);
    }
    if (!parallelResidual && pre) {
      mlpIn();
      kernels.wait();
      captureNeurons();
      if (output) {
        kernels.linear(neurons, layer.mlpOut, mlpOut, rows, { sum: { from: residual, to: residual } });
      }
      kernels.wait();
    }
    capture("hook_resid_post", residual);
  }

  /** Logits of some rows of the residual stream, [rows × vocabulary]. */
  async #unembed(residual: FloatBuffer, rows: Uint32Array, out: Float32Array): Promise<void> {
    const { spec, kernels, finalNorm: norm, unembedding } = this.#model;
    const { dModel, vocabulary } = spec;
    const { signal } = this.#request;
    const read = this.#work("read", LOGIT_ROWS * dModel);
    const logits = this.#work("logits", LOGIT_ROWS * vocabulary);
    for (let start = 0; start < rows.length; start += LOGIT_ROWS) {
      const block = rows.subarray(start, start + LOGIT_ROWS);
      kernels.aggregate(residual, dModel, "token", eachRow(block), read, 0);
      kernels.wait();
      kernels.linear(read, unembedding, logits, block.length, { norm });
      await kernels.run({ signal });
      out.set(logits.view().subarray(0, block.length * vocabulary), start * vocabulary);
    }
  }

  /** Where a hook point's own rows of a chunk go, when it is asked for and its rows are not combined. */
  #target(point: HookPoint, chunk: Chunk): FloatBuffer | undefined {
    const output = this.#outputs.get(point);
    if (!output || this.#segments) return undefined;
    const { width, buffer } = output;
    return this.#model.kernels.part(buffer, chunk.start * width, chunk.tokens * width);
  }

  /** Asks for a chunk's rows of a hook point to be copied, or combined, to where they are wanted. */
  #capture(point: HookPoint, chunk: Chunk, from: FloatBuffer): void {
    const { kernels } = this.#model;
    const { width, buffer } = this.#outputs.get(point)!;
    const { aggregate } = this.#request;
    if (!aggregate) {
      const rows = Uint32Array.from({ length: chunk.tokens }, (_, i) => i);
      kernels.aggregate(from, width, "token", eachRow(rows), buffer, chunk.start);
    } else if (chunk.segments) {
      kernels.aggregate(from, width, aggregate.aggregation, chunk.segments, buffer, chunk.firstSegment);
    }
  }

  /** Working memory by name, at least this long; what was in it may be lost. */
  #work(name: string, length: number): FloatBuffer {
    const known = this.#workspace.get(name);
    if (known && known.length >= length) return known;
    if (known) this.#free(known);
    const buffer = this.#allocate(length);
    this.#workspace.set(name, buffer);
    return buffer;
  }

  #allocate(length: number): FloatBuffer {
    const buffer = this.#model.kernels.allocate(length);
    this.#buffers.add(buffer);
    return buffer;
  }

  #free(buffer: FloatBuffer): void {
    this.#buffers.delete(buffer);
    this.#model.kernels.free(buffer);
  }
}

/** Segments that leave rows as they are. */
function eachRow(rows: Uint32Array): RowSegments {
  return { rows, offsets: Uint32Array.from({ length: rows.length + 1 }, (_, i) => i) };
}

/**
 * Whole sequences up to {@link CHUNK_TOKENS}, with the segments that lie in them. Where a segment spans several chunks, or
 * segments come in another order than their tokens, everything is one chunk.
 */
function chunksOf({ offsets }: TokenBatch, segments: RowSegments | undefined): Chunk[] {
  const sequences = offsets.length - 1;
  const ends: number[] = [];
  for (let s = 0; s < sequences; ends.push(s)) {
    const first = s++;
    while (s < sequences && offsets[s + 1] - offsets[first] <= CHUNK_TOKENS) s++;
  }
  return cut(offsets, ends, segments) ?? cut(offsets, [sequences], segments)!;
}

/** Chunks that end after the sequences given, or null when their segments cannot be told apart. */
function cut(
  offsets: Uint32Array,
  ends: readonly number[],
  segments: RowSegments | undefined,
): Chunk[] | null {
  const chunks: Chunk[] = [];
  const segmentCount = segments ? segments.offsets.length - 1 : 0;
  let sequence = 0;
  let segment = 0;
  for (const end of ends) {
    const start = offsets[sequence];
    const stop = offsets[end];
    const inside = (row: number): boolean => row >= start && row < stop;
    const firstSegment = segment;
    let own: RowSegments | undefined;
    if (segments) {
      const { rows, offsets: bounds } = segments;
      while (segment < segmentCount && rows.subarray(bounds[segment], bounds[segment + 1]).every(inside))
        segment++;
      if (segment > firstSegment) {
        const from = bounds[firstSegment];
        own = {
          rows: rows.subarray(from, bounds[segment]).map((row) => row - start),
          offsets: bounds.subarray(firstSegment, segment + 1).map((bound) => bound - from),
        };
      }
    }
    chunks.push({
      sequence,
      start,
      tokens: stop - start,
      offsets: offsets.subarray(sequence, end + 1).map((offset) => offset - start),
      segments: own,
      firstSegment,
    });
    sequence = end;
  }
  return segment === segmentCount ? chunks : null;
}
