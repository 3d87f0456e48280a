/** GPT-NeoX on the CPU: a ragged batch goes through the layers in chunks that stay in the cache. */
import { Activations } from "../../data/activations.ts";
import type { TensorSource } from "../../data/tensor.ts";
import { BackendUnavailableError, DisposedError, SparseProbeError } from "../../errors.ts";
import type {
  CallOptions,
  DeviceActivations,
  ForwardRequest,
  ForwardResult,
  HookPoint,
  TokenBatch,
  Transformer,
  TransformerSpec,
} from "../backend.ts";
import {
  assertTensors,
  EMBEDDING,
  FINAL_NORM,
  layerTensors,
  requiredTensors,
  UNEMBEDDING,
} from "../gpt-neox-weights.ts";
import { hookPointsByLayer, hookWidth, type HookName } from "../hook-points.ts";
import { assertTokenBatch } from "../token-batch.ts";
import { aggregateRows } from "./reference/aggregate-rows.ts";
import { CpuActivations } from "./cpu-activations.ts";
import { javascriptKernels } from "./javascript-kernels.ts";
import { Pacer } from "./pacer.ts";
import type { FloatBuffer, LinearMap, NormWeights, TransformerKernels } from "./transformer-kernels.ts";
import { supportedVariant } from "./wasm/load-kernels.ts";
import { loadTransformerModule } from "./wasm/transformer-module.ts";
import { wasmKernels } from "./wasm-kernels.ts";

/** Tokens that go through the layers together (a longer sequence goes alone): weights are reused, caches suffice. */
const CHUNK_TOKENS = 512;
/** Rows of logits computed at a time. */
const LOGIT_ROWS = 48;

export interface CpuTransformerOptions extends CallOptions {
  /** Default: "wasm" where SIMD WebAssembly runs, else "javascript" (about 30 times slower). */
  readonly kernels?: "wasm" | "javascript" | undefined;
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

/** Working memory for a chunk of `tokens` tokens. */
interface Workspace {
  readonly tokens: number;
  readonly residual: FloatBuffer;
  readonly normed: FloatBuffer;
  readonly qkv: FloatBuffer;
  readonly mixed: FloatBuffer;
  readonly attentionOut: FloatBuffer;
  readonly neurons: FloatBuffer;
  readonly mlpOut: FloatBuffer;
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
  const kernels = await chooseKernels(spec, options.kernels);
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
  asked: CpuTransformerOptions["kernels"],
): Promise<TransformerKernels> {
  if (asked === "javascript") return javascriptKernels(spec);
  let cause: unknown;
  try {
    // A page's security policy may forbid what the engine could do.
    const variant = supportedVariant();
    if (variant) return wasmKernels(await loadTransformerModule(variant), spec);
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
  #workspace: Workspace | undefined;
  #logits: FloatBuffer | undefined;
  /** Passes share the workspace, so they run one after the other. */
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
    this.#model = undefined;
    this.#workspace = undefined;
    this.#logits = undefined;
  }

  #loaded(): Model {
    if (this.#model) return this.#model;
    throw new DisposedError("This model was disposed of.", "Load it again.");
  }

  async #forward(batch: TokenBatch, request: ForwardRequest): Promise<ForwardResult> {
    const { spec } = this;
    this.#loaded();
    const pacer = new Pacer(request.signal);
    const wanted = request.logits ?? "none";
    const layers = hookPointsByLayer(spec, request.hookPoints, wanted !== "none");
    assertTokenBatch(spec, batch);
    const tokens = batch.tokens.length;
    const sequences = batch.offsets.length - 1;
    const outputs = new Map<HookPoint, Float32Array>();
    for (const point of request.hookPoints) {
      outputs.set(point, new Float32Array(tokens * hookWidth(spec, point)));
    }
    const logitRows = wanted === "none" ? 0 : wanted === "last" ? sequences : tokens;
    const logits = wanted === "none" ? null : new Float32Array(logitRows * spec.vocabulary);

    for (let s = 0; s < sequences;) {
      const first = s++;
      while (s < sequences && batch.offsets[s + 1] - batch.offsets[first] <= CHUNK_TOKENS) s++;
      const start = batch.offsets[first];
      const offsets = batch.offsets.slice(first, s + 1).map((offset) => offset - start);
      const work = this.#embed(batch.tokens.subarray(start, batch.offsets[s]));
      const capture = (point: HookPoint, from: FloatBuffer): void => {
        const target = outputs.get(point);
        if (!target) return;
        const width = target.length / tokens;
        target.set(from.view().subarray(0, (batch.offsets[s] - start) * width), start * width);
      };
      for (let layer = 0; layer < layers.length; layer++) {
        const goesOn = layer + 1 < layers.length || logits !== null;
        this.#layer(layer, work, offsets, layers[layer], goesOn, capture);
        request.signal?.throwIfAborted();
        if (pacer.due) await pacer.turn();
      }
      if (logits) {
        const lengths = offsets[offsets.length - 1];
        const rows =
          wanted === "last"
            ? offsets.subarray(1).map((end) => end - 1)
            : Uint32Array.from({ length: lengths }, (_, i) => i);
        const at = (wanted === "last" ? first : start) * spec.vocabulary;
        await this.#unembed(work, rows, logits.subarray(at, at + rows.length * spec.vocabulary), pacer);
      }
    }

    const activations = new Map<HookPoint, DeviceActivations>();
    for (const [point, data] of outputs) {
      const rows = new Activations(data, [tokens, data.length / tokens], {
        provenance: { hookPoint: point },
      });
      const { aggregate } = request;
      activations.set(
        point,
        new CpuActivations(
          aggregate ? await aggregateRows(rows, aggregate.aggregation, aggregate.segments, pacer) : rows,
        ),
      );
    }
    return { activations, logits };
  }

