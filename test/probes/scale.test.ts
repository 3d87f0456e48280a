/** The unit of the activations is arbitrary: every ranking and every method finds the same in any. */
import { describe, expect, it } from "vitest";
import { Activations } from "../../src/data/activations.ts";
import { findOptimalSupports } from "../../src/optimal/find-optimal-supports.ts";
import { enumerateNeurons } from "../../src/probes/enumerate-neurons.ts";
import { MulticlassProbe } from "../../src/probes/multiclass-probe.ts";
import { probeNeurons } from "../../src/probes/probe-neurons.ts";
import { pruneNeurons } from "../../src/probes/prune-neurons.ts";
import { rotateActivations } from "../../src/probes/rotate-activations.ts";
import { SparseProbe } from "../../src/probes/sparse-probe.ts";
import { Random } from "../../src/random.ts";
import { COLUMN_RANKINGS, MOMENT_RANKINGS, type RankingName } from "../../src/ranking/ranking.ts";
import { RegressionProbe } from "../../src/regression/regression-probe.ts";
import type { RegressionRankingName } from "../../src/regression/regression-options.ts";
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
import { normals } from "../support/random-data.ts";

const [ROWS, NEURONS] = [240, 14];
/** Neurons 0 to 5 carry the class, each less than the one before; no two scores are close. */
const classes = Array.from({ length: ROWS }, (_, i) => ["en", "fr", "de"][i % 3]);
const x = new Activations(
  Float32Array.from(normals(new Random(11, "scale"), ROWS * NEURONS), (value, at) => {
    const [i, j] = [Math.floor(at / NEURONS), at % NEURONS];
    const carried = j < 6 ? (1.5 - 0.2 * j) * (classes[i] === "fr" ? 1 : 0) : 0;
    return (0.2 + 0.3 * j) * (value + carried + 0.1 * j);
  }),
  [ROWS, NEURONS],
);
const labels = classes.map((name) => name === "fr");
const targets = Array.from({ length: ROWS }, (_, i) => x.data[i * NEURONS] - x.data[i * NEURONS + 3]);

/** What a method finds: neurons that have to be the same, and numbers that have to be close. */
interface Found {
  readonly neurons: unknown;
  readonly numbers: readonly number[];
}

function ofProbes(
  probes: readonly { support: readonly number[]; coefficients: readonly number[]; intercept: number }[],
): Found {
  return {
    neurons: probes.map(({ support }) => support),
    numbers: probes.flatMap(({ coefficients, intercept }) => [...coefficients, intercept]),
  };
}

const RANKINGS: readonly RankingName[] = [
  ...(Object.keys(MOMENT_RANKINGS) as (keyof typeof MOMENT_RANKINGS)[]),
  ...COLUMN_RANKINGS,
];
const REGRESSION_RANKINGS: readonly RegressionRankingName[] = ["correlation", "f", "mutual-information"];
const ks = [1, 3, 5];

