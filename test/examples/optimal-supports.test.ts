/** The example of optimal supports, on the built package and the bundled model's real activations. */
import { execFile } from "node:child_process";
import { resolve } from "node:path";
import { promisify } from "node:util";
import { expect, it } from "vitest";

const ROOT = resolve(import.meta.dirname, "../..");

it.each(["logistic", "hinge"])(
  "optimal-supports proves supports of real activations, %s loss",
  async (loss) => {
    const { stdout } = await promisify(execFile)(
      process.execPath,
      [
        ...[
          "node_modules/tsx/dist/cli.mjs",
          "--tsconfig",
          "tsconfig.examples.json",
          "examples/optimal-supports.ts",
        ],
        ...["--loss", loss, "--features", "fr,ru", "--ks", "1,2,4", "--time-limit", "120"],
      ],
      { cwd: ROOT },
    );
    const rows = stdout
      .trim()
      .split("\n")
      .slice(2)
      .map((line) => line.trim().split(/\s+/));
    expect(rows.map(([feature, k]) => `${feature} ${k}`)).toEqual(
      ["fr", "ru"].flatMap((feature) => [1, 2, 4].map((k) => `${feature} ${k}`)),
    );
    let last = Infinity;
    for (const [, k, heuristic, optimal, bound, gap, , , , ...neurons] of rows) {
      expect(Number(gap)).toBeLessThan(1e-6);
      // Four decimals are printed.
      expect(Number(optimal)).toBeLessThanOrEqual(Number(heuristic));
      expect(Number(bound)).toBeLessThanOrEqual(Number(optimal));
      expect(neurons).toHaveLength(Number(k));
      last = k === "1" ? Infinity : last;
      expect(Number(optimal)).toBeLessThan(last);
      last = Number(optimal);
    }
  },
);