  /** Fills the residual stream of a chunk with its tokens' embeddings. */
  #embed(tokens: Uint32Array): Workspace {
    const { spec, kernels, embedding } = this.#loaded();
    const { dModel, dMlp } = spec;
    if (!this.#workspace || this.#workspace.tokens < tokens.length) {
      const room = tokens.length <= CHUNK_TOKENS ? CHUNK_TOKENS : spec.context;
      this.#workspace = {
        tokens: room,
        residual: kernels.allocate(room * dModel),
        normed: kernels.allocate(room * dModel),
        qkv: kernels.allocate(room * 3 * dModel),
        mixed: kernels.allocate(room * dModel),
        attentionOut: kernels.allocate(room * dModel),
        neurons: kernels.allocate(room * dMlp),
        mlpOut: kernels.allocate(room * dModel),
      };
    }
    const residual = this.#workspace.residual.view();
    for (const [i, token] of tokens.entries()) {
      residual.set(embedding.subarray(token * dModel, (token + 1) * dModel), i * dModel);
    }
    return this.#workspace;
  }

  /**
   * One layer over a chunk. What nobody reads is not computed: `goesOn` says that the layer's output is needed.
   * Parallel residual: x + attention(norm₁ x) + mlp(norm₂ x). Sequential: m = x + attention(norm₁ x), m + mlp(norm₂ m).
   */
  #layer(
    index: number,
    work: Workspace,
    offsets: Uint32Array,
    hooks: ReadonlySet<HookName>,
    goesOn: boolean,
    capture: (point: HookPoint, from: FloatBuffer) => void,
  ): void {
    const { spec, kernels, layers } = this.#loaded();
    const { layerNormEpsilon: epsilon, dModel, dMlp, parallelResidual } = spec;
    const layer = layers[index];
    const rows = offsets[offsets.length - 1];
    const output = goesOn || hooks.has("hook_resid_post");
    const post = output || hooks.has("mlp.hook_post");
    const pre = post || hooks.has("mlp.hook_pre");
    const middle = !parallelResidual && (pre || hooks.has("hook_resid_mid"));
    const { residual, normed, qkv, mixed, attentionOut, neurons, mlpOut } = work;

    capture(`blocks.${index}.hook_resid_pre`, residual);
    if (output || middle || hooks.has("hook_attn_out")) {
      kernels.layerNorm(residual, layer.attentionNorm, normed, rows, epsilon);
      kernels.linear(normed, layer.qkv, qkv, rows);
      kernels.attention(qkv, offsets, mixed);
      kernels.linear(mixed, layer.attentionOut, attentionOut, rows);
      capture(`blocks.${index}.hook_attn_out`, attentionOut);
    }
    if (middle) {
      kernels.add(attentionOut, residual, rows * dModel);
      capture(`blocks.${index}.hook_resid_mid`, residual);
    }
    if (!pre) return;
    kernels.layerNorm(residual, layer.mlpNorm, normed, rows, epsilon);
    kernels.linear(normed, layer.mlpIn, neurons, rows);
    capture(`blocks.${index}.mlp.hook_pre`, neurons);
    if (!post) return;
    kernels.activate(neurons, neurons, rows * dMlp);
    capture(`blocks.${index}.mlp.hook_post`, neurons);
    if (!output) return;
    kernels.linear(neurons, layer.mlpOut, mlpOut, rows);
    if (parallelResidual) kernels.add(attentionOut, residual, rows * dModel);
    kernels.add(mlpOut, residual, rows * dModel);
    capture(`blocks.${index}.hook_resid_post`, residual);
  }

  /** Logits of some rows of the residual stream, [rows × vocabulary]. */
  async #unembed(work: Workspace, rows: Uint32Array, out: Float32Array, pacer: Pacer): Promise<void> {
    for (let start = 0; start < rows.length; start += LOGIT_ROWS) {
      const { spec, kernels, finalNorm, unembedding } = this.#loaded();
      const { dModel, vocabulary } = spec;
      this.#logits ??= kernels.allocate(LOGIT_ROWS * vocabulary);
      const block = rows.subarray(start, start + LOGIT_ROWS);
      const from = work.residual.view();
      const to = work.mixed.view();
      for (const [i, row] of block.entries()) {
        to.set(from.subarray(row * dModel, (row + 1) * dModel), i * dModel);
      }
      kernels.layerNorm(work.mixed, finalNorm, work.normed, block.length, spec.layerNormEpsilon);
      kernels.linear(work.normed, unembedding, this.#logits, block.length);
      out.set(this.#logits.view().subarray(0, block.length * vocabulary), start * vocabulary);
      if (pacer.due) await pacer.turn();
    }
  }
}
