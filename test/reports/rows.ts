/** Rows of a made-up study. */
import { METRIC_NAMES, type MetricName } from "../../src/metrics/evaluate.ts";
import { Random } from "../../src/random.ts";
import type { SweepRow } from "../../src/sweeps/sweep-row.ts";

export interface SyntheticStudy {
  readonly features?: number;
  readonly layers?: number;
  readonly ks?: readonly number[];
  readonly methods?: readonly string[];
}

/** A row that is as good as nothing was found; tests change what they are about. */
export function sweepRow(changes: Partial<SweepRow> = {}): SweepRow {
  const layer = changes.layer ?? 0;
  return {
    model: "haystack-4m",
    revision: null,
    dataset: "natural-language",
    category: "natural-language",
    feature: "fr",
    aggregation: "mean",
    hookPoint: `blocks.${layer}.mlp.hook_post`,
    layer,
    method: "mean-difference",
    rotation: null,
    k: 1,
    seed: 0,
    split: "validation",
    status: "ok",
    reason: null,
    train: { positives: 60, negatives: 240 },
    scored: { positives: 20, negatives: 80 },
    metrics: metrics(0.5),
    intervals: {},
    support: [0],
    coefficients: [1],
    intercept: 0,
    converged: true,
    separated: false,
    iterations: 6,
    seconds: 0.001,
    ...changes,
  };
}

export function metrics(value: number): Record<MetricName, number | null> {
  return Object.fromEntries(METRIC_NAMES.map((name) => [name, value])) as Record<MetricName, number | null>;
}

/** features × layers × methods × ks, each scored on validation and test. */
export function syntheticRows(study: SyntheticStudy = {}): SweepRow[] {
  const {
    features = 12,
    layers = 4,
    ks = [1, 2, 4, 8, 16, 32, 64, 128, 256],
    methods = ["mean-difference", "adaptive"],
  } = study;
  const random = new Random(0, "synthetic rows");
  const categories = ["part-of-speech", "natural-language", "code-language", "text-features"];
  const rows: SweepRow[] = [];
  for (let f = 0; f < features; f++) {
    const category = categories[f % categories.length];
    for (let layer = 0; layer < layers; layer++) {
      for (const method of methods) {
        for (const k of ks) {
          const failed = random.below(200) === 0;
          const support = Array.from({ length: failed ? 0 : k }, () => random.below(3072));
          for (const split of ["validation", "test"] as const) {
            const value = Math.min(1, 0.35 + 0.06 * Math.log2(1 + k) + 0.25 * random.uniform());
            rows.push(
              sweepRow({
                dataset: category,
                category,
                feature: `${category} ${f}`,
                layer,
                hookPoint: `blocks.${layer}.mlp.hook_post`,
                method,
                k,
                split,
                support,
                status: failed ? "failed" : "ok",
                reason: failed ? "all training rows have one class" : null,
                metrics: failed
                  ? null
                  : Object.assign(metrics(value), { recall: random.uniform(), precision: random.uniform() }),
                intervals: failed
                  ? {}
                  : { f1: { low: Math.max(0, value - 0.05), high: Math.min(1, value + 0.04) } },
                converged: failed ? null : random.below(100) > 0,
                separated: failed ? null : k > 64,
                scored: failed ? null : { positives: 20 + (f % 7), negatives: 80 },
              }),
            );
          }
        }
      }
    }
  }
  return rows;
}
