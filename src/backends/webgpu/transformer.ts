/** A transformer on a GPU: packed sequences go through the layers together, and nothing but logits is read back. */
import { DisposedError, OutOfMemoryError } from "../../errors.ts";
import type { TensorSource } from "../../data/tensor.ts";
import type {
  DeviceActivations,
  ForwardRequest,
  ForwardResult,
  HookName,
  HookPoint,
  LoadTransformerOptions,
  RotarySpec,
  TokenBatch,
  Transformer,
  TransformerSpec,
} from "../backend.ts";
import { hookPointsByLayer, hookWidth } from "../hook-points.ts";
import {
  CHANGE_CODE,
  chosenTokens,
  resolveInterventions,
  tokensWithin,
  type ColumnChange,
} from "../interventions.ts";
import { rotaryTable } from "../rotary.ts";
import { assertTokenBatch } from "../token-batch.ts";
import { aggregateRows } from "./aggregate-rows.ts";
import {
  together,
  type BufferScope,
  type CommandBatch,
  type ComputeBuffer,
  type ComputeDevice,
} from "./device.ts";
import {
  ACTIVATION_CODE,
  activateKernel,
  addKernel,
  attentionTile,
  causalAttentionKernel,
  gateKernel,
  gatherRowsKernel,
  headNormKernel,
  interveneKernel,
  layerNormKernel,
  linearKernel,
  linearTile,
  rotaryKernel,
  softcapKernel,
  tokenLossesKernel,
  transformerVariants,
} from "./transformer-kernels.ts";
import {
  loadTransformerWeights,
  vectorsOf,
  weightTypes,
  type LinearMap,
  type NormWeights,
  type TransformerWeights,
} from "./transformer-weights.ts";
import { allocateActivations, type WebGpuActivations } from "./webgpu-activations.ts";
import { floatMatrix, rowBytes, WEIGHT_CODE, type Matrix } from "./weight-matrix.ts";

/** Bytes of working memory: more sequences than fit go through the layers in groups. */
const WORK_BYTES = 256 * 2 ** 20;
/** Bytes of logits that are computed before they are read back. */
const LOGIT_BYTES = 64 * 2 ** 20;
/** Rows whose losses are computed together, and columns of the vocabulary. */
const LOSS_ROWS = 1024;
const LOSS_COLUMNS = 4096;
/** Columns start at multiples of this: their weights then start where a binding may, at 256 bytes. */
const COLUMN_STEP = 16;
/** Multiplications of one submission, a layer of a group: no driver takes it for a hang. */
const MOST_OPERATIONS = 4e10;
/** Layers submitted before the pass waits for the first of them: abortion is prompt and the queue never runs dry. */
const LAYERS_AHEAD = 4;
/** Positions whose angles are at hand from the start; longer sequences make longer tables. */
const FIRST_TURNS = 256;
/** More keys than any sequence has. */
const NO_WINDOW = 2 ** 30;

/** What the linear kernel does with the values that its results take the place of. */
const Combine = { overwrite: 0, add: 1, multiply: 2 } as const;
type Combine = (typeof Combine)[keyof typeof Combine];

/** Working memory of a group of sequences; one row per token. */
interface Workspace {
  readonly residual: ComputeBuffer;
  /** Rows of whole vectors, as what the linear kernel reads must be. */
  readonly normed: ComputeBuffer;
  /** Also what attention and MLP give, before it is added. */
  readonly qkv: ComputeBuffer;
  /** What the heads make of the values, side by side; rows of whole vectors. */
  readonly mixed: ComputeBuffer;
  /** Rows of whole vectors. */
  readonly neurons: ComputeBuffer;
  /** What a gate multiplies, rows as those of the neurons; null where that is computed in their place. */
  readonly linear: ComputeBuffer | null;
}

/** Consecutive sequences that go through the layers together. */
interface Group {
  readonly firstSequence: number;
  readonly firstToken: number;
  readonly tokens: Uint32Array;
  /** From 0, one more than there are sequences. */
  readonly offsets: Uint32Array;
}

/** What the GPU needs to know of a group. */
interface GroupTables {
  readonly tokens: ComputeBuffer;
  readonly positions: ComputeBuffer;
  readonly blocks: ComputeBuffer;
  readonly blockCount: number;
  /** What to change of the group's rows, by hook point. */
  readonly changes: ReadonlyMap<HookPoint, readonly GroupChange[]>;
}

/** A change that is where the GPU can read it. */
interface DeviceChange {
  readonly change: ColumnChange;
  readonly columns: ComputeBuffer;
  readonly values: ComputeBuffer;
}

/** A change of some rows of a group, or of all. */
interface GroupChange extends DeviceChange {
  readonly rows: ComputeBuffer | null;
  readonly count: number;
}

