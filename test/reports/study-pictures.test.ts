/** Which pictures show a study. */
import { expect, it } from "vitest";
import { studyPictures } from "../../src/reports/study-pictures.ts";
import type { SweepRow } from "../../src/sweeps/sweep-row.ts";
import { metrics, sweepRow } from "./rows.ts";

interface Axes {
  readonly datasets?: readonly string[];
  readonly layers?: readonly number[];
  readonly ks?: readonly number[];
  readonly methods?: readonly string[];
  readonly rotations?: readonly (number | null)[];
}

/** Two is the best layer on validation rows, zero on test rows. */
function rowsOf({
  datasets = ["languages"],
  layers = [0, 1, 2],
  ks = [1, 4],
  methods = ["mean-difference"],
  rotations = [null],
}: Axes): SweepRow[] {
  return datasets.flatMap((dataset) =>
    layers.flatMap((layer) =>
      rotations.flatMap((rotation) =>
        methods.flatMap((method) =>
          ks.flatMap((k) =>
            (["validation", "test"] as const).map((split) =>
              sweepRow({
                dataset,
                layer,
                hookPoint: `blocks.${layer}.mlp.hook_post`,
                method,
                rotation,
                k,
                support: Array.from({ length: k }, (_, i) => i),
                coefficients: new Array<number>(k).fill(1),
                split,
                metrics: metrics(split === "validation" ? 0.5 + layer / 10 : 0.9 - layer / 10),
              }),
            ),
          ),
        ),
      ),
    ),
  );
}

const titles = (rows: readonly SweepRow[], most?: number): string[] =>
  studyPictures(rows, { most }).map((spec) => JSON.stringify(spec.title));

it("shows what the rows vary in, and nothing else", () => {
  expect(titles(rowsOf({}))).toHaveLength(3);
  expect(titles(rowsOf({ methods: ["mean-difference", "adaptive"] }))).toHaveLength(4);
  expect(titles(rowsOf({ rotations: [null, 1] }))).toHaveLength(4);
  // Against k by layer alone: a map, and the best neuron by layer, need several layers.
  expect(titles(rowsOf({ layers: [3] }))).toHaveLength(1);
  expect(titles(rowsOf({ ks: [1] }))).toHaveLength(1);
  expect(titles(rowsOf({ ks: [4], layers: [0] }))).toEqual([]);
  expect(titles([])).toEqual([]);
});

it("compares methods at the layer that validation rows choose", () => {
  const pictures = studyPictures(rowsOf({ methods: ["mean-difference", "adaptive"] }));
  const text = JSON.stringify(pictures.at(-1));
  // The value of layer 2 on test rows, not that of layer 0, which is the best there.
  expect(text).toContain("0.7");
  expect(text).not.toContain("0.9");
});

it("gives every dataset its own, up to a number", () => {
  const rows = rowsOf({ datasets: ["languages", "code", "latex"] });
  expect(titles(rows)).toHaveLength(9);
  expect(titles(rows, 4)).toHaveLength(4);
});

it("leaves out rows that failed", () => {
  const failed = sweepRow({ status: "failed", reason: "one class", metrics: null, dataset: "broken" });
  expect(titles([failed])).toEqual([]);
  expect(titles([failed, ...rowsOf({})])).toEqual(titles(rowsOf({})));
});
