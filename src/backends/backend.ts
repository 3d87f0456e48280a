/**
 * The backend contract: the statistics and model passes that the rest of the library is written against.
 *
 * It is an interface at the grain of what the library needs (class moments, gathered columns, a batch of logistic
 * fits, a transformer's forward pass), not a tensor library. A backend owns the memory of its {@link DeviceActivations}
 * and {@link Transformer}s; nothing is registered globally. Every implementation passes one conformance suite
 * (`test/conformance`).
 */
import type { Activations, ActivationsOptions, StorageType } from "../data/activations.ts";
import type { ClassMoments, MomentSquares } from "../data/class-moments.ts";
import type { LabelMatrix } from "../data/labels.ts";
import type { TensorSource } from "../data/tensor.ts";

/** What every long call accepts. */
export interface CallOptions {
  /** Stops the call within one batch; the call then rejects with the signal's reason and frees what it allocated. */
  readonly signal?: AbortSignal | undefined;
}

/** What runs, where, and why not somewhere else. */
export interface BackendInfo {
  readonly kind: "cpu" | "webgpu" | "gpujs";
  /** The device in words: the adapter's name, or the CPU kernels in use. */
  readonly device: string;
  /** Threads of the CPU that compute. */
  readonly threads: number;
  /** Why `createBackend("auto")` did not take the GPU; absent when nothing was refused. */
  readonly fallbackReason?: string;
}

/** A GPU buffer of the caller's own device, seen without naming a GPU type. `GPUBuffer` satisfies it. */
export interface ForeignBuffer {
  readonly size: number;
  readonly usage: number;
  readonly mapState: string;
  destroy(): void;
}

/** Activations [rows × neurons] that live where a backend computes. */
export interface DeviceActivations {
  readonly rows: number;
  readonly neurons: number;
  readonly dtype: StorageType;
  /** Copies the activations back to the host. */
  read(options?: CallOptions): Promise<Activations>;
  /** Frees the memory; a second call does nothing. Foreign buffers are left to their owner. */
  dispose(): void;
}

export interface ClassMomentsOptions extends CallOptions {
  /** Which sums of squares are computed beside the means. Default `"class"`. */
  readonly squares?: MomentSquares | undefined;
}

/** How the tokens of a text become rows. */
export type Aggregation = "token" | "mean" | "max" | "last";

/**
 * Which rows of a [tokens × neurons] matrix make up each output row: output row r is made of
 * `rows[offsets[r] .. offsets[r+1])`. With "token", every listed row is its own output row and `offsets` is ignored.
 */
export interface RowSegments {
  readonly rows: Uint32Array;
  readonly offsets: Uint32Array;
}

/** One logistic problem of a batch: a support, and the label set that it is fitted to. */
export interface LogisticProblem {
  /** Index of the label set in the {@link LabelMatrix}. */
  readonly feature: number;
  /** Columns of the activations, k of them, in support order. */
  readonly support: Uint32Array;
  /** Subtracted from each support column; length k; zeros when absent. */
  readonly center?: Float64Array;
  /** Divides each support column after centring; length k; ones when absent. Never zero. */
  readonly scale?: Float64Array;
}

/** The objective and the stopping rule, shared by a batch. */
export interface LogisticOptions extends CallOptions {
  /** Inverse regularisation strength C > 0 of scikit-learn's objective. */
  readonly C: number;
  /** Class weights n/(2·n_class) when true, 1 when false. */
  readonly balanced: boolean;
  /** Newton decrement λ²/(2·C·Σω) at which a fit counts as converged. */
  readonly tolerance: number;
  /** Newton steps at most; on more than 512 columns steps of any kind, and ten times as many passes over the data. */
  readonly maxIterations: number;
  /** Called after each finished part of the batch with the number of finished problems. */
  readonly onProgress?: ((done: number, total: number) => void) | undefined;
}

