/** The linear SVM against scikit-learn's liblinear, and its own certificate. */
import { describe, expect, it } from "vitest";
import { fitLinearSvm, type LinearSvmOptions } from "../../src/ranking/linear-svm.ts";
import probes from "../fixtures/sklearn/probes.json" with { type: "json" };
import fixture from "../fixtures/sklearn/rankings.json" with { type: "json" };
import { expectClose } from "../support/expect-close.ts";
import { fixtureActivations } from "../support/sklearn-probes.ts";

const { train, neurons: d } = probes;
const y = Uint8Array.from(probes.labels.slice(0, train));
const options: LinearSvmOptions = { C: 1, balanced: true, tolerance: 1e-12, maxEpochs: 200_000, seed: 0 };

/** Training rows in standard deviations, in float64 as scikit-learn had them. */
function standardised(): Float64Array {
  const values = Float64Array.from(
    fixtureActivations()
      .toFloat32()
      .subarray(0, train * d),
  );
  for (let j = 0; j < d; j++) {
    let mean = 0;
    for (let i = 0; i < train; i++) mean += values[i * d + j];
    mean /= train;
    let squares = 0;
    for (let i = 0; i < train; i++) squares += (values[i * d + j] - mean) ** 2;
    const sd = Math.sqrt(squares / train) || 1;
    for (let i = 0; i < train; i++) values[i * d + j] = (values[i * d + j] - mean) / sd;
  }
  return values;
}

describe("the linear SVM", () => {
  it.each(fixture.probes.svm)("is liblinear's: C = $C, balanced = $balanced", async (c) => {
    const fit = await fitLinearSvm(standardised(), d, y, { ...options, C: c.C, balanced: c.balanced });
    expect(fit.converged).toBe(true);
    // ‖w − w*‖² ≤ 2·gap holds for ours; liblinear stopped at a violation of 1e-9.
    const bound = Math.sqrt(2 * fit.dualityGap) + 1e-7;
    expectClose(fit.coefficients, c.coefficients, bound, "coefficient");
    expectClose([fit.intercept], [c.intercept], bound, "intercept");
  });

  it("certifies what it returns", async () => {
    const x = standardised();
    const tight = await fitLinearSvm(x, d, y, options);
    for (const maxEpochs of [0, 1, 5, 40]) {
      const loose = await fitLinearSvm(x, d, y, { ...options, maxEpochs });
      expect(loose.converged).toBe(false);
      expect(loose.epochs).toBe(maxEpochs);
      expect(loose.objective - loose.dualityGap).toBeLessThanOrEqual(tight.objective);
      expect(loose.objective).toBeGreaterThanOrEqual(tight.objective - tight.dualityGap);
      const away = Math.hypot(
        loose.intercept - tight.intercept,
        ...loose.coefficients.map((w, j) => w - tight.coefficients[j]),
      );
      expect(away).toBeLessThanOrEqual(Math.sqrt(2 * loose.dualityGap) + Math.sqrt(2 * tight.dualityGap));
    }
    // The objective, written out.
    const positives = y.reduce((a, b) => a + b, 0);
    let objective = tight.intercept ** 2 / 2 + tight.coefficients.reduce((sum, w) => sum + w * w, 0) / 2;
    for (let i = 0; i < train; i++) {
      const z = tight.coefficients.reduce((sum, w, j) => sum + w * x[i * d + j], tight.intercept);
      const weight = train / (2 * (y[i] ? positives : train - positives));
      objective += weight * Math.max(0, 1 - (y[i] ? z : -z));
    }
    expectClose([tight.objective], [objective], 1e-12 * objective);
  });

  it("has one answer whatever the seed, bit for bit the same for one", async () => {
    const x = standardised();
    const once = await fitLinearSvm(x, d, y, options);
    expect(await fitLinearSvm(x, d, y, options)).toEqual(once);
    const other = await fitLinearSvm(x, d, y, { ...options, seed: 5 });
    expect(other).not.toEqual(once);
    expectClose(
      other.coefficients,
      once.coefficients,
      2 * Math.sqrt(2 * once.dualityGap + 2 * other.dualityGap),
    );
  });

  it("stops when asked to, and says how far it is", async () => {
    const x = standardised();
    const reason = new Error("enough");
    const aborted = AbortSignal.abort(reason);
    await expect(fitLinearSvm(x, d, y, { ...options, signal: aborted })).rejects.toBe(reason);
    const controller = new AbortController();
    const seen: number[] = [];
    const long = fitLinearSvm(x, d, y, {
      ...options,
      C: 100,
      tolerance: 1e-16,
      maxEpochs: 1e9,
      signal: controller.signal,
      onProgress: (done) => {
        seen.push(done);
        if (done === 20) controller.abort(reason);
      },
    });
    await expect(long).rejects.toBe(reason);
    expect(seen.slice(0, 20)).toEqual(Array.from({ length: 20 }, (_, i) => i + 1));
  });
});
