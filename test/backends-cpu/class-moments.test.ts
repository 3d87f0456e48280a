import { describe, expect, it } from "vitest";
import { classMoments } from "../../src/backends/cpu/reference/class-moments.ts";
import { Pacer } from "../../src/backends/cpu/pacer.ts";
import { LabelMatrix } from "../../src/data/labels.ts";
import { Random } from "../../src/random.ts";
import { expectClose } from "../support/expect-close.ts";
import { randomActivations, randomLabels } from "../support/random-data.ts";

describe("class moments of many features together", () => {
  it.each([
    ["independent features, more joint labels than one group holds", 12, 0.2],
    ["two features", 2, 0],
  ])("equal those of each feature alone: %s", async (_, features, unlabelled) => {
    const x = randomActivations(2, 300, 9);
    const labels = randomLabels(2, x, features, unlabelled);
    const all = await classMoments(x, labels, new Pacer(undefined));
    for (let f = 0; f < features; f++) {
      const one = new LabelMatrix(["f"], 300, labels.of(f));
      const alone = await classMoments(x, one, new Pacer(undefined));
      expect([...all.count.subarray(2 * f, 2 * f + 2)]).toEqual([...alone.count]);
      // Merging in another order: γ(300) of values below 20 and squares below 400·300.
      expectClose(all.mean.subarray(18 * f, 18 * f + 18), alone.mean, 300 * 2 ** -52 * 20);
      expectClose(
        all.sumOfSquares!.subarray(18 * f, 18 * f + 18),
        alone.sumOfSquares!,
        (at) => 300 * 2 ** -50 * alone.sumOfSquares![at],
      );
    }
  });

  it("are exact for classes one against the rest, however many", async () => {
    const x = randomActivations(3, 90, 4);
    const random = new Random(3);
    const classes = Array.from({ length: 90 }, () => random.below(80));
    const values = Array.from({ length: 80 }, (_, c) => classes.map((k) => (k === c ? 1 : 0))).flat();
    const names = Array.from({ length: 80 }, (_, c) => String(c));
    const { count } = await classMoments(
      x,
      new LabelMatrix(names, 90, Uint8Array.from(values)),
      new Pacer(undefined),
    );
    for (let c = 0; c < 80; c++) {
      const n = classes.filter((k) => k === c).length;
      expect([...count.subarray(2 * c, 2 * c + 2)]).toEqual([90 - n, n]);
    }
  });
});