/** How a fit ended, evaluated in float64, or on a GPU in pairs of float32 that keep 44 bits at least. */
export interface Convergence {
  /** The Newton decrement is at or below the tolerance. */
  readonly converged: boolean;
  /** Newton steps taken, polishing included. */
  readonly iterations: number;
  /** Euclidean norm of the objective's gradient at the result. */
  readonly gradientNorm: number;
  /**
   * λ²/(2·C·Σω): an estimate of the mean loss per unit weight still to be gained; unchanged by scaling X. On more than 512
   * columns an upper estimate, taken before the last step.
   */
  readonly newtonDecrement: number;
  /** The objective's value. */
  readonly objective: number;
  /** Every weighted row lies strictly on its side: only the penalty keeps the coefficients finite. */
  readonly separated: boolean;
}

/** One fitted problem of {@link Backend.fitLogistic}. */
export interface LogisticFit {
  /** On the centred and scaled columns, support order, length k. */
  readonly coefficients: Float64Array;
  readonly intercept: number;
  readonly convergence: Convergence;
}

/** The objective of {@link Backend.fitSingleNeurons}, and what is done to each neuron before. */
export interface SingleNeuronOptions extends LogisticOptions {
  /** Subtracted from each neuron, [features × neurons]; zeros when absent. */
  readonly center?: Float64Array;
  /** Divides each neuron after centring, [features × neurons]; ones when absent. Never zero. */
  readonly scale?: Float64Array;
}

/** One probe of every neuron alone; every array is [features × neurons]. */
export interface SingleNeuronFits {
  readonly features: number;
  readonly neurons: number;
  /** On the centred and scaled neuron. */
  readonly coefficients: Float64Array;
  readonly intercepts: Float64Array;
  /** The objective's value; to about 2⁻²³·C·Σω where it was computed in float32. */
  readonly objectives: Float64Array;
  /** λ²/(2·C·Σω), or a bound of it where the result was computed in float32. */
  readonly newtonDecrements: Float64Array;
  /** 1 where the Newton decrement is at or below the tolerance. */
  readonly converged: Uint8Array;
}

/** How well each neuron's activation alone tells the classes apart; every array is [features × neurons]. */
export interface NeuronRoc {
  readonly features: number;
  readonly neurons: number;
  /** Area under the ROC curve with the activation as the score: P(positive > negative) + P(equal)/2, exact but for one rounding. */
  readonly auc: Float64Array;
  /**
   * The observed value t for which the rule "activation ≥ t" has the largest |TPR − FPR|; of several, the highest.
   */
  readonly threshold: Float64Array;
  /** TPR − FPR of that rule, exact but for one rounding; negative when the neuron is low on positive rows. */
  readonly informedness: Float64Array;
}

/** Where a fit with an L1 penalty may start: an earlier {@link L1Fit}, or its like. */
export type L1Start = Pick<L1Fit, "support" | "coefficients" | "intercept">;

/** A probe with an L1 penalty, or an elastic net, over all columns or some: the penalty chooses among them. */
export interface L1Problem {
  /** Index of the label set in the {@link LabelMatrix}. */
  readonly feature: number;
  /** Inverse regularisation strength C > 0: min C·Σ ω·loss + (1 − ρ)/2·‖w‖² + ρ·‖w‖₁, the intercept without penalty. */
  readonly C: number;
  /** ρ, the share of the penalty that is L1, 0 < ρ ≤ 1. Default 1. */
  readonly l1Ratio?: number;
  /** The only columns that may have a coefficient, each once, in any order. Default: all. */
  readonly support?: Uint32Array;
  /** Subtracted from every column; by column of the support, or of all d; zeros when absent. */
  readonly center?: Float64Array;
  /** Divides every column after centring; as long as `center`; ones when absent. Never zero. */
  readonly scale?: Float64Array;
  /**
   * Where to start. It changes how long a fit takes, and its result only within the tolerance; columns outside the support
   * are left out, and a start that is worse than no coefficients is not used.
   */
  readonly start?: L1Start;
}