export interface WebGpuTransformerOptions extends LoadTransformerOptions {
  /** Largest binding in bytes, at most the device's own limit, which is the default. */
  readonly maxBindingBytes?: number | undefined;
  /** Bytes of working memory, unless one sequence needs more; default 256 MiB. Hook points and logits are apart. */
  readonly workBytes?: number | undefined;
}

/**
 * Loads a model onto a GPU, tensor by tensor.
 *
 * @param source tensors by Hugging Face's names
 * @throws MissingTensorError when tensors are missing or misshapen; nothing has been read then
 * @throws OutOfMemoryError when the weights do not fit the device
 * @throws UnsupportedModelError when the heads are too wide for the device
 */
export async function loadWebGpuTransformer(
  device: ComputeDevice,
  spec: TransformerSpec,
  source: TensorSource,
  options: WebGpuTransformerOptions = {},
): Promise<Transformer> {
  options.signal?.throwIfAborted();
  attentionTile(spec.dHead, device.gpu.limits);
  const maxBindingBytes = Math.min(options.maxBindingBytes ?? Infinity, device.maxBindingBytes);
  const scope = device.scope();
  try {
    const weights = await loadTransformerWeights(device, spec, source, maxBindingBytes, scope, options);
    const model = new WebGpuModel(
      device,
      spec,
      weights,
      scope,
      maxBindingBytes,
      options.workBytes ?? WORK_BYTES,
    );
    await model.prepareTurns(Math.min(spec.context, FIRST_TURNS));
    return model;
  } catch (error) {
    scope.dispose();
    if (!(error instanceof OutOfMemoryError)) throw error;
    throw new OutOfMemoryError(
      `The model's weights do not fit the device: ${withoutRemedy(error)}`,
      "Free other models and activations with dispose(), take a smaller model, or use the CPU backend.",
      { cause: error },
    );
  }
}

class WebGpuModel implements Transformer {
  readonly spec: TransformerSpec;
  readonly #device: ComputeDevice;
  readonly #scope: BufferScope;
  readonly #maxBindingBytes: number;
  readonly #workBytes: number;
  /** Angles by rotary settings, [positions × dims]: cosines, then sines, of every position. */
  readonly #turns = new Map<string, ComputeBuffer>();
  #weights: TransformerWeights | undefined;

  constructor(
    device: ComputeDevice,
    spec: TransformerSpec,
    weights: TransformerWeights,
    scope: BufferScope,
    maxBindingBytes: number,
    workBytes: number,
  ) {
    this.spec = spec;
    this.#device = device;
    this.#weights = weights;
    this.#scope = scope;
    this.#maxBindingBytes = maxBindingBytes;
    this.#workBytes = workBytes;
  }

  dispose(): void {
    this.#weights = undefined;
    this.#scope.dispose();
  }

  async forward(batch: TokenBatch, request: ForwardRequest): Promise<ForwardResult> {
    const scope = this.#device.scope();
    try {
      return await this.#forward(batch, request, scope);
    } catch (error) {
      if (!(error instanceof OutOfMemoryError)) throw error;
      throw new OutOfMemoryError(
        `A forward pass over ${batch.tokens.length} tokens does not fit the device: ${withoutRemedy(error)}`,
        "Use a smaller batchTokens, ask for fewer hook points at a time, or aggregate tokens into rows.",
        { cause: error },
      );
    } finally {
      // Destroying a buffer leaves work that was submitted before to finish.
      scope.dispose();
    }
  }

