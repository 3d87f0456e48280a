import { expect, it } from "vitest";
import { SweepSummary } from "../../src/cli/sweep-summary.ts";
import { chooseBest } from "../../src/reports/page/best-probes.ts";
import { metrics, sweepRow } from "../reports/rows.ts";

it("names the neurons that a report names, seed by seed", () => {
  const rows = [0, 1].flatMap((seed) =>
    [0, 1, 2].flatMap((layer) =>
      (["validation", "test"] as const).map((split) =>
        sweepRow({
          seed,
          layer,
          split,
          support: [100 * seed + layer],
          // All alike but for the log-loss, by which each seed has another best.
          metrics: { ...metrics(0.5), logLoss: layer === 1 + seed ? 0.1 : 0.2 },
        }),
      ),
    ),
  );
  const summary = new SweepSummary();
  for (const row of rows) summary.add(row);
  const table = summary.lines().filter((line) => line.startsWith("haystack-4m"));
  const chosen = chooseBest(rows, "f1").map(
    ({ validation: { layer, support } }) => `L${layer}.N${support[0]}`,
  );
  expect(chosen).toEqual(["L1.N1", "L2.N102"]);
  expect(table.map((line) => /L\d\.N\d+/.exec(line)![0])).toEqual(chosen);
});
