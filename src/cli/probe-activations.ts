/** The second form of `sparseprobe probe`: activations that have been saved, with a label for each row. */
import type { Backend } from "../backends/backend.ts";
import { isBetter } from "../capture/text-study.ts";
import type { ClassValue } from "../data/labels.ts";
import { splitRows, THREE_PARTS } from "../data/splits.ts";
import { NonFiniteError, ShapeError } from "../errors.ts";
import type { MetricName, Metrics } from "../metrics/evaluate.ts";
import type { FitOptions } from "../probes/one-feature.ts";
import type { ProbeJson } from "../probes/probe-record.ts";
import { SparseProbe } from "../probes/sparse-probe.ts";
import { readSaved, type RowLabels, type SavedActivations } from "./saved-activations.ts";
import type { Session } from "./session.ts";

/** A probe and how it does on validation rows. */
export interface SavedRow {
  readonly feature: string;
  readonly k: number;
  readonly hookPoint: string;
  readonly neurons: readonly number[];
  readonly converged: boolean;
  readonly separated: boolean;
  readonly validation: Metrics;
}

export interface SavedResult {
  /** For each feature and k the set of activations that is best on validation rows; of equals that with the smaller log-loss. */
  readonly chosen: readonly (SavedRow & { readonly test: Metrics; readonly probe: ProbeJson })[];
  readonly rows: readonly SavedRow[];
  readonly failures: readonly {
    readonly feature: string;
    readonly k: number;
    readonly hookPoint: string;
    readonly reason: string;
  }[];
  /** Row numbers of the parts. */
  readonly split: Readonly<Record<keyof typeof THREE_PARTS, readonly number[]>>;
}

export interface SavedOptions {
  readonly ks: readonly number[] | undefined;
  readonly chooseBy: MetricName;
  readonly seed: number;
  readonly probe: Pick<FitOptions, "ranking" | "prefilter" | "C" | "seed">;
}

/**
 * Splits rows by document, fits all probes on training rows and lets validation rows choose among the sets of activations, of which
 * one is in memory at a time.
 */
export async function probeSaved(
  sets: readonly SavedActivations[],
  { labels, docs }: RowLabels,
  backend: Backend,
  options: SavedOptions,
  { signal, progress }: Session,
): Promise<SavedResult> {
  const { ks, chooseBy, seed } = options;
  let split: Record<keyof typeof THREE_PARTS, Uint32Array> | undefined;
  const rows: SavedRow[] = [];
  const failures: SavedResult["failures"][number][] = [];
  const best = new Map<string, SavedResult["chosen"][number]>();
  for (const [done, set] of sets.entries()) {
    progress.show("probe", done, sets.length, "hook points");
    const activations = await readSaved(set, signal);
    assertRows(set, activations.rows, labels);
    const groups = activations.groups ?? docs;
    split ??= splitRows({ labels, seed, fractions: THREE_PARTS, ...(groups && { groups }) });
    const { train, validation, test } = split;
    const stage = `fit ${set.name}`;
    const fitted = await SparseProbe.fitMany(activations, labels, ks, {
      ...options.probe,
      backend,
      rows: train,
      signal,
      onProgress: (fits, total) => progress.show(stage, fits, total, "probes"),
    });
    for (const { feature, k, error } of fitted.failures) {
      failures.push({ feature, k, hookPoint: set.name, reason: error.message });
    }
    for (const probe of fitted.probes) {
      const { feature, k, convergence, support } = probe;
      const score = (part: Uint32Array): Metrics | null => {
        try {
          return probe.evaluate(activations, labels, { rows: part });
        } catch (error) {
          if (!(error instanceof NonFiniteError)) throw error;
          failures.push({ feature, k, hookPoint: set.name, reason: error.message });
          return null;
        }
      };
      const [chosenBy, reported] = [score(validation), score(test)];
      if (!chosenBy || !reported) continue;
      const row: SavedRow = {
        feature,
        k,
        hookPoint: set.name,
        neurons: support,
        converged: convergence.converged,
        separated: convergence.separated,
        validation: chosenBy,
      };
      rows.push(row);
      const key = JSON.stringify([feature, k]);
      const leader = best.get(key);
      if (leader && !isBetter(chooseBy, row.validation, leader.validation)) continue;
      best.set(key, {
        ...row,
        test: reported,
        probe: probe.toJSON(),
      });
    }
    signal.throwIfAborted();
  }
  const parts = split!;
  return {
    chosen: [...best.values()],
    rows,
    failures,
    split: {
      train: Array.from(parts.train),
      validation: Array.from(parts.validation),
      test: Array.from(parts.test),
    },
  };
}

function assertRows({ path }: SavedActivations, rows: number, labels: readonly ClassValue[]): void {
  if (rows === labels.length) return;
  throw new ShapeError(
    `${path} has ${rows} rows, and there are ${labels.length} labels.`,
    "Give one label per row, in the order of the rows.",
  );
}
