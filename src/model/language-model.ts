/** A language model ready to run: its shape, its tokenizer and its transformer on a backend. */
import type { Backend, CallOptions, Transformer, TransformerSpec } from "../backends/backend.ts";
import type { TensorSource } from "../data/tensor.ts";
import { NonFiniteError, ShapeError } from "../errors.ts";
import type { Tokenizer } from "./tokenizer.ts";

/** Where a model's files come from: a folder, a server, memory. */
export interface ModelFiles {
  /**
   * A JSON file, parsed; undefined when there is none of that name. Asked for: `config.json`, `tokenizer.json` and,
   * if there is one, `tokenizer_config.json`.
   */
  json(name: string, options?: CallOptions): Promise<unknown>;
  /** The weights. Called once, after config and tokenizer have been read. */
  tensors(options?: CallOptions): Promise<TensorSource>;
  /**
   * The weights again, later, for what reads them from the checkpoint (`weightStatistics`, `logitEffects`). Default:
   * `tensors()`, which must then work more than once.
   */
  reopen?(options?: CallOptions): Promise<ReopenedWeights>;
}

/** Weights to be read after a model has been loaded. */
export type ReopenedWeights = TensorSource & { close?(): Promise<void> };

export interface LoadModelOptions extends CallOptions {
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
 * @throws OutOfMemoryError when the weights do not fit
 */
export async function loadModel(
  files: ModelFiles,
  backend: Backend,
  options: LoadModelOptions = {},
): Promise<LanguageModel> {
  const { signal, onProgress } = options;
  // Who fits probes to activations of their own needs none of this.
  const [{ readModelConfig }, { Tokenizer }] = await Promise.all([
    import("./config.ts"),
    import("./tokenizer.ts"),
  ]);
  const config = await files.json("config.json", { signal });
  const { spec } = readModelConfig(config);
  const tokenizer = await Tokenizer.fromJson(
    await files.json("tokenizer.json", { signal }),
    await files.json("tokenizer_config.json", { signal }),
  );
  const weights = checked(await files.tensors({ signal }));
  const transformer = await backend.loadTransformer(spec, weights, { signal, onProgress });
  const saved = (config as Record<string, unknown>)["_name_or_path"];
  const name = options.name ?? (typeof saved === "string" && saved !== "" ? saved : undefined);
  const reopenWeights = async (again?: CallOptions): Promise<ReopenedWeights> => {
    const source: ReopenedWeights = await (files.reopen ? files.reopen(again) : files.tensors(again));
    return { ...checked(source), close: async () => source.close?.() };
  };
  return new LanguageModel({ name, tokenizer, transformer, backend, reopenWeights });
}

/** The same tensors, refused where they are not what their header says or not finite. */
function checked(source: TensorSource): TensorSource {
  return {
    tensors: source.tensors,
    async read(name, options) {
      const tensor = await source.read(name, options);
      const { data } = tensor;
      const count = source.tensors.get(name)!.shape.reduce((product, length) => product * length, 1);
      if (data.length !== count) {
        throw new ShapeError(
          `The tensor ${name} has ${data.length} values, and its shape needs ${count}.`,
          "Let the tensor source return whole tensors.",
        );
      }
      for (let i = 0; i < data.length; i++) {
        if (data[i] - data[i] === 0) continue;
        throw new NonFiniteError(
          `Weight ${i} of ${name} is ${data[i]}.`,
          "The checkpoint is damaged, or was saved after training had failed: download it again or use another one.",
        );
      }
      return tensor;
    },
  };
}
