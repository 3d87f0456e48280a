/** Multiclass probes against scikit-learn 1.7.2's OneVsRestClassifier (test/fixtures/make-regression-fixtures.py), and by themselves. */
import { describe, expect, it } from "vitest";
import { Activations } from "../../src/data/activations.ts";
import { MULTICLASS_METRIC_NAMES } from "../../src/metrics/multiclass.ts";
import { MulticlassProbe } from "../../src/probes/multiclass-probe.ts";
import fixture from "../fixtures/sklearn/multiclass.json" with { type: "json" };
import { expectClose } from "../support/expect-close.ts";

const bytes = Uint8Array.from(atob(fixture.activations), (c) => c.charCodeAt(0));
const x = new Activations(new Float32Array(bytes.buffer), [fixture.rows, fixture.neurons]);
const rows = Array.from({ length: fixture.train }, (_, i) => i);
const heldOut = Array.from({ length: fixture.rows - fixture.train }, (_, i) => fixture.train + i);

describe("one-vs-rest equals scikit-learn's", () => {
  it.each(fixture.cases.map((c) => [`C = ${c.C}, ${c.balanced ? "balanced" : "unweighted"}`, c] as const))(
    "%s",
    async (_, c) => {
      const probe = await MulticlassProbe.fit(x, fixture.labels, fixture.neurons, {
        C: c.C,
        classWeight: c.balanced ? "balanced" : "none",
        rows,
      });
      expect(probe.classes).toEqual(fixture.classes);
      expect(probe.unfitted).toEqual([]);
      for (const [p, { support, coefficients }] of probe.probes.entries()) {
        const want = support.map((neuron) => c.coefficients[p][neuron]);
        expectClose(coefficients, want, 1e-6 * Math.max(...want.map(Math.abs)), "coefficient");
      }
      const held = x.selectRows(heldOut);
      expectClose(probe.decisionFunction(held), c.decisions.flat(), 2e-5, "decision");
      expectClose(probe.predictProbability(held), c.probabilities.flat(), 2e-5, "probability");
      expect(probe.predict(held)).toEqual(c.predicted.map((at) => fixture.classes[at]));
      const got = probe.evaluate(x, fixture.labels, { rows: heldOut });
      expect(got.confusion).toEqual(c.expected.confusion);
      for (const name of MULTICLASS_METRIC_NAMES) {
        expectClose([got[name]!], [c.expected[name]], 1e-12, name);
      }
    },
  );
});
