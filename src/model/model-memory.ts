/** How much memory a model takes, from its config and the headers of its weights; the work of `estimateModelMemory`. */
import type { BackendInfo, CallOptions, TransformerSpec, WeightStorage } from "../backends/backend.ts";
import type { TensorInfo } from "../data/tensor.ts";
import { OutOfMemoryError } from "../errors.ts";
import { readModelConfig } from "./config.ts";
import type { MemoryLimits, ModelFiles, ModelMemory } from "./model-files.ts";

/** What of a model's shape tells how much working memory it needs. */
type MemoryShape = Pick<
  TransformerSpec,
  "dModel" | "dMlp" | "vocabulary" | "heads" | "kvHeads" | "dHead" | "unembedding"
>;

/** Of float32. */
const BYTES_PER_VALUE = 4;
/** Of a GPU's matrices that are kept in 16 bits. */
const BYTES_PER_HALF = 2;
/** What 32-bit WebAssembly can address. */
const WASM_BYTES = 2 ** 32;
/** Tokens that the cpu backend takes through the layers together, and rows of logits that it computes at a time. */
const WORKING_TOKENS = 2048;
const WORKING_LOGITS = 96;

/** Memory that there is, and how a GPU is to keep the weights. */
type MemoryOptions = MemoryLimits & { readonly weights?: WeightStorage | undefined };

export async function estimateMemory(
  files: ModelFiles,
  kind: BackendInfo["kind"],
  options: CallOptions & MemoryOptions,
): Promise<ModelMemory> {
  const { signal } = options;
  const { spec } = readModelConfig(await files.json("config.json", { signal }));
  const tensors = files.headers ? await files.headers({ signal }) : (await files.tensors({ signal })).tensors;
  return modelMemory(spec, tensors, kind, options);
}

/** Pure: the estimate for tensors of these types and shapes. */
export function modelMemory(
  spec: MemoryShape,
  tensors: ReadonlyMap<string, TensorInfo>,
  kind: BackendInfo["kind"],
  options: MemoryOptions,
): ModelMemory {
  const { weights: storage = "auto" } = options;
  let parameters = 0;
  let gpu = 0;
  let largest = 0;
  for (const { dtype, shape } of tensors.values()) {
    // Old checkpoints keep constants beside the weights: masks of integers, or of four dimensions.
    if (!/^B?F\d/.test(dtype) || shape.length > 2) continue;
    const count = shape.reduce((product, length) => product * length, 1);
    parameters += count;
    largest = Math.max(largest, count);
    const halved =
      shape.length === 2 && (storage === "float16" || (storage === "auto" && /^B?F16$/.test(dtype)));
    gpu += count * (halved ? BYTES_PER_HALF : BYTES_PER_VALUE);
  }
  // Both backends keep a tied embedding once, for both of its ends.
  const weights = parameters * BYTES_PER_VALUE;
  const largestTensor = largest * BYTES_PER_VALUE;
  const onGpu = kind !== "cpu";
  const host = onGpu ? 0 : weights;
  const estimate = {
    parameters,
    largestTensor,
    host,
    hostPeak: host + largestTensor,
    gpu: onGpu ? gpu : 0,
  };
  return Object.freeze({ ...estimate, problem: problemOf(estimate, spec, kind, options) });
}

function problemOf(
  { host, hostPeak, gpu }: Omit<ModelMemory, "problem">,
  { dModel, dMlp, vocabulary, heads, kvHeads, dHead, unembedding }: MemoryShape,
  kind: BackendInfo["kind"],
  { hostMemory = Infinity, gpuMemory = Infinity }: MemoryLimits,
): string | null {
  const perToken = 6 * dModel + (heads + 2 * kvHeads) * dHead + 2 * dMlp;
  const working = BYTES_PER_VALUE * (WORKING_TOKENS * perToken + WORKING_LOGITS * (dModel + vocabulary));
  // An embedding that is not tied is the one part that the cpu backend keeps outside of WebAssembly's memory.
  const outside = unembedding.tied ? 0 : vocabulary * dModel * BYTES_PER_VALUE;
  const wasm = host - outside + working;
  if (kind === "cpu" && wasm > WASM_BYTES) {
    return `On the CPU it takes ${inGigabytes(wasm)} of WebAssembly's memory, which ends at ${inGigabytes(WASM_BYTES)}.`;
  }
  if (hostPeak > hostMemory) {
    return `Loading it takes ${inGigabytes(hostPeak)} of the host's memory, and there are ${inGigabytes(hostMemory)}.`;
  }
  if (gpu > gpuMemory) {
    return `It takes ${inGigabytes(gpu)} of the GPU's memory, and there are ${inGigabytes(gpuMemory)}.`;
  }
  return null;
}

/** @throws OutOfMemoryError with the estimate's problem, if it has one */
export function assertFits(memory: ModelMemory, kind: BackendInfo["kind"]): void {
  if (memory.problem === null) return;
  throw new OutOfMemoryError(
    `The model does not fit: it has ${(memory.parameters / 1e6).toFixed(0)} million parameters` +
      `${kind === "cpu" ? ", kept as float32" : ""}. ${memory.problem}`,
    kind === "cpu"
      ? 'Use a GPU (`createBackend("webgpu")`) or a smaller model of the family.'
      : 'Use a smaller model of the family; `weights: "float16"` keeps matrices in 16 bits, whatever the checkpoint has.',
  );
}

function inGigabytes(bytes: number): string {
  return `${(bytes / 1e9).toFixed(2)} GB`;
}
