/** A transformer on the CPU: a ragged batch goes through the layers in chunks, each layer in three steps that threads share. */
import type { TensorSource } from "../../../data/tensor.ts";
import { BackendUnavailableError, DisposedError, SparseProbeError } from "../../../errors.ts";
import type {
  CallOptions,
  DeviceActivations,
  ForwardRequest,
  ForwardResult,
  HookName,
  HookPoint,
  RowSegments,
  TokenBatch,
  Transformer,
  TransformerSpec,
} from "../../backend.ts";
import { hookPointsByLayer, hookWidth } from "../../hook-points.ts";
import {
  chosenTokens,
  resolveInterventions,
  tokensWithin,
  type ChangesByPoint,
} from "../../interventions.ts";
import { assertAggregation, assertSegments } from "../../row-segments.ts";
import { assertTokenBatch } from "../../token-batch.ts";
import type { LinearTensors, NormTensors } from "../../transformer-tensors.ts";
import { TransformerWeightReader } from "../../transformer-weights.ts";
import { KernelPool } from "../wasm/kernel-pool.ts";
import { supportedVariant } from "../wasm/kernel-variant.ts";
import { javascriptKernels } from "./javascript-kernels.ts";
import type { FloatBuffer, LinearMap, NormWeights, TransformerKernels } from "./kernels.ts";
import { simdKernels } from "./simd-kernels.ts";

/** Tokens that go through the layers together (a longer sequence goes alone): enough for every thread, and little memory. */
const CHUNK_TOKENS = 2048;
/** Rows of logits computed at a time. */
const LOGIT_ROWS = 96;
/** Rows whose losses are computed at a time: enough items for every thread. */
const LOSS_ROWS = 960;

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

/** One layer's weights; what the model does not have is null. */
interface Layer {
  readonly attentionNorm: NormWeights;
  /** Of a model whose attention and MLP share a norm: the same. */
  readonly mlpNorm: NormWeights;
  readonly attentionPostNorm: NormWeights | null;
  readonly mlpPostNorm: NormWeights | null;
  readonly queryNorm: NormWeights | null;
  readonly keyNorm: NormWeights | null;
  readonly qkv: LinearMap;
  readonly attentionOut: LinearMap;
  readonly gate: LinearMap | null;
  readonly mlpIn: LinearMap;
  readonly mlpOut: LinearMap;
}

interface Model {
  readonly spec: TransformerSpec;
  readonly kernels: TransformerKernels;
  /** [vocabulary × dModel], on the host: rows are copied where they are needed. Null where the unembedding has them. */
  readonly embedding: Float32Array | null;
  /** [context × dModel], on the host; null where positions are rotations. */
  readonly positions: Float32Array | null;
  readonly layers: readonly Layer[];
  readonly finalNorm: NormWeights;
  readonly unembedding: LinearMap;
}