const METHODS: Readonly<Record<string, (acts: Activations) => Promise<Found>>> = {
  ...Object.fromEntries(
    RANKINGS.map((ranking) => [
      `ranked by ${ranking}`,
      async (acts: Activations) => ofProbes(await SparseProbe.path(acts, labels, ks, { ranking })),
    ]),
  ),
  "with a pre-filter": async (acts) =>
    ofProbes(await SparseProbe.path(acts, labels, [3], { ranking: "mutual-information", prefilter: 5 })),
  "adaptive thresholding": async (acts) => ofProbes(await SparseProbe.adaptive(acts, labels, ks)),
  "lasso path": async (acts) => ofProbes(await SparseProbe.lasso(acts, labels, [0.02, 0.1, 1])),
  "elastic net": async (acts) => ofProbes(await SparseProbe.lasso(acts, labels, [0.1], { l1Ratio: 0.5 })),
  dense: async (acts) => ofProbes([await SparseProbe.dense(acts, labels)]),
  multiclass: async (acts) => {
    const probes = await MulticlassProbe.path(acts, classes, [2, 4]);
    return ofProbes(probes.flatMap((probe) => probe.probes));
  },
  "every neuron": async (acts) => {
    const { probes } = await probeNeurons(acts, { fr: labels });
    const { coefficients, intercepts, auc, informedness } = probes[0];
    return {
      neurons: probes[0].best(4).map(({ neuron }) => neuron),
      numbers: [...coefficients, ...intercepts, ...auc, ...informedness],
    };
  },
  enumeration: async (acts) => {
    const { rows } = await enumerateNeurons(acts, { fr: labels }, { top: 6 });
    return {
      neurons: rows.map(({ neuron, rank }) => [neuron, rank]),
      numbers: rows.flatMap(({ coefficient, intercept, f1, rocAuc }) => [
        coefficient,
        intercept,
        f1!,
        rocAuc!,
      ]),
    };
  },
  pruning: async (acts) => {
    const steps = await pruneNeurons(acts, labels, { k: 2, steps: 4 });
    const { neurons, numbers } = ofProbes(steps.map(({ probe }) => probe));
    return { neurons: [neurons, steps.map(({ removed }) => removed)], numbers };
  },
  rotation: async (acts) =>
    ofProbes([await SparseProbe.fit(await rotateActivations(acts, { seed: 2 }), labels, 2)]),
  ...Object.fromEntries(
    (
      [
        ["logistic", "standard"],
        ["hinge", "standard"],
        ["logistic", "tenth-deviation"],
        ["hinge", "tenth-deviation"],
      ] as const
    ).map(([loss, standardise]) => [
      `optimal supports, ${loss} loss, ${standardise}`,
      async (acts: Activations): Promise<Found> => {
        const found = await findOptimalSupports(acts, labels, [1, 2, 3], {
          loss,
          standardise,
          ...(standardise === "standard" && { gamma: 0.1 }),
        });
        expect(found.every(({ proved }) => proved)).toBe(true);
        return {
          neurons: found.map(({ support }) => [...support].sort((a, b) => a - b)),
          numbers: found.map(({ objective }) => objective / ROWS),
        };
      },
    ]),
  ),
  ...Object.fromEntries(
    REGRESSION_RANKINGS.map((ranking) => [
      `ridge ranked by ${ranking}`,
      async (acts: Activations) => ofProbes([await RegressionProbe.fit(acts, targets, 3, { ranking })]),
    ]),
  ),
  "elastic net regression": async (acts) =>
    ofProbes([
      await RegressionProbe.fit(acts, targets, 4, { penalty: "elastic-net", alpha: 0.05, l1Ratio: 0.6 }),
    ]),
  "cross-validation": async (acts) => {
    const { rows, chosen } = await crossValidate(acts, labels, ks, { metric: "rocAuc", folds: 3 });
    return {
      neurons: [rows.map(({ folds }) => folds.map((fold) => fold!.support)), chosen!.k],
      numbers: rows.map(({ mean }) => mean!),
    };
  },
  "selection and test": async (acts) => {
    const { chosen, test } = await selectAndTest(acts, labels, ks, {
      metric: "rocAuc",
      bootstrap: { resamples: 50 },
    });
    const { estimate, low, high } = test.metrics.rocAuc;
    return { neurons: chosen.support, numbers: [estimate!, low!, high!] };
  },
  "permutation test": async (acts) => {
    const { statistics, pValues, adjustedPValues } = await permutationTest(acts, labels, {
      permutations: 60,
    });
    return { neurons: [], numbers: [...statistics, ...pValues, ...adjustedPValues] };
  },
  "permutation test of a probe": async (acts) => {
    const { score, pValue } = await permutationTestScore(acts, labels, 2, {
      permutations: 9,
      metric: "rocAuc",
    });
    return { neurons: [], numbers: [score!, pValue!] };
  },
  controls: async (acts) => {
    const { rows } = await probeControls(acts, labels, [2], { draws: 5 });
    const { draws } = rows[0].controls["shuffled-labels"];
    return {
      neurons: draws.map(({ support }) => support),
      numbers: draws.map(({ metrics }) => metrics.rocAuc!),
    };
  },
  stability: async (acts) => {
    const { rows } = await supportStability(acts, labels, ks, { resamples: 30 });
    return { neurons: rows.map(({ support }) => support), numbers: rows.map(({ stability }) => stability!) };
  },
  comparison: async (acts) => {
    const methods = ["welch-t", "adaptive-thresholding", "linear-svm"] as const;
    const { rows } = await compareSelections(acts, labels, [2, 4], { methods, resamples: 20 });
    return {
      neurons: rows.map(({ support }) => support),
      numbers: rows.map(({ objective }) => objective / ROWS),
    };
  },
};

