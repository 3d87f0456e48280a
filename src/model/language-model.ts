/** A language model ready to run: its shape, its tokenizer and its transformer on a backend. */
import type {
  Backend,
  CallOptions,
  Transformer,
  TransformerSpec,
  WeightStorage,
} from "../backends/backend.ts";
import type { TensorSource } from "../data/tensor.ts";
import type { MemoryLimits, ModelFiles, ReopenedWeights } from "./model-files.ts";
import type { Tokenizer } from "./tokenizer.ts";

export interface LoadModelOptions extends CallOptions, MemoryLimits {
  /** How a GPU keeps the matrices; the cpu backend keeps float32. Default "auto": in 16 bits where the checkpoint has these. */
  readonly weights?: WeightStorage | undefined;
  /** Recorded with activations as where they came from. Default: `_name_or_path` of the config, if it says so. */
  readonly name?: string | undefined;
  /** Called after each tensor. */
  readonly onProgress?: ((done: number, total: number) => void) | undefined;
}

/** A loaded model. `dispose()` frees its weights; the backend stays. */
export class LanguageModel {
  readonly name: string | undefined;
  readonly spec: TransformerSpec;
  readonly tokenizer: Tokenizer;
  readonly transformer: Transformer;
  readonly backend: Backend;
  /** Opens the checkpoint that the model was loaded from once more; close what it gives. */
  readonly reopenWeights: (options?: CallOptions) => Promise<ReopenedWeights>;

  constructor(parts: {
    readonly name: string | undefined;
    readonly tokenizer: Tokenizer;
    readonly transformer: Transformer;
    readonly backend: Backend;
    readonly reopenWeights: (options?: CallOptions) => Promise<ReopenedWeights>;
  }) {
    this.name = parts.name;
    this.spec = parts.transformer.spec;
    this.tokenizer = parts.tokenizer;
    this.transformer = parts.transformer;
    this.backend = parts.backend;
    this.reopenWeights = parts.reopenWeights;
  }

  dispose(): void {
    this.transformer.dispose();
  }
}

/**
 * Loads a model of a supported family (`readModelConfig`). Every tensor's name and shape is checked before the first is read.
 *
 * @throws FormatError when the config or the tokenizer is not what it should be
 * @throws UnsupportedModelError for an architecture or variant that is not implemented
 * @throws MissingTensorError when tensors are missing or have other shapes than the config says
 * @throws NonFiniteError when a weight is NaN or infinite
 * @throws OutOfMemoryError when the weights do not fit; where the headers say so, nothing else has been fetched
 */
export async function loadModel(
  files: ModelFiles,
  backend: Backend,
  options: LoadModelOptions = {},
): Promise<LanguageModel> {
  const { signal, onProgress } = options;
  // Who fits probes to activations of their own needs none of this.
  const [{ readModelConfig }, { Tokenizer }, { checked }] = await Promise.all([
    import("./config.ts"),
    import("./tokenizer.ts"),
    import("./checked-weights.ts"),
  ]);
  const config = await files.json("config.json", { signal });
  const { spec } = readModelConfig(config);
  const tokenizer = await Tokenizer.fromJson(
    await files.json("tokenizer.json", { signal }),
    await files.json("tokenizer_config.json", { signal }),
  );
  const assertFits = async (tensors: TensorSource["tensors"]): Promise<void> => {
    const memory = await import("./model-memory.ts");
    const { kind } = backend.info;
    memory.assertFits(memory.modelMemory(spec, tensors, kind, options), kind);
  };
  if (files.headers) await assertFits(await files.headers({ signal }));
  const stored = await files.tensors({ signal });
  if (!files.headers) await assertFits(stored.tensors);
  const weights = checked(stored);
  const transformer = await backend.loadTransformer(spec, weights, {
    signal,
    onProgress,
    weights: options.weights,
  });
  const saved = (config as Record<string, unknown>)["_name_or_path"];
  const name = options.name ?? (typeof saved === "string" && saved !== "" ? saved : undefined);
  const reopenWeights = async (again?: CallOptions): Promise<ReopenedWeights> => {
    const source: ReopenedWeights = await (files.reopen ? files.reopen(again) : files.tensors(again));
    return { ...checked(source), close: async () => source.close?.() };
  };
  return new LanguageModel({ name, tokenizer, transformer, backend, reopenWeights });
}