  /**
   * Makes tables of angles for sequences of so many tokens. Shorter ones stay until the model goes, since another pass may
   * be reading them; sizes double, so together they are no larger than the last.
   */
  async prepareTurns(tokens: number): Promise<void> {
    for (const { rotary } of this.spec.attention.layers) {
      if (!rotary) continue;
      const key = JSON.stringify(rotary);
      if ((this.#turns.get(key)?.byteLength ?? 0) >= 4 * tokens * rotary.dims) continue;
      const positions = Math.min(this.spec.context, 2 ** Math.ceil(Math.log2(tokens)));
      const table = rotaryTable(rotary, positions);
      this.#turns.set(key, await this.#scope.allocateFrom("rotary table", table));
    }
  }

  #turnsOf(rotary: RotarySpec): ComputeBuffer {
    return this.#turns.get(JSON.stringify(rotary))!;
  }

  async #forward(batch: TokenBatch, request: ForwardRequest, scope: BufferScope): Promise<ForwardResult> {
    const { spec } = this;
    const device = this.#device;
    const { signal, aggregate } = request;
    const wanted = request.logits ?? "none";
    signal?.throwIfAborted();
    this.#loaded();
    const chosen = chosenTokens(spec, request);
    const toTheEnd = wanted !== "none" || chosen !== null || request.losses === true;
    const layers = hookPointsByLayer(spec, request.hookPoints, toTheEnd);
    assertTokenBatch(spec, batch);

    const tokens = batch.tokens.length;
    const interventions = resolveInterventions(spec, tokens, request.interventions);
    const captured = new Map<HookPoint, WebGpuActivations>();
    for (const point of new Set(request.hookPoints)) {
      const shape = { rows: tokens, neurons: hookWidth(spec, point) };
      const labels = { provenance: { hookPoint: point } };
      const rows = await allocateActivations(device, point, shape, this.#maxBindingBytes, labels);
      captured.set(point, scope.add(rows));
    }
    const sequences = batch.offsets.length - 1;
    const logitRows = wanted === "none" ? 0 : wanted === "last" ? sequences : tokens;
    const logits = wanted === "none" ? null : new Float32Array(logitRows * spec.vocabulary);

    const losses = request.losses ? new Float32Array(tokens) : null;
    const logitsOf = chosen && new Float32Array(tokens * chosen.length);

    const points = [...request.hookPoints, ...interventions.keys()];
    const preApart = points.some((point) => point.endsWith(".mlp.hook_pre"));
    const widths = this.#widths(spec.mlp.gated && preApart);
    const groups = this.#groups(batch, widths);
    const most = Math.max(...groups.map((group) => group.tokens.length));
    const work = await this.#workspace(most, widths, scope);
    const rows = groups.map((group) => group.tokens.length);
    if (wanted === "last") rows.push(...groups.map((group) => group.offsets.length - 1));
    if (losses) rows.push(Math.min(LOSS_ROWS, most));
    const variants = transformerVariants(spec, device.gpu.limits, {
      types: weightTypes(this.#loaded()),
      rows,
      preApart,
      interventions: interventions.size > 0,
      losses: losses !== null,
      chosen: chosen !== null,
    });
    await device.prepare(variants);
    const changes = new Map<HookPoint, DeviceChange[]>();
    for (const [point, list] of interventions) {
      changes.set(point, await Promise.all(list.map((change) => this.#deviceChange(change, scope, signal))));
    }
    const chosenMap = chosen && (await this.#chosenMap(chosen, scope, signal));
    let longest = 0;
    for (let s = 0; s < sequences; s++) longest = Math.max(longest, batch.offsets[s + 1] - batch.offsets[s]);
    await this.prepareTurns(longest);
    const ahead: Promise<void>[] = [];
    for (const group of groups) {
      const tables = device.scope();
      try {
        const about = await this.#tables(group, changes, tables, signal);
        for (let layer = 0; layer < layers.length; layer++) {
          signal?.throwIfAborted();
          const commands = device.batch(`layer ${layer}`);
          if (layer === 0) this.#embed(commands, group, about, work);
          const goesOn = layer + 1 < layers.length || toTheEnd;
          this.#layer(commands, layer, work, group, about, layers[layer], goesOn, captured);
          commands.submit();
          const done = device.guard(device.gpu.queue.onSubmittedWorkDone());
          // A pass that ends early waits for none of them.
          done.catch(() => undefined);
          ahead.push(done);
          if (ahead.length >= LAYERS_AHEAD) await ahead.shift();
        }
        const every = Uint32Array.from(group.tokens.keys());
        if (logits) {
          const last = wanted === "last";
          const first = last ? group.firstSequence : group.firstToken;
          const rows = last ? group.offsets.subarray(1).map((end) => end - 1) : every;
          const out = logits.subarray(first * spec.vocabulary, (first + rows.length) * spec.vocabulary);
          await this.#unembed(work.residual, rows, this.#loaded().unembedding, out, signal);
        }
        if (losses) await this.#tokenLosses(work.residual, group, losses, signal);
        if (chosenMap && logitsOf) {
          const out = logitsOf.subarray(group.firstToken * chosenMap.outputs);
          await this.#unembed(work.residual, every, chosenMap, out, signal);
        }
      } finally {
        tables.dispose();
      }
    }
    await Promise.all(ahead);
    await device.settled();
    signal?.throwIfAborted();

    if (aggregate) {
      for (const [point, rows] of captured) {
        const { aggregation, segments } = aggregate;
        const combined = await aggregateRows(
          device,
          rows,
          aggregation,
          segments,
          this.#maxBindingBytes,
          signal,
        );
        captured.set(point, scope.add(combined));
        rows.dispose();
      }
    }
    for (const rows of captured.values()) scope.release(rows);
    return {
      activations: captured satisfies ReadonlyMap<HookPoint, DeviceActivations>,
      logits,
      losses,
      logitsOf,
    };
  }

  #loaded(): TransformerWeights {
    if (this.#weights) return this.#weights;
    throw new DisposedError("This model was disposed of.", "Load it again.");
  }

  /** Length of a token's row in each working matrix; whether a layer's gate is read or changed by itself. */
  #widths(gateApart: boolean): Record<keyof Workspace, number> {
    const { dModel, dMlp, dHead, heads } = this.spec;
    const neurons = 4 * vectorsOf(dMlp);
    return {
      residual: dModel,
      normed: 4 * vectorsOf(dModel),
      qkv: Math.max(this.#qkvWidth, dModel),
      mixed: 4 * vectorsOf(heads * dHead),
      neurons,
      linear: gateApart ? neurons : 0,
    };
  }

  /** Queries, keys and values of a token. */
  get #qkvWidth(): number {
    return (this.spec.heads + 2 * this.spec.kvHeads) * this.spec.dHead;
  }

  /** Packs sequences in order into groups that fit the working memory; a long sequence may go alone. */
  #groups({ tokens, offsets }: TokenBatch, widths: Record<keyof Workspace, number>): Group[] {
    const lengths = Object.values(widths);
    const together = this.#workBytes / 4 / lengths.reduce((sum, width) => sum + width);
    const { dModel, dMlp, dHead, heads, mlp } = this.spec;
    const perToken = dModel * (this.#qkvWidth + heads * dHead + (mlp.gated ? 3 : 2) * dMlp);
    const room = Math.min(
      together,
      this.#maxBindingBytes / 4 / Math.max(...lengths),
      MOST_OPERATIONS / perToken,
    );
    const groups: Group[] = [];
    for (let s = 0; s + 1 < offsets.length;) {
      const firstSequence = s++;
      const firstToken = offsets[firstSequence];
      while (s + 1 < offsets.length && offsets[s + 1] - firstToken <= room) s++;
      groups.push({
        firstSequence,
        firstToken,
        tokens: tokens.subarray(firstToken, offsets[s]),
        offsets: offsets.slice(firstSequence, s + 1).map((offset) => offset - firstToken),
      });
    }
    return groups;
  }

  async #workspace(
    tokens: number,
    widths: Record<keyof Workspace, number>,
    scope: BufferScope,
  ): Promise<Workspace> {
    const widest = tokens * Math.max(...Object.values(widths)) * 4;
    if (widest > this.#maxBindingBytes) {
      throw new OutOfMemoryError(
        `A sequence of ${tokens} tokens needs a binding of ${widest} bytes, and the device's hold ${this.#maxBindingBytes}.`,
        "Use shorter texts, or a device with a larger maxStorageBufferBindingSize.",
      );
    }
    const matrix = (name: keyof Workspace): Promise<ComputeBuffer> =>
      scope.allocate(name, tokens * widths[name] * 4);
    // All at once: in a browser each allocation is a message to another process and back.
    const [residual, normed, qkv, mixed, neurons, linear] = await together([
      matrix("residual"),
      matrix("normed"),
      matrix("qkv"),
      matrix("mixed"),
      matrix("neurons"),
      widths.linear > 0 ? matrix("linear") : Promise.resolve(null),
    ]);
    return { residual, normed, qkv, mixed, neurons, linear };
  }

  async #tables(
    group: Group,
    changes: ReadonlyMap<HookPoint, readonly DeviceChange[]>,
    scope: BufferScope,
    signal: AbortSignal | undefined,
  ): Promise<GroupTables> {
    const { tokens, offsets } = group;
    const { queries } = attentionTile(this.spec.dHead, this.#device.gpu.limits);
    const positions = new Uint32Array(tokens.length);
    const blocks: number[] = [];
    for (let s = 0; s + 1 < offsets.length; s++) {
      for (let i = offsets[s]; i < offsets[s + 1]; i++) positions[i] = i - offsets[s];
      for (let q = offsets[s]; q < offsets[s + 1]; q += queries) blocks.push(offsets[s], offsets[s + 1], q);
    }
    const ofGroup = async (entry: DeviceChange): Promise<GroupChange> => {
      const listed = tokensWithin(entry.change, group.firstToken, tokens.length);
      const rows =
        listed && listed.length > 0 ? await scope.allocateFrom("changed rows", listed, signal) : null;
      return { ...entry, rows, count: listed ? listed.length : tokens.length };
    };
    const groupChanges = new Map<HookPoint, GroupChange[]>();
    for (const [point, list] of changes) groupChanges.set(point, await Promise.all(list.map(ofGroup)));
    return {
      changes: groupChanges,
      tokens: await scope.allocateFrom("tokens", tokens, signal),
      positions: await scope.allocateFrom("positions", positions, signal),
      blocks: await scope.allocateFrom("query blocks", Uint32Array.from(blocks), signal),
      blockCount: blocks.length / 3,
    };
  }

  /** Fills the residual stream with the embeddings of the group's tokens. */
  #embed(commands: CommandBatch, group: Group, tables: GroupTables, { residual }: Workspace): void {
    const { embedding, positions } = this.#loaded();
    const { scale } = this.spec.embedding;
    const rows = group.tokens.length;
    this.#gatherRows(commands, embedding, tables.tokens, residual, rows, { scale });
    if (positions) {
      this.#gatherRows(commands, positions, tables.positions, residual, rows, { accumulate: 1 });
    }
  }

  /**
   * One layer over a group. What nobody reads is not computed: `goesOn` says that the layer's output is needed.
   * Parallel residual: x + attention(norm₁ x) + mlp(norm₂ x). Sequential: m = x + attention(norm₁ x), m + mlp(norm₂ m).
   */
  #layer(
    commands: CommandBatch,
    index: number,
    work: Workspace,
    group: Group,
    tables: GroupTables,
    hooks: ReadonlySet<HookName>,
    goesOn: boolean,
    captured: ReadonlyMap<HookPoint, WebGpuActivations>,
  ): void {
    const { spec } = this;
    const { dModel, dMlp } = spec;
    const { parallel } = spec.residual;
    const layer = this.#loaded().layers[index];
    const rows = group.tokens.length;
    const output = goesOn || hooks.has("hook_resid_post");
    const post = output || hooks.has("mlp.hook_post");
    const pre = post || hooks.has("mlp.hook_pre");
    const entersMlp = pre || hooks.has("mlp.hook_pre_linear");
    const middle = !parallel && (entersMlp || hooks.has("hook_resid_mid"));
    const attends = output || middle || hooks.has("hook_attn_out");
    const { residual, normed, qkv, mixed, neurons, linear } = work;
    const neuronStride = 4 * vectorsOf(dMlp);
    /** What follows a product (activation, sum) is computed with it, unless the product itself is captured or changed. */
    const apart = (name: HookName): boolean =>
      hooks.has(name) || tables.changes.has(`blocks.${index}.${name}`);
    /** Every hook point passes here when its rows are complete, with where they lie, and before anything reads them. */
    const reached = (name: HookName, from: ComputeBuffer, stride: number): void => {
      for (const change of tables.changes.get(`blocks.${index}.${name}`) ?? []) {
        intervene(commands, from, stride, change);
      }
      const target = captured.get(`blocks.${index}.${name}`);
      if (target) copyRows(commands, from, stride, rows, target, group.firstToken);
    };
    /** Adds what attention or MLP give to the residual stream, behind the post-norm, if there is one. */
    const addOutput = (
      x: ComputeBuffer,
      map: LinearMap,
      postNorm: NormWeights | null,
      adds: boolean,
      name?: HookName,
    ): void => {
      if (!postNorm && !(name && apart(name))) {
        if (adds) this.#linear(commands, x, map, residual, rows, dModel, { combine: Combine.add });
        return;
      }
      // Queries, keys and values are done with.
      this.#linear(commands, x, map, qkv, rows, dModel);
      if (postNorm) this.#norm(commands, qkv, postNorm, normed, rows, dModel);
      const result = postNorm ? normed : qkv;
      if (name) reached(name, result, dModel);
      if (adds) add(commands, result, residual, rows * dModel);
    };

    reached("hook_resid_pre", residual, dModel);
    if (attends) {
      this.#norm(commands, residual, layer.attentionNorm, normed, rows);
      this.#linear(commands, normed, layer.qkv, qkv, rows, this.#qkvWidth);
      this.#attention(commands, work, rows, tables, index);
    }
    // The MLP of a parallel residual reads the layer's input, so its norm comes before anything is added to it.
    const { sharedNorm } = spec.residual;
    if (parallel && entersMlp && !(attends && sharedNorm)) {
      this.#norm(commands, residual, layer.mlpNorm, normed, rows);
    }
    if (attends)
      addOutput(mixed, layer.attentionOut, layer.attentionPostNorm, output || middle, "hook_attn_out");
    if (middle) reached("hook_resid_mid", residual, dModel);
    if (!entersMlp) return;
    if (!parallel) this.#norm(commands, residual, layer.mlpNorm, normed, rows);
    const activation = ACTIVATION_CODE[spec.mlp.activation];
    const gateApart = apart("mlp.hook_pre");
    if (layer.gate && (post || hooks.has("mlp.hook_pre_linear"))) {
      // Where nobody looks at the gate, it multiplies this in its place.
      const factor = gateApart ? linear! : neurons;
      this.#linear(commands, normed, layer.mlpIn, factor, rows, neuronStride);
      reached("mlp.hook_pre_linear", factor, neuronStride);
    }
    if (!pre) return;
    this.#linear(commands, normed, layer.gate ?? layer.mlpIn, neurons, rows, neuronStride, {
      activation: gateApart ? 0 : activation,
      combine: layer.gate && !gateApart ? Combine.multiply : Combine.overwrite,
    });
    if (gateApart) reached("mlp.hook_pre", neurons, neuronStride);
    if (!post) return;
    if (gateApart) {
      if (layer.gate) gate(commands, linear!, neurons, rows * neuronStride, activation);
      else activate(commands, neurons, rows * neuronStride, activation);
    }
    reached("mlp.hook_post", neurons, neuronStride);
    if (!output) return;
    addOutput(neurons, layer.mlpOut, layer.mlpPostNorm, true);
    reached("hook_resid_post", residual, dModel);
  }