/** Class weights and stopping rule of a batch with an L1 penalty. */
export interface L1Options extends CallOptions {
  /** Class weights n/(2·n_class) when true, 1 when false. */
  readonly balanced: boolean;
  /** Duality gap per unit of weight, gap/(C·Σω), at which a fit counts as converged. */
  readonly tolerance: number;
  /** Proximal Newton steps at most. */
  readonly maxIterations: number;
  /** Called after each finished problem with the number of finished problems. */
  readonly onProgress?: ((done: number, total: number) => void) | undefined;
}

/** How an L1 fit ended, evaluated in float64 whatever the backend. */
export interface L1Convergence {
  /** The duality gap per unit of weight is at or below the tolerance. */
  readonly converged: boolean;
  /** Proximal Newton steps taken. */
  readonly iterations: number;
  /** The objective's value. */
  readonly objective: number;
  /** The objective minus a lower bound of its minimum: never negative. */
  readonly dualityGap: number;
  /** Euclidean norm of the objective's shortest subgradient at the result. */
  readonly gradientNorm: number;
  /** Every weighted row lies strictly on its side. */
  readonly separated: boolean;
}

/** One fitted problem of {@link Backend.fitLogisticL1}. */
export interface L1Fit {
  /** Columns whose coefficient is not zero, ascending. */
  readonly support: Uint32Array;
  /** On the centred and scaled columns, in the order of `support`. */
  readonly coefficients: Float64Array;
  readonly intercept: number;
  readonly convergence: L1Convergence;
}

/** Families of models that a {@link TransformerSpec} can describe, by Hugging Face's `model_type`. */
export type Architecture =
  "gpt_neox" | "gpt2" | "llama" | "mistral" | "qwen2" | "qwen3" | "gemma2" | "gemma3_text" | "phi" | "phi3";

/** The non-linearity of the MLP; `gelu` is the exact one, by the error function. */
export type MlpActivation = "gelu" | "gelu-tanh" | "relu" | "silu";

/** How frequencies of rotary embeddings are changed for contexts beyond those of the training. */
export type RotaryScaling =
  /** All divided by `factor`. */
  | { readonly kind: "linear"; readonly factor: number }
  /**
   * Llama 3: wavelengths above `originalContext/lowFrequencyFactor` are stretched by `factor`, those below
   * `originalContext/highFrequencyFactor` are left alone, those between are blended.
   */
  | {
      readonly kind: "llama3";
      readonly factor: number;
      readonly lowFrequencyFactor: number;
      readonly highFrequencyFactor: number;
      readonly originalContext: number;
    }
  /**
   * YaRN (Peng et al. 2023): dimensions that turn less than `betaSlow` times in `originalContext` tokens are stretched, those
   * that turn more than `betaFast` times are left alone; cosines and sines are multiplied by `magnitude`.
   */
  | {
      readonly kind: "yarn";
      readonly factor: number;
      readonly originalContext: number;
      readonly betaFast: number;
      readonly betaSlow: number;
      /** The bounds between are whole dimensions. */
      readonly truncate: boolean;
      readonly magnitude: number;
    };

/** Rotary position embedding: value i of a head turns together with value i + dims/2, by position·base^(−2i/dims). */
export interface RotarySpec {
  /** Leading dimensions of each head that are rotated, an even number. */
  readonly dims: number;
  readonly base: number;
  readonly scaling: RotaryScaling | null;
}

/** What the layers' attention may differ in. */
export interface AttentionLayer {
  /** Null where positions are learned embeddings. */
  readonly rotary: RotarySpec | null;
  /** Keys that a query sees, itself included; null: all before it. */
  readonly window: number | null;
}

/**
 * Architecture of a decoder-only transformer, after its config file has been read and checked: everything that a backend
 * needs in order to run it. Nothing else about a family is known to the code that computes.
 */