function times(factor: number, acts = x): Activations {
  return new Activations(
    acts.toFloat32().map((value) => value * factor),
    [ROWS, NEURONS],
  );
}

describe("activations in another unit", () => {
  it.each(Object.keys(METHODS))("%s: the same supports and standardised coefficients", async (name) => {
    const method = METHODS[name];
    const want = await method(x);
    for (const factor of [60, 1e-3]) {
      const got = await method(times(factor));
      expect(got.neurons).toEqual(want.neurons);
      // The product rounds every value to 2⁻²⁴ of itself; penalties keep the condition of every fit below a few hundred. Singles
      // of probeNeurons and the SVM stop at looser tolerances, of 1e-5 and 1e-4 in what is compared.
      expectClose(
        got.numbers,
        want.numbers,
        (i) => 2e-4 * Math.max(1, Math.abs(want.numbers[i])),
        `× ${factor}`,
      );
    }
  });

  it("separated classes are flagged by every fit, in every unit, and stay finite", async () => {
    const apart = new Activations(
      x
        .toFloat32()
        .map((value, at) => (at % NEURONS === 2 ? (labels[Math.floor(at / NEURONS)] ? 9 : 1) : value)),
      [ROWS, NEURONS],
    );
    for (const factor of [1, 60, 1e-3]) {
      const acts = times(factor, apart);
      const options = { ranking: "standardised-mean-difference" as const };
      const probes = [
        ...(await SparseProbe.path(acts, labels, [1, 4], { ...options, C: 1e6 })),
        ...(await SparseProbe.adaptive(acts, labels, [1, 4])),
        ...(await SparseProbe.lasso(acts, labels, [1])),
        await SparseProbe.dense(acts, labels, { C: 1e6 }),
        ...(await pruneNeurons(acts, labels, { ...options, k: 2, steps: 1 })).map(({ probe }) => probe),
        ...(await findOptimalSupports(acts, labels, [1, 2], { standardise: "standard" })).map(
          ({ probe }) => probe,
        ),
        ...(await MulticlassProbe.path(acts, classes, [2], options)).flatMap((probe) =>
          probe.probes.filter(({ positive }) => positive === "fr"),
        ),
      ];
      for (const [at, { support, coefficients, convergence }] of probes.entries()) {
        expect(support, `probe ${at}`).toContain(2);
        expect(convergence.separated, `probe ${at}`).toBe(true);
        expect(coefficients.every(Number.isFinite)).toBe(true);
      }
      const { chosen } = await selectAndTest(acts, labels, [1], { ...options, bootstrap: { resamples: 2 } });
      expect(chosen.separated).toBe(true);
      const { rows } = await crossValidate(acts, labels, [1], options);
      expect(rows[0].folds.every((fold) => fold!.separated)).toBe(true);
      const compared = await compareSelections(acts, labels, [1], { methods: ["f"], resamples: 2 });
      expect(compared.rows[0].separated).toBe(true);
    }
  });
});