  async #deviceChange(
    change: ColumnChange,
    scope: BufferScope,
    signal: AbortSignal | undefined,
  ): Promise<DeviceChange> {
    const [columns, values] = await together([
      scope.allocateFrom("changed columns", change.columns, signal),
      scope.allocateFrom("values of changes", change.values, signal),
    ]);
    return { change, columns, values };
  }

  /** The part of the unembedding that gives chosen logits. */
  async #chosenMap(
    chosen: Uint32Array,
    scope: BufferScope,
    signal: AbortSignal | undefined,
  ): Promise<LinearMap> {
    const { unembedding } = this.#loaded();
    const { inputs } = unembedding;
    const stride = 4 * vectorsOf(inputs);
    const outputs = chosen.length;
    const [indices, weight, bias] = await together([
      scope.allocateFrom("chosen tokens", chosen, signal),
      scope.allocate("chosen unembeddings", 4 * stride * outputs),
      scope.allocate("chosen biases", 4 * outputs),
    ]);
    const commands = this.#device.batch("chosen unembeddings");
    this.#gatherRows(commands, unembedding.weight, indices, weight, outputs, { width: stride });
    const biases = floatMatrix(unembedding.bias, unembedding.outputs, 1);
    this.#gatherRows(commands, biases, indices, bias, outputs, { width: 1 });
    commands.submit();
    return { outputs, inputs, weight: floatMatrix(weight, outputs, stride), bias };
  }

  /** Losses of a group's tokens, each from the residual stream of the token before. */
  async #tokenLosses(
    residual: ComputeBuffer,
    group: Group,
    out: Float32Array,
    signal: AbortSignal | undefined,
  ): Promise<void> {
    const { dModel } = this.spec;
    const { softcap } = this.spec.unembedding;
    const { finalNorm, unembedding } = this.#loaded();
    const ends = new Set(group.offsets);
    const predicting = Uint32Array.from(group.tokens.keys()).filter((i) => !ends.has(i + 1));
    const most = this.#maxBindingBytes / 4;
    const step = Math.min(LOSS_ROWS, predicting.length, Math.floor(most / COLUMN_STEP));
    if (step === 0) return;
    const columns = COLUMN_STEP * Math.floor(Math.min(LOSS_COLUMNS, most / step) / COLUMN_STEP);
    const scope = this.#device.scope();
    try {
      const indices = await scope.allocate("positions", step * 4);
      const targets = await scope.allocate("targets", step * 4);
      const picked = await scope.allocate("picked positions", step * dModel * 4);
      const normed = await scope.allocate("final layer norm", step * 4 * vectorsOf(dModel) * 4);
      const logits = await scope.allocate("logits of some columns", step * columns * 4);
      const running = await scope.allocate("running sums", step * 3 * 4);
      const losses = await scope.allocate("losses", step * 4);
      for (let start = 0; start < predicting.length; start += step) {
        const block = predicting.subarray(start, start + step);
        const rows = block.length;
        this.#device.write(indices, block);
        this.#device.write(
          targets,
          block.map((i) => group.tokens[i + 1]),
        );
        const commands = this.#device.batch("losses");
        const table = floatMatrix(residual, residual.byteLength / 4 / dModel, dModel);
        this.#gatherRows(commands, table, indices, picked, rows);
        this.#norm(commands, picked, finalNorm, normed, rows);
        for (const part of unembedding.weight.parts) {
          for (let at = 0; at < part.rows; at += columns) {
            const width = Math.min(columns, part.rows - at);
            const first = part.firstRow + at;
            const weight = {
              ...unembedding.weight,
              parts: [{ ...part, firstRow: first, rows: width, skip: at }],
            };
            this.#linear(commands, normed, { ...unembedding, weight }, logits, rows, width, {
              firstColumn: 0,
            });
            if (softcap !== null) limit(commands, logits, rows * width, softcap);
            commands.dispatch(tokenLossesKernel, {
              bindings: { logits, targets, running, losses },
              params: { rows, columns: width, first },
              workgroups: rows,
            });
            // A large vocabulary takes long: each part is a submission of its own.
            commands.submit();
          }
        }
        const read = await this.#device.readFloats(losses, { byteLength: 4 * rows, signal });
        for (const [r, i] of block.entries()) out[group.firstToken + i + 1] = read[r];
      }
    } finally {
      scope.dispose();
    }
  }

  /** Logits of some rows of the residual stream by a map, read back into `out`. */
  async #unembed(
    residual: ComputeBuffer,
    rows: Uint32Array,
    map: LinearMap,
    out: Float32Array,
    signal: AbortSignal | undefined,
  ): Promise<void> {
    const { dModel } = this.spec;
    const vocabulary = map.outputs;
    const { softcap } = this.spec.unembedding;
    const bytes = Math.min(LOGIT_BYTES, this.#maxBindingBytes);
    const step = Math.max(1, Math.min(rows.length, Math.floor(bytes / (vocabulary * 4))));
    const scope = this.#device.scope();
    try {
      const indices = await scope.allocate("positions", step * 4);
      const picked = await scope.allocate("picked positions", step * dModel * 4);
      const normed = await scope.allocate("final layer norm", step * 4 * vectorsOf(dModel) * 4);
      const logits = await scope.allocate("logits", step * vocabulary * 4);
      for (let start = 0; start < rows.length; start += step) {
        const { finalNorm } = this.#loaded();
        const block = rows.subarray(start, start + step);
        this.#device.write(indices, block);
        const commands = this.#device.batch("logits");
        const table = floatMatrix(residual, residual.byteLength / 4 / dModel, dModel);
        this.#gatherRows(commands, table, indices, picked, block.length);
        this.#norm(commands, picked, finalNorm, normed, block.length);
        this.#linear(commands, normed, map, logits, block.length, vocabulary);
        if (softcap !== null) limit(commands, logits, block.length * vocabulary, softcap);
        commands.submit();
        const byteLength = block.length * vocabulary * 4;
        out.set(await this.#device.readFloats(logits, { byteLength, signal }), start * vocabulary);
      }
    } finally {
      scope.dispose();
    }
  }

  #gatherRows(
    commands: CommandBatch,
    table: Matrix,
    indices: ComputeBuffer,
    out: ComputeBuffer,
    rows: number,
    {
      scale = 1,
      accumulate = 0,
      width = this.spec.dModel,
    }: { scale?: number; accumulate?: number; width?: number } = {},
  ): void {
    const { type, stride, parts } = table;
    for (const { buffer, firstRow, rows: tableRows } of parts) {
      commands.dispatch(gatherRowsKernel, {
        bindings: { table: buffer, indices, out },
        params: { rows, width, stride, first_row: firstRow, table_rows: tableRows, scale, accumulate },
        overrides: { weight_type: WEIGHT_CODE[type] },
        workgroups: Math.ceil((rows * width) / gatherRowsKernel.overrides.workgroup_size),
      });
    }
  }

  /** Normalises rows of dModel values; those of the result are whole vectors unless their stride is given. */
  #norm(
    commands: CommandBatch,
    x: ComputeBuffer,
    { gain, bias }: NormWeights,
    y: ComputeBuffer,
    rows: number,
    stride: number = 4 * vectorsOf(this.spec.dModel),
  ): void {
    const { dModel: width, norm } = this.spec;
    const centred = norm.kind === "layer" ? 1 : 0;
    commands.dispatch(layerNormKernel, {
      bindings: { x, gain, bias, y },
      params: { rows, width, y_stride: stride, epsilon: norm.epsilon, centred },
      workgroups: rows,
    });
  }

  #linear(
    commands: CommandBatch,
    x: ComputeBuffer,
    map: LinearMap,
    y: ComputeBuffer,
    rows: number,
    stride: number,
    {
      activation = 0,
      combine = Combine.overwrite,
      firstColumn,
    }: { activation?: number; combine?: Combine; firstColumn?: number } = {},
  ): void {
    const tile = linearTile(rows);
    const { weight: matrix } = map;
    const bytes = rowBytes(matrix);
    for (const { buffer, firstRow, rows: outputs, skip = 0 } of matrix.parts) {
      const weight = { buffer, offset: skip * bytes, byteLength: outputs * bytes };
      commands.dispatch(linearKernel, {
        bindings: { x, weight, bias: map.bias, y },
        params: {
          rows,
          inputs: vectorsOf(map.inputs),
          outputs,
          first_output: firstRow,
          first_column: firstColumn ?? firstRow,
          y_stride: stride,
          activation,
          combine,
        },
        overrides: { ...tile.overrides, weight_type: WEIGHT_CODE[matrix.type] },
        workgroups: [Math.ceil(outputs / tile.columns), Math.ceil(rows / tile.rows), 1],
      });
    }
  }

  /** Normalises and rotates queries and keys, where the model does, and attends. */
  #attention(
    commands: CommandBatch,
    { qkv, mixed }: Workspace,
    tokens: number,
    { positions, blocks, blockCount }: GroupTables,
    layer: number,
  ): void {
    const { heads, kvHeads, dHead, attention, norm } = this.spec;
    const { queryNorm, keyNorm } = this.#loaded().layers[layer];
    const { rotary, window } = attention.layers[layer % attention.layers.length];
    const stride = this.#qkvWidth;
    const normalise = ({ gain }: NormWeights, first: number, count: number): void => {
      commands.dispatch(headNormKernel, {
        bindings: { x: qkv, gain },
        params: {
          rows: tokens,
          row_stride: stride,
          first_column: first * dHead,
          heads: count,
          width: dHead,
          epsilon: norm.epsilon,
        },
        workgroups: tokens * count,
      });
    };
    if (queryNorm) normalise(queryNorm, 0, heads);
    if (keyNorm) normalise(keyNorm, heads, kvHeads);
    if (rotary && rotary.dims > 0) {
      const half = rotary.dims / 2;
      const turned = heads + kvHeads;
      commands.dispatch(rotaryKernel, {
        bindings: { qkv, turns: this.#turnsOf(rotary), positions },
        params: { tokens, row_stride: stride, heads: turned, head_width: dHead, half },
        workgroups: Math.ceil((tokens * turned * half) / rotaryKernel.overrides.workgroup_size),
      });
    }
    commands.dispatch(causalAttentionKernel, {
      bindings: { qkv, blocks, z: mixed },
      params: {
        block_count: blockCount,
        heads,
        kv_heads: kvHeads,
        head_width: dHead,
        z_stride: 4 * vectorsOf(heads * dHead),
        scale: attention.scale,
        softcap: attention.softcap ?? 0,
        window: Math.min(window ?? NO_WINDOW, NO_WINDOW),
      },
      overrides: attentionTile(dHead, this.#device.gpu.limits).overrides,
      workgroups: blockCount * heads,
    });
  }
}

function withoutRemedy({ message, remedy }: OutOfMemoryError): string {
  return message.slice(0, message.length - remedy.length).trimEnd();
}

function add(commands: CommandBatch, x: ComputeBuffer, y: ComputeBuffer, count: number): void {
  commands.dispatch(addKernel, {
    bindings: { x, y },
    params: { count },
    workgroups: Math.ceil(count / addKernel.overrides.workgroup_size),
  });
}

function intervene(
  commands: CommandBatch,
  x: ComputeBuffer,
  stride: number,
  { change, columns, values, rows, count: changed }: GroupChange,
): void {
  const width = change.columns.length;
  const count = changed * width;
  commands.dispatch(interveneKernel, {
    bindings: { x, columns, values, rows: rows ?? columns },
    params: { count, width, stride, kind: CHANGE_CODE[change.kind], listed: rows ? 1 : 0 },
    workgroups: Math.ceil(count / interveneKernel.overrides.workgroup_size),
  });
}

function gate(
  commands: CommandBatch,
  x: ComputeBuffer,
  y: ComputeBuffer,
  count: number,
  activation: number,
): void {
  commands.dispatch(gateKernel, {
    bindings: { x, y },
    params: { count, activation },
    workgroups: Math.ceil(count / gateKernel.overrides.workgroup_size),
  });
}

function limit(commands: CommandBatch, y: ComputeBuffer, count: number, cap: number): void {
  commands.dispatch(softcapKernel, {
    bindings: { y },
    params: { count, cap },
    workgroups: Math.ceil(count / softcapKernel.overrides.workgroup_size),
  });
}

function activate(commands: CommandBatch, y: ComputeBuffer, count: number, activation: number): void {
  commands.dispatch(activateKernel, {
    bindings: { y },
    params: { count, activation },
    workgroups: Math.ceil(count / activateKernel.overrides.workgroup_size),
  });
}

/** Copies `rows` rows of a working matrix to rows firstRow … of the activations. */
function copyRows(
  commands: CommandBatch,
  from: ComputeBuffer,
  stride: number,
  rows: number,
  target: WebGpuActivations,
  firstRow: number,
): void {
  const width = target.neurons;
  for (const chunk of target.chunks) {
    const start = Math.max(firstRow, chunk.firstRow);
    const end = Math.min(firstRow + rows, chunk.firstRow + chunk.rows);
    // Rows of whole vectors follow each other without gaps.
    const step = stride === width ? Math.max(1, end - start) : 1;
    for (let row = start; row < end; row += step) {
      const to = chunk.offset + (row - chunk.firstRow) * width * 4;
      commands.copy(from, (row - firstRow) * stride * 4, chunk.buffer, to, step * width * 4);
    }
  }
}