export interface TransformerSpec {
  readonly architecture: Architecture;
  readonly layers: number;
  /** Width of the residual stream. */
  readonly dModel: number;
  /** Heads of queries. */
  readonly heads: number;
  /** Heads of keys and values; each serves heads/kvHeads heads of queries that follow one another. */
  readonly kvHeads: number;
  /** Width of a head; heads·dHead may differ from dModel. */
  readonly dHead: number;
  /** Neurons per layer. */
  readonly dMlp: number;
  readonly vocabulary: number;
  /** Tokens that one sequence may have. */
  readonly context: number;
  readonly embedding: {
    /** Multiplies the tokens' embeddings. */
    readonly scale: number;
    /** A learned embedding of each position is added. */
    readonly learnedPositions: boolean;
  };
  readonly norm: {
    /** (x − mean)/√(variance + ε)·gain + bias, or x/√(mean of squares + ε)·gain. */
    readonly kind: "layer" | "rms";
    readonly epsilon: number;
    /** Added to the gain that the checkpoint stores: 1 for Gemma. */
    readonly gainOffset: 0 | 1;
  };
  readonly attention: {
    /** Multiplies the products of queries and keys. */
    readonly scale: number;
    /** Scores s become softcap·tanh(s/softcap). */
    readonly softcap: number | null;
    /** Queries, keys and values have biases. */
    readonly biases: boolean;
    readonly outputBias: boolean;
    /** Queries and keys are normalised head by head, by an RMS norm, before they are rotated. */
    readonly headNorms: boolean;
    /** Layer l is of kind `l % layers.length`. */
    readonly layers: readonly AttentionLayer[];
  };
  readonly mlp: {
    /** The neurons are f(x·W_gate)·(x·W_in) rather than f(x·W_in). */
    readonly gated: boolean;
    readonly activation: MlpActivation;
    readonly biases: boolean;
  };
  readonly residual: {
    /** Attention and MLP both read the layer's input, or one after the other. */
    readonly parallel: boolean;
    /** They read it through the same norm. */
    readonly sharedNorm: boolean;
    /** What attention and MLP give is normalised before it is added. */
    readonly postNorms: boolean;
  };
  readonly unembedding: {
    /** It is the embedding, and has no bias. */
    readonly tied: boolean;
    readonly bias: boolean;
    /** Logits x become softcap·tanh(x/softcap). */
    readonly softcap: number | null;
  };
}

/** The part of a hook point's name after the layer. */
export type HookName =
  | "mlp.hook_pre"
  | "mlp.hook_pre_linear"
  | "mlp.hook_post"
  | "hook_resid_pre"
  | "hook_resid_mid"
  | "hook_resid_post"
  | "hook_attn_out";

/**
 * Where activations are read, in TransformerLens' names, e.g. `blocks.3.mlp.hook_post`. `d` of the rows is dMlp for `mlp.*`,
 * dModel for the others.
 *
 * - `mlp.hook_pre`: before the non-linearity; of a gated MLP its gate, x·W_gate
 * - `mlp.hook_pre_linear`: what the gate multiplies, x·W_in; of gated MLPs alone
 * - `mlp.hook_post`: the neurons, as they enter the down projection; of a gated MLP the product
 * - `hook_resid_pre`, `hook_resid_mid`, `hook_resid_post`: the residual stream before the attention, between attention and
 *   MLP (not where these are parallel), and behind the layer
 * - `hook_attn_out`: what the attention adds to the residual stream, behind its post-norm where there is one
 */
export type HookPoint = `blocks.${number}.${HookName}`;

/** Sequences laid end to end without padding: sequence s is `tokens[offsets[s] .. offsets[s+1])`. */
export interface TokenBatch {
  readonly tokens: Uint32Array;
  readonly offsets: Uint32Array;
}

/** What becomes of values x at a hook point. */
export type ActivationChange =
  /** The value given, one for all neurons or one for each: 0, or the neurons' means. */
  | { readonly kind: "set"; readonly values: number | ArrayLike<number> }
  /** factor·x */
  | { readonly kind: "scale"; readonly factor: number }
  /** x + strength·direction, a value for each neuron; the strength is 1 when left out. */
  | { readonly kind: "add"; readonly direction: ArrayLike<number>; readonly strength?: number | undefined };

