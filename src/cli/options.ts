/** Options that several commands share, and how values are read. */
import { InvalidArgumentError, Option, type Command } from "commander";
import type { Aggregation, HookPoint, TransformerSpec } from "../backends/backend.ts";
import type { BackendKind } from "../backends/create-backend.ts";
import { parseHookPoint } from "../backends/hook-points.ts";
import { OptionError } from "../errors.ts";

/** Options of every command. */
export interface CommonOptions {
  readonly config?: string;
  readonly json?: true;
  readonly quiet?: true;
  readonly verbose?: true;
}

export function addCommonOptions(command: Command): void {
  command
    .optionsGroup("Run:")
    .option("--config <file.json>", "options and arguments by name; those of the command line win")
    .option("--json", "print the result as JSON instead of tables")
    .option("--quiet", "no progress and no notes on standard error, errors alone")
    .option("--verbose", "errors with their stack");
}

/** Where the model computes. */
export interface ModelOptions {
  readonly backend?: BackendKind;
  readonly threads?: number;
  readonly revision?: string;
  readonly hostMemory?: number;
  readonly gpuMemory?: number;
}

export const MODEL_HELP = `MODEL is a folder with config.json, tokenizer.json and model.safetensors (or
shards), or a name on a hub such as EleutherAI/pythia-70m, which is downloaded
once (HF_TOKEN, HF_ENDPOINT, HF_HUB_CACHE and HF_HUB_OFFLINE are read).
`;

export function addModelOptions(command: Command): void {
  addBackendOptions(command);
  command
    .option("--revision <name>", "branch, tag or commit of a model on a hub (default: main)")
    .option(
      "--host-memory <bytes>",
      "memory that the model may take, e.g. 8GB (default: the machine's)",
      bytes,
    )
    .option(
      "--gpu-memory <bytes>",
      "memory of the GPU, which WebGPU does not tell (default: unlimited)",
      bytes,
    );
}

export function addBackendOptions(command: Command): void {
  command
    .optionsGroup("Computing:")
    .addOption(
      new Option(
        "--backend <kind>",
        "where to compute; auto: on the GPU if there is one (default: auto)",
      ).choices(["auto", "cpu", "webgpu"]),
    )
    .option("--threads <number>", "threads of the cpu backend (default: all cores)", wholeFrom(1));
}

/** How texts become tokens. */
export interface TokenOptions {
  readonly skipFirst?: number;
  readonly specialTokens?: true;
  readonly truncate?: true;
  readonly batchTokens?: number;
}

export function addTokenOptions(command: Command): void {
  command
    .optionsGroup("Tokens:")
    .option(
      "--skip-first <tokens>",
      "tokens at the start of each text that are read but do not count (default: 0)",
      wholeFrom(0),
    )
    .option(
      "--special-tokens",
      "add the tokenizer's own, e.g. the beginning of text that Llama and Gemma need",
    )
    .option("--truncate", "cut texts that are longer than the model's context instead of stopping")
    .option("--batch-tokens <tokens>", "tokens in one pass of the model (default: 2048)", wholeFrom(1));
}

const AGGREGATIONS: readonly Aggregation[] = ["token", "mean", "max", "last"];

export function addAggregation(command: Command): void {
  command.addOption(
    new Option(
      "--aggregation <how>",
      "a row per token, or one per text: the mean, maximum or last of its tokens (default: token)",
    ).choices(AGGREGATIONS),
  );
}

/** Without what was not given, and without aggregation and documents. */
export function tokenOptions({
  skipFirst,
  specialTokens,
  truncate,
  batchTokens,
}: TokenOptions): TokenOptions {
  return {
    ...(skipFirst !== undefined && { skipFirst }),
    ...(specialTokens && { specialTokens }),
    ...(truncate && { truncate }),
    ...(batchTokens !== undefined && { batchTokens }),
  };
}

