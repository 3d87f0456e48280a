/** What a sweep found, in a few lines, gathered while its rows go by. */
import type { MetricName } from "../metrics/evaluate.ts";
import { featureKey, isBetter } from "../reports/page/best-probes.ts";
import { isFitted, type FittedSweepRow, type SweepRow } from "../sweeps/sweep-row.ts";
import { counted, fixed, plural, tableLines } from "./table.ts";
import { visible } from "./terminal.ts";

/** Reasons of failed rows that are told. */
const REASONS = 5;
/** Features that are named with a reason. */
const NAMED = 5;

/** The metric that chooses, on validation rows. */
const METRIC: MetricName = "f1";

interface Chosen {
  readonly validation: FittedSweepRow;
  readonly test: FittedSweepRow;
}

/**
 * The best probe of one neuron, and of any size, of each feature; the model's own neurons, not rotated ones. Memory holds one row
 * per feature, however many rows there are.
 */
export class SweepSummary {
  rows = 0;
  failed = 0;
  readonly #reasons = new Map<string, { rows: number; readonly features: Set<string> }>();
  readonly #single = new Map<string, Chosen>();
  readonly #best = new Map<string, Chosen>();
  #before: FittedSweepRow | undefined;

  /** Takes the next row; the row of a probe's test part follows that of its validation part. */
  add(row: SweepRow): void {
    this.rows++;
    if (!isFitted(row)) {
      this.failed++;
      this.#addFailure(row);
      return;
    }
    const before = this.#before;
    this.#before = row.split === "validation" ? row : undefined;
    if (row.split !== "test" || !before || row.rotation !== null) return;
    const key = featureKey(row);
    const offer = (to: Map<string, Chosen>): void => {
      if (isBetter(before, to.get(key)?.validation, METRIC)) to.set(key, { validation: before, test: row });
    };
    offer(this.#best);
    if (row.k === 1) offer(this.#single);
  }

  lines(): string[] {
    const lines = [
      `${plural(this.rows, "row")}${this.failed > 0 ? `, ${counted(this.failed)} of them failed` : ""}`,
    ];
    if (this.#best.size > 0) {
      const seeds = new Set(Array.from(this.#best.values(), ({ test }) => test.seed)).size > 1;
      const right = (title: string) => ({ title, align: "right" as const });
      lines.push(
        "",
        "Chosen by F1 on validation rows, scored on test rows:",
        ...tableLines(
          [
            { title: "model" },
            { title: "dataset" },
            { title: "feature" },
            ...(seeds ? [right("seed")] : []),
            { title: "best neuron" },
            right("F1"),
            { title: "best probe" },
            right("k"),
            right("F1"),
          ],
          Array.from(this.#best, ([key, { test }]) => {
            const single = this.#single.get(key)?.test;
            return [
              visible(test.model),
              visible(test.dataset),
              visible(test.feature),
              ...(seeds ? [test.seed] : []),
              single ? neuronName(single) : null,
              single ? fixed(single.metrics[METRIC]) : null,
              `${test.hookPoint}, ${visible(test.method)}`,
              test.k,
              fixed(test.metrics[METRIC]),
            ];
          }),
        ),
      );
    }
    const reasons = [...this.#reasons].sort(([, a], [, b]) => b.rows - a.rows);
    for (const [reason, { rows, features }] of reasons.slice(0, REASONS)) {
      const named = [...features].slice(0, NAMED);
      const who = named.length < features.size ? [...named, "…"] : named;
      lines.push(
        `${plural(rows, "row")} failed${who.length > 0 ? ` (${visible(who.join(", "))})` : ""}: ${visible(reason)}`,
      );
    }
    return lines;
  }

  #addFailure({ reason, feature }: SweepRow): void {
    const why = reason ?? "";
    let known = this.#reasons.get(why);
    if (!known) {
      if (this.#reasons.size === 1000) return;
      this.#reasons.set(why, (known = { rows: 0, features: new Set() }));
    }
    known.rows++;
    // One more than are told, to know that there are others; a reason may name its feature itself.
    if (feature !== null && known.features.size <= NAMED && !why.includes(`"${feature}"`)) {
      known.features.add(feature);
    }
  }
}

function neuronName({ hookPoint, layer, support }: FittedSweepRow): string {
  return hookPoint.endsWith(".mlp.hook_post") ? `L${layer}.N${support[0]}` : `${hookPoint}:${support[0]}`;
}