/**
 * A change of activations at a hook point, before anything reads them: what is captured there is what the rest of the model
 * sees. Several at one point happen in the order given. Where nothing asked for comes behind the point, it is not reached.
 */
export type Intervention = ActivationChange & {
  readonly hookPoint: HookPoint;
  /** Neurons, or dimensions of the residual stream, each once; lists of values are in their order. Default: all. */
  readonly neurons?: ArrayLike<number> | undefined;
  /** Tokens of the batch, rising. Default: all. */
  readonly tokens?: ArrayLike<number> | undefined;
};

/** What a forward pass is to return. */
export interface ForwardRequest extends CallOptions {
  readonly hookPoints: readonly HookPoint[];
  /** What to change on the way. */
  readonly interventions?: readonly Intervention[] | undefined;
  /** The cross-entropy of every token that has one before it. Logits are summed as they are computed, not kept. Default false. */
  readonly losses?: boolean | undefined;
  /** Tokens of the vocabulary whose logits are returned, of every row, without computing the others. */
  readonly logitsOf?: ArrayLike<number> | undefined;
  /** Logits of no token, of each sequence's last token, or of every token. Default "none". */
  readonly logits?: "none" | "last" | "all";
  /** Applied on the device to every hook point's rows before they are returned; absent: one row per token. */
  readonly aggregate?: { readonly aggregation: Aggregation; readonly segments: RowSegments };
}

/** What {@link ForwardRequest} asked for. */
export interface ForwardResult {
  /** Device activations by hook point; the caller disposes of them. */
  readonly activations: ReadonlyMap<HookPoint, DeviceActivations>;
  /** [rows × vocabulary] row-major, or null when not asked for. */
  readonly logits: Float32Array | null;
  /**
   * By token of the batch, in nats: −log of the probability that the model gives token t from those before it in its
   * sequence. The first token of a sequence has none and holds 0: leave `offsets[s]` out of sums. Null when not asked for.
   */
  readonly losses: Float32Array | null;
  /** [tokens × logitsOf.length] row-major: what the model gives each token asked for to come next; null when not asked for. */
  readonly logitsOf: Float32Array | null;
}

/** A loaded model on a backend. The pass stops after the deepest hook point when neither logits nor losses are asked for. */
export interface Transformer {
  readonly spec: TransformerSpec;
  forward(batch: TokenBatch, request: ForwardRequest): Promise<ForwardResult>;
  dispose(): void;
}

/**
 * How a GPU keeps a model's matrices; sums are in float32 all the same.
 *
 * - `"auto"`: F16 and BF16 in their own 16 bits, which loses nothing, everything else in float32
 * - `"float32"`: all of them in float32
 * - `"float16"`: as `"auto"`, and everything else rounded to the nearest binary16, unless a value of the matrix is beyond
 *   its range of ±65504
 */
export type WeightStorage = "auto" | "float32" | "float16";

export interface LoadTransformerOptions extends CallOptions {
  /** Of the webgpu backend; the cpu backend keeps float32. Default "auto". */
  readonly weights?: WeightStorage | undefined;
  /** Called after each tensor. */
  readonly onProgress?: ((done: number, total: number) => void) | undefined;
}