/** Reads whole numbers from `least` on. */
export function wholeFrom(least: number): (text: string) => number {
  return (text) => {
    const value = toNumber(text);
    if (Number.isInteger(value) && value >= least) return value;
    throw new InvalidArgumentError(`Give a whole number from ${least}.`);
  };
}

/** Reads any finite number. */
export function finiteNumber(text: string): number {
  const value = toNumber(text);
  if (Number.isFinite(value)) return value;
  throw new InvalidArgumentError("Give a number.");
}

/** Reads "1,2,8". */
export function wholeNumbers(text: string): number[] {
  return list(text).map((part) => {
    const value = toNumber(part);
    if (Number.isInteger(value) && value >= 0) return value;
    throw new InvalidArgumentError("Give whole numbers with commas between them, e.g. 1,2,8.");
  });
}

/** Reads "a,b". */
export function list(text: string): string[] {
  const parts = text.split(",").map((part) => part.trim());
  if (parts.every((part) => part !== "")) return parts;
  throw new InvalidArgumentError("Give names with commas between them.");
}

const UNITS: Readonly<Record<string, number>> = {
  "": 1,
  b: 1,
  kb: 1e3,
  mb: 1e6,
  gb: 1e9,
  kib: 2 ** 10,
  mib: 2 ** 20,
  gib: 2 ** 30,
};

/** Reads "8GB", "512MiB", "2e9". */
export function bytes(text: string): number {
  const found = /^([\d.]+(?:e\d+)?)\s*([kmg]?i?b?)$/i.exec(text.trim());
  const value = found ? Number(found[1]) * (UNITS[found[2].toLowerCase()] ?? NaN) : NaN;
  if (value > 0) return Math.round(value);
  throw new InvalidArgumentError("Give bytes, e.g. 8GB, 512MiB or 2e9.");
}

function toNumber(text: string): number {
  return text.trim() === "" ? NaN : Number(text);
}

export const HOOK_POINTS_HELP = `Hook points are called blocks.L.mlp.hook_post (the neurons), mlp.hook_pre,
mlp.hook_pre_linear, hook_resid_pre, hook_resid_mid, hook_resid_post and
hook_attn_out; L is the layer, from 0, and * stands for every layer.
`;

/**
 * Hook points of the model, `*` standing for every layer.
 * @throws OptionError when one does not exist
 */
export function expandHookPoints(patterns: readonly string[], spec: TransformerSpec): HookPoint[] {
  const points = patterns.flatMap((pattern) =>
    pattern.includes(".*.")
      ? Array.from({ length: spec.layers }, (_, layer) => pattern.replace(".*.", `.${layer}.`))
      : [pattern],
  );
  return [...new Set(points)].map((point): HookPoint => {
    const { layer, name } = parseHookPoint(spec, point);
    return `blocks.${layer}.${name}`;
  });
}

export const NEURONS_HELP = `L3.N609 is neuron 609 of layer 3, both counted from 0;
blocks.3.hook_resid_post:17 is a column of another hook point.
`;

/**
 * Neurons as they are written in tables, "L3.N609", or as a column of a hook point, "blocks.3.hook_resid_post:17".
 * @throws OptionError when a name is neither
 */
export function readNeurons(
  names: readonly string[],
  spec: TransformerSpec,
): { hookPoint: HookPoint; neuron: number }[] {
  return names.map((name) => {
    const neuron = /^L(\d+)\.?N(\d+)$/i.exec(name);
    const column = /^(blocks\..+):(\d+)$/.exec(name);
    const [point, index] = neuron
      ? [`blocks.${Number(neuron[1])}.mlp.hook_post`, neuron[2]]
      : column
        ? [column[1], column[2]]
        : [];
    if (point === undefined) {
      throw new OptionError(
        `"${name}" does not name a neuron.`,
        "Write L3.N609 for neuron 609 of layer 3, or blocks.3.hook_resid_post:17 for a column of a hook point.",
      );
    }
    const [hookPoint] = expandHookPoints([point], spec);
    return { hookPoint, neuron: Number(index) };
  });
}