/**
 * Loads a model for the CPU. Weights are kept as float32 (about 4 bytes per parameter), packed for the kernels.
 *
 * @param weights tensors by Hugging Face's names
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
  const reader = new TransformerWeightReader(spec, weights, { signal, onProgress });
  const kernels = await chooseKernels(spec, options);
  const buffer = (data: Float32Array): FloatBuffer => {
    const copy = kernels.allocate(data.length);
    copy.view().set(data);
    return copy;
  };
  const norm = async (tensors: NormTensors): Promise<NormWeights> => {
    const { gain, bias } = await reader.norm(tensors);
    return { gain: buffer(gain), bias: bias && buffer(bias) };
  };
  const optional = async (tensors: NormTensors | null): Promise<NormWeights | null> =>
    tensors && norm(tensors);
  const linear = async (tensors: LinearTensors): Promise<LinearMap> => {
    const { weight, bias } = await reader.linear(tensors);
    return kernels.linearMap(weight, bias, tensors.outputs, tensors.inputs);
  };
  const { tensors } = reader;
  // What is packed for a tied unembedding serves both: a large vocabulary is not kept twice.
  const tied = spec.unembedding.tied
    ? kernels.linearMap(await reader.tensor(tensors.embedding), null, spec.vocabulary, spec.dModel)
    : null;
  const embedding = tied ? null : await reader.tensor(tensors.embedding);
  const positions = tensors.positions === null ? null : await reader.tensor(tensors.positions);
  const layers: Layer[] = [];
  for (let i = 0; i < spec.layers; i++) {
    const names = tensors.layer(i);
    const attentionNorm = await norm(names.attentionNorm);
    layers.push({
      attentionNorm,
      mlpNorm: (await optional(names.mlpNorm)) ?? attentionNorm,
      attentionPostNorm: await optional(names.attentionPostNorm),
      mlpPostNorm: await optional(names.mlpPostNorm),
      queryNorm: await optional(names.queryNorm),
      keyNorm: await optional(names.keyNorm),
      qkv: await linear(names.qkv),
      attentionOut: await linear(names.attentionOut),
      gate: names.gate && (await linear(names.gate)),
      mlpIn: await linear(names.mlpIn),
      mlpOut: await linear(names.mlpOut),
    });
  }
  const finalNorm = await norm(tensors.finalNorm);
  const unembedding = tied ?? (await linear(tensors.unembedding));
  return new CpuModel({ spec, kernels, embedding, positions, layers, finalNorm, unembedding });
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

class CpuModel implements CpuTransformer {
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
  readonly #changes: ChangesByPoint;
  /** Entries of the vocabulary whose logits are wanted; null: none. */
  readonly #chosen: Uint32Array | null;
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
    this.#chosen = chosenTokens(model.spec, request);
    const toTheEnd = logits !== "none" || this.#chosen !== null || request.losses === true;
    this.#layers = hookPointsByLayer(model.spec, request.hookPoints, toTheEnd);
    assertTokenBatch(model.spec, batch);
    this.#changes = resolveInterventions(model.spec, batch.tokens.length, request.interventions);
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
    const losses = this.#request.losses ? new Float32Array(tokens.length) : null;
    const chosen = this.#chosen;
    const logitsOf = chosen && new Float32Array(tokens.length * chosen.length);
    const toTheEnd = logits !== null || losses !== null || logitsOf !== null;
    for (const chunk of chunksOf(this.#batch, this.#segments)) {
      const residual = this.#throughLayers(chunk, toTheEnd);
      await kernels.run({ signal });
      if (losses) await this.#tokenLosses(residual, chunk, losses);
      if (logitsOf) {
        const from = chunk.start * chosen.length;
        await this.#chosenLogits(
          residual,
          chunk,
          logitsOf.subarray(from, from + chunk.tokens * chosen.length),
        );
      }
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
    return { activations, logits, losses, logitsOf };
  }

  close(): void {
    this.#model.kernels.drop();
    for (const buffer of this.#buffers) this.#model.kernels.free(buffer);
    this.#buffers.clear();
  }

  /** Asks for all layers of a chunk and returns the residual stream behind the last. */
  #throughLayers(chunk: Chunk, toTheEnd: boolean): FloatBuffer {
    const residual = this.#embed(chunk);
    const layers = this.#layers;
    for (let layer = 0; layer < layers.length; layer++) {
      this.#layer(layer, chunk, residual, layer + 1 < layers.length || toTheEnd);
    }
    return residual;
  }

  /** The residual stream of a chunk, filled with its tokens' embeddings. */
  #embed(chunk: Chunk): FloatBuffer {
    const { spec, kernels, embedding, positions, unembedding } = this.#model;
    const { dModel } = spec;
    const { scale } = spec.embedding;
    const buffer = this.#work("residual", chunk.tokens * dModel);
    const residual = buffer.view();
    const tokens = this.#batch.tokens.subarray(chunk.start, chunk.start + chunk.tokens);
    for (const [i, token] of tokens.entries()) {
      if (embedding) residual.set(embedding.subarray(token * dModel, (token + 1) * dModel), i * dModel);
      else kernels.weightsOf(unembedding, token, residual.subarray(i * dModel, (i + 1) * dModel));
    }
    if (scale !== 1) for (let i = 0; i < tokens.length * dModel; i++) residual[i] *= scale;
    for (let s = 0; positions && s + 1 < chunk.offsets.length; s++) {
      const first = chunk.offsets[s] * dModel;
      const length = chunk.offsets[s + 1] * dModel - first;
      for (let i = 0; i < length; i++) residual[first + i] += positions[i];
    }
    return buffer;
  }

  /**
   * One layer over a chunk, in place. What nobody reads is not computed: `goesOn` says that the layer's output is needed.
   * Parallel residual: x + attention(norm₁ x) + mlp(norm₂ x). Sequential: m = x + attention(norm₁ x), m + mlp(norm₂ m).
   */
  #layer(index: number, chunk: Chunk, residual: FloatBuffer, goesOn: boolean): void {
    const { spec, kernels, layers } = this.#model;
    const { dModel, dMlp, dHead, heads, kvHeads, attention } = spec;
    const wholeRows = { stride: dModel, first: 0, count: 1 };
    const { parallel } = spec.residual;
    const layer = layers[index];
    const hooks = this.#layers[index];
    const rows = chunk.tokens;
    const output = goesOn || hooks.has("hook_resid_post");
    const post = output || hooks.has("mlp.hook_post");
    const pre = post || hooks.has("mlp.hook_pre");
    const entersMlp = pre || hooks.has("mlp.hook_pre_linear");
    const middle = !parallel && (entersMlp || hooks.has("hook_resid_mid"));
    const attends = output || middle || hooks.has("hook_attn_out");
    const qkvWidth = (heads + 2 * kvHeads) * dHead;
    const qkv = this.#work("qkv", rows * qkvWidth);
    const mixed = this.#work("mixed", rows * heads * dHead);
    const attentionOut = this.#work("attention", rows * dModel);
    const mlpOut = this.#work("mlp", rows * dModel);
    const direct = new Set<HookName>();
    /** Where rows of the MLP's width go: straight to where they are wanted, if they are, rather than be copied there. */
    const place = (name: HookName, work: string): FloatBuffer => {
      const own = this.#target(`blocks.${index}.${name}`, chunk);
      if (own) direct.add(name);
      return own ?? this.#work(work, rows * dMlp);
    };
    const neurons = place("mlp.hook_post", "neurons");
    const before = hooks.has("mlp.hook_pre") ? place("mlp.hook_pre", "pre") : neurons;

    /** What follows a product (activation, sum) is computed with it, unless the product itself is to be changed. */
    const changes = (name: HookName): boolean => this.#changes.has(`blocks.${index}.${name}`);
    /** Every hook point passes here when its rows are complete, with where they lie, and before anything reads them. */
    const reached = (name: HookName, at: FloatBuffer): void => {
      if (changes(name)) this.#change(`blocks.${index}.${name}`, chunk, at);
      if (hooks.has(name) && !direct.has(name)) this.#capture(`blocks.${index}.${name}`, chunk, at);
    };
    const attend = (): void => {
      const { queryNorm, keyNorm } = layer;
      const stride = qkvWidth;
      if (queryNorm) kernels.normalise(qkv, queryNorm, rows, { stride, first: 0, count: heads });
      if (keyNorm) kernels.normalise(qkv, keyNorm, rows, { stride, first: heads * dHead, count: kvHeads });
      if (queryNorm ?? keyNorm) kernels.wait();
      kernels.attention(qkv, chunk.offsets, mixed, attention.layers[index % attention.layers.length]);
    };
    const enterMlp = (): void => {
      const { gate, mlpIn, mlpNorm: norm } = layer;
      const apart = changes("mlp.hook_pre");
      const activated = post && !apart ? neurons : undefined;
      let factor: FloatBuffer | undefined;
      if (gate) {
        factor = place("mlp.hook_pre_linear", "linear");
        if (post || hooks.has("mlp.hook_pre_linear")) kernels.linear(residual, mlpIn, factor, rows, { norm });
        kernels.wait();
        reached("mlp.hook_pre_linear", factor);
      }
      if (pre) kernels.linear(residual, gate ?? mlpIn, before, rows, { norm, activated, factor });
      kernels.wait();
      if (pre) reached("mlp.hook_pre", before);
      if (post && apart) {
        kernels.wait();
        kernels.activate(before, neurons, rows * dMlp, factor);
        kernels.wait();
      }
      if (post) reached("mlp.hook_post", neurons);
    };

    reached("hook_resid_pre", residual);
    if (attends) kernels.linear(residual, layer.qkv, qkv, rows, { norm: layer.attentionNorm });
    if (parallel && entersMlp) enterMlp();
    kernels.wait();
    if (attends) attend();
    if (parallel && output) kernels.linear(neurons, layer.mlpOut, mlpOut, rows);
    kernels.wait();
    if (attends) {
      const { attentionPostNorm: postNorm } = layer;
      const to = parallel ? output : middle;
      const apart = changes("hook_attn_out");
      const and = parallel ? mlpOut : undefined;
      const sum = to && !postNorm && !apart ? { from: residual, and, to: residual } : undefined;
      kernels.linear(mixed, layer.attentionOut, attentionOut, rows, { sum });
      kernels.wait();
      if (postNorm) {
        kernels.normalise(attentionOut, postNorm, rows, wholeRows, to && !apart ? residual : undefined);
        kernels.wait();
      }
      reached("hook_attn_out", attentionOut);
      if (to && apart) {
        kernels.add(attentionOut, and, residual, rows * dModel);
        kernels.wait();
      }
      if (middle) reached("hook_resid_mid", residual);
    }
    if (!parallel && entersMlp) {
      enterMlp();
      const { mlpPostNorm: postNorm } = layer;
      if (output) {
        const sum = postNorm ? undefined : { from: residual, to: residual };
        kernels.linear(neurons, layer.mlpOut, mlpOut, rows, { sum });
        if (postNorm) {
          kernels.wait();
          kernels.normalise(mlpOut, postNorm, rows, wholeRows, residual);
        }
      }
      kernels.wait();
    }
    reached("hook_resid_post", residual);
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
      const { softcap } = spec.unembedding;
      kernels.linear(read, unembedding, logits, block.length, { norm, softcap });
      await kernels.run({ signal });
      out.set(logits.view().subarray(0, block.length * vocabulary), start * vocabulary);
    }
  }

  /** Losses of a chunk's tokens, each from the residual stream of the token before. */
  async #tokenLosses(residual: FloatBuffer, chunk: Chunk, out: Float32Array): Promise<void> {
    const { spec, kernels, finalNorm: norm, unembedding } = this.#model;
    const { signal } = this.#request;
    const { softcap } = spec.unembedding;
    const predicting: number[] = [];
    for (let s = 0; s + 1 < chunk.offsets.length; s++) {
      for (let i = chunk.offsets[s]; i + 1 < chunk.offsets[s + 1]; i++) predicting.push(i);
    }
    const read = this.#work("read for losses", Math.min(LOSS_ROWS, predicting.length) * spec.dModel);
    for (let start = 0; start < predicting.length; start += LOSS_ROWS) {
      const block = Uint32Array.from(predicting.slice(start, start + LOSS_ROWS));
      const targets = block.map((i) => this.#batch.tokens[chunk.start + i + 1]);
      const losses = new Float32Array(block.length);
      kernels.aggregate(residual, spec.dModel, "token", eachRow(block), read, 0);
      kernels.wait();
      kernels.losses(read, unembedding, targets, losses, { norm, softcap });
      await kernels.run({ signal });
      for (const [r, i] of block.entries()) out[chunk.start + i + 1] = losses[r];
    }
  }

  /** Chosen logits of a chunk's tokens, [tokens × chosen]: the unembedding of these alone. */
  async #chosenLogits(residual: FloatBuffer, chunk: Chunk, out: Float32Array): Promise<void> {
    const { spec, kernels, finalNorm: norm, unembedding } = this.#model;
    const chosen = this.#chosen!;
    const { dModel } = spec;
    const weight = new Float32Array(chosen.length * dModel);
    for (const [i, token] of chosen.entries()) {
      kernels.weightsOf(unembedding, token, weight.subarray(i * dModel, (i + 1) * dModel));
    }
    const bias = Float32Array.from(chosen, (token) => kernels.biasOf(unembedding, token));
    const map = kernels.linearMap(weight, bias, chosen.length, dModel);
    try {
      const logits = this.#work("chosen logits", out.length);
      kernels.linear(residual, map, logits, chunk.tokens, { norm, softcap: spec.unembedding.softcap });
      await kernels.run({ signal: this.#request.signal });
      out.set(logits.view().subarray(0, out.length));
    } finally {
      kernels.freeMap(map);
    }
  }

  /** Asks for a chunk's rows of a hook point to be changed. */
  #change(point: HookPoint, chunk: Chunk, x: FloatBuffer): void {
    const { spec, kernels } = this.#model;
    for (const change of this.#changes.get(point)!) {
      const listed = tokensWithin(change, chunk.start, chunk.tokens);
      if (listed?.length === 0) continue;
      kernels.wait();
      kernels.change(x, hookWidth(spec, point), listed ?? chunk.tokens, change);
      kernels.wait();
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
