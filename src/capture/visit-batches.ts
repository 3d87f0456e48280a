/** One pass of a model over texts, batch by batch: what every capture is made of. */
import type { CallOptions, DeviceActivations, HookPoint } from "../backends/backend.ts";
import { hookWidth } from "../backends/hook-points.ts";
import type { LanguageModel } from "../model/language-model.ts";
import { TokenRows, type RowBatch, type TokenRowsOptions } from "./token-rows.ts";

export interface PassOptions extends CallOptions {
  /** Tokens in one forward pass; a longer text goes alone. Default 2048. */
  readonly batchTokens?: number | undefined;
  /** Called after each batch with tokens read so far and in all. */
  readonly onProgress?: ((done: number, total: number) => void) | undefined;
}

/** Texts, or rows that {@link TokenRows.tokenise} made; row options are read only for texts. */
export type CaptureInput = readonly string[] | TokenRows;

/** Tokenises texts unless that has been done. */
export async function tokenRows(
  model: LanguageModel,
  input: CaptureInput,
  options: TokenRowsOptions & CallOptions,
): Promise<TokenRows> {
  return input instanceof TokenRows ? input : TokenRows.tokenise(model, input, options);
}

/** Bytes of activations that may wait while others are computed. */
const WAITING_BYTES = 2 ** 28;

/**
 * Runs the model over all rows and hands each hook point's activations of each batch to `use`, while they are still on
 * the device. They are disposed of after `use`. Where threads compute, they have the next batch meanwhile.
 */
export async function visitBatches(
  model: LanguageModel,
  rows: TokenRows,
  hookPoints: readonly HookPoint[],
  options: PassOptions,
  use: (point: HookPoint, x: DeviceActivations, batch: RowBatch) => Promise<void>,
): Promise<void> {
  const { batchTokens = 2048, signal, onProgress } = options;
  const { kind, threads } = model.backend.info;
  const width = hookPoints.reduce((sum, point) => sum + hookWidth(model.spec, point), 0);
  const forward = async (batch: RowBatch): Promise<ReadonlyMap<HookPoint, DeviceActivations>> => {
    const everyToken =
      rows.aggregation === "token" && batch.segments.rows.length === batch.tokens.tokens.length;
    const { activations } = await model.transformer.forward(batch.tokens, {
      hookPoints,
      signal,
      ...(!everyToken && { aggregate: { aggregation: rows.aggregation, segments: batch.segments } }),
    });
    return activations;
  };
  let ahead: Promise<ReadonlyMap<HookPoint, DeviceActivations>> | undefined;
  try {
    const batches = rows.batches(batchTokens);
    for (let step = batches.next(); !step.done;) {
      signal?.throwIfAborted();
      const batch = step.value;
      const activations = await (ahead ?? forward(batch));
      ahead = undefined;
      step = batches.next();
      try {
        if (kind === "cpu" && threads > 1 && !step.done && 4 * batch.rows * width <= WAITING_BYTES) {
          ahead = forward(step.value);
          // What it fails with is thrown when its turn comes.
          ahead.catch(() => undefined);
        }
        for (const [point, x] of activations) await use(point, x, batch);
      } finally {
        dispose(activations);
      }
      onProgress?.(batch.tokensDone, rows.tokens);
    }
  } finally {
    dispose((await ahead?.catch(() => undefined)) ?? new Map());
  }
}

function dispose(activations: ReadonlyMap<HookPoint, DeviceActivations>): void {
  for (const x of activations.values()) x.dispose();
}