/** Statistics and model passes on one device; every implementation passes `test/conformance`. */
export interface Backend {
  readonly info: BackendInfo;
  /**
   * Places activations where this backend computes. The CPU borrows them: its kernels copy block by block what does not
   * come from {@link Backend.allocate}.
   */
  upload(activations: Activations, options?: CallOptions): Promise<DeviceActivations>;
  /**
   * Zeros [rows × neurons] in memory that this backend computes in, to be filled through `data` and then used like any other
   * activations. The CPU's kernels read them without a copy where memory can be shared between threads; elsewhere they
   * are ordinary arrays.
   * @throws OutOfMemoryError when they do not fit
   */
  allocate(rows: number, neurons: number, options?: ActivationsOptions): Promise<Activations>;
  /** Gives back the memory of {@link Backend.allocate}; the activations and everything cut from them must not be used again. */
  release(activations: Activations): Promise<void>;
  /**
   * Wraps the caller's own GPU buffer, row-major [rows × neurons], without a copy.
   * @throws BackendUnavailableError where the backend has no GPU device to share
   */
  adopt(
    buffer: ForeignBuffer,
    layout: { rows: number; neurons: number; dtype: "f32" | "f16" },
  ): DeviceActivations;
  /**
   * Class moments of every neuron for every label set, in one pass over x. A neuron that is NaN or infinite in a labelled
   * row has moments that are not finite, in the classes of that row alone.
   * @throws ShapeError when labels and activations differ in rows
   */
  classMoments(
    x: DeviceActivations,
    labels: LabelMatrix,
    options?: ClassMomentsOptions,
  ): Promise<ClassMoments>;
  /**
   * Host copy [rows × columns.length] (f32, row-major) of some columns, in the order given.
   * @throws ShapeError when a column does not exist
   */
  gatherColumns(x: DeviceActivations, columns: Uint32Array, options?: CallOptions): Promise<Activations>;
  /**
   * Combines token rows into one row per segment, on the device.
   * @throws OptionError when the aggregation is unknown
   * @throws ShapeError | EmptyDataError when segments name rows that do not exist, or none
   */
  aggregateRows(
    x: DeviceActivations,
    aggregation: Aggregation,
    segments: RowSegments,
    options?: CallOptions,
  ): Promise<DeviceActivations>;
  /**
   * Fits every problem of the batch; rows whose label is `UNLABELLED` have no weight. Results are in f64. A support that is
   * NaN or infinite in a labelled row, or whose center is, gives a fit that has not converged, with NaN for an objective.
   * @throws NonFiniteError instead of such a fit, where a GPU finds it in columns that it gathered
   * @throws ShapeError | SupportSizeError | OptionError when labels, a support, center, scale or C do not fit
   * @throws OneClassError when a label set that is fitted lacks a class
   */
  fitLogistic(
    x: DeviceActivations,
    labels: LabelMatrix,
    problems: readonly LogisticProblem[],
    options: LogisticOptions,
  ): Promise<LogisticFit[]>;
  /**
   * One probe of every neuron for every label set, each neuron alone. A neuron that is NaN or infinite in a labelled row, or
   * whose center or scale is, has NaN throughout and has not converged; the others do not notice.
   * @throws ShapeError | OptionError when labels, center, scale or C do not fit
   * @throws OneClassError when a label set lacks a class
   */
  fitSingleNeurons(
    x: DeviceActivations,
    labels: LabelMatrix,
    options: SingleNeuronOptions,
  ): Promise<SingleNeuronFits>;
  /**
   * Area under the ROC curve and best threshold of every neuron for every label set. A neuron that is NaN or infinite in a
   * labelled row has NaN.
   * @throws ShapeError when labels and activations differ in rows
   * @throws OneClassError when a label set lacks a class
   */
  neuronRoc(x: DeviceActivations, labels: LabelMatrix, options?: CallOptions): Promise<NeuronRoc>;
  /**
   * Fits probes with an L1 penalty or an elastic net, over all columns or a support. Problems that differ in C and l1Ratio
   * alone start from one another. A column that is NaN or infinite in a labelled row is left out.
   * @throws ShapeError | SupportSizeError | OptionError when labels, support, center, scale, start, C or l1Ratio do not fit
   * @throws OneClassError when a label set that is fitted lacks a class
   */
  fitLogisticL1(
    x: DeviceActivations,
    labels: LabelMatrix,
    problems: readonly L1Problem[],
    options: L1Options,
  ): Promise<L1Fit[]>;
  /** Loads a model's weights tensor by tensor. */
  loadTransformer(
    spec: TransformerSpec,
    weights: TensorSource,
    options?: LoadTransformerOptions,
  ): Promise<Transformer>;
  /**
   * Frees everything the backend holds. A caller's own GPU device is left alone. Calls under way
   * may end with a DisposedError.
   */
  dispose(): void;
}
