/** The same statistics where the activations are on a GPU. */
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { WebGpuBackend } from "../../src/backends/webgpu/webgpu-backend.ts";
import {
  compareSelections,
  crossValidate,
  permutationTest,
  permutationTestScore,
  probeControls,
  selectAndTest,
  supportStability,
} from "../../src/statistics/statistics.ts";
import { expectClose } from "../support/expect-close.ts";
import { openTestBackend } from "../support/gpu.ts";
import { validationData, validationFolds } from "./fixture.ts";

const { x, y, groups } = validationData();
let backend: WebGpuBackend;

beforeAll(async () => {
  backend = await openTestBackend();
});

afterAll(() => {
  backend.dispose();
});

describe("statistics on WebGPU", () => {
  it("permutations, folds, controls, halves and the report are those of the CPU", async () => {
    const device = await backend.upload(x);
    // Ranking by standardised means: no two of these neurons' scores lie within float32's reach of each other.
    const want = await permutationTest(x, y, { permutations: 40 });
    const got = await permutationTest(device, y, { permutations: 40, backend });
    expect(got.pValues).toEqual(want.pValues);
    expect(got.adjustedPValues).toEqual(want.adjustedPValues);
    expectClose(got.maxima, want.maxima, 1e-4, "maximum");

    const folds = validationFolds();
    const [cpu, gpu] = await Promise.all([
      crossValidate(x, y, [2], { folds, metric: "rocAuc" }),
      crossValidate(device, y, [2], { folds, metric: "rocAuc", backend }),
    ]);
    expect(gpu.rows[0].folds.map((fold) => fold!.support)).toEqual(
      cpu.rows[0].folds.map((fold) => fold!.support),
    );
    expectClose(gpu.rows[0].scores as number[], cpu.rows[0].scores as number[], 1e-9, "score");

    const controls = await probeControls(device, y, [1], { draws: 3, backend });
    const wanted = await probeControls(x, y, [1], { draws: 3 });
    for (const control of ["shuffled-labels", "random-support"] as const) {
      expect(controls.rows[0].controls[control].draws.map(({ support }) => support)).toEqual(
        wanted.rows[0].controls[control].draws.map(({ support }) => support),
      );
    }
    const stability = { resamples: 20, groups };
    expect(await supportStability(device, y, [3], { ...stability, backend })).toEqual(
      await supportStability(x, y, [3], stability),
    );
    const study = { groups, bootstrap: { resamples: 50 } };
    const report = await selectAndTest(device, y, [1, 2], { ...study, backend });
    const reported = await selectAndTest(x, y, [1, 2], study);
    expect(report.chosen.support).toEqual(reported.chosen.support);
    expectClose(
      [report.test.metrics.rocAuc.estimate!, report.test.metrics.rocAuc.low!],
      [reported.test.metrics.rocAuc.estimate!, reported.test.metrics.rocAuc.low!],
      1e-9,
    );
    const methods = ["welch-t", "l1-logistic", "adaptive-thresholding", "optimal", "random"] as const;
    const table = { methods, groups, resamples: 20 };
    const compared = await compareSelections(device, y, [1, 3], { ...table, backend });
    const wantedTable = await compareSelections(x, y, [1, 3], table);
    expect(compared.methods.flatMap(({ failures }) => failures)).toEqual([]);
    expect(compared.rows.map(({ support }) => support)).toEqual(
      wantedTable.rows.map(({ support }) => support),
    );
    expectClose(
      compared.rows.map(({ objective }) => objective),
      wantedTable.rows.map(({ objective }) => objective),
      1e-6,
      "objective",
    );
    const whole = { permutations: 3, folds: 2, metric: "rocAuc" as const };
    const scores = await permutationTestScore(device, y, 2, { ...whole, backend });
    const wantedScores = await permutationTestScore(x, y, 2, whole);
    expect(scores.pValue).toBe(wantedScores.pValue);
    expectClose([scores.score!], [wantedScores.score!], 1e-9, "score");
    device.dispose();
  });
});
