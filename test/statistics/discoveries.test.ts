import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { OptionError } from "../../src/errors.ts";
import { benjaminiHochberg } from "../../src/statistics/benjamini-hochberg.ts";
import { normalCdf, normalQuantile } from "../../src/statistics/normal-distribution.ts";
import fixture from "../fixtures/statistics/discoveries.json" with { type: "json" };
import { expectClose } from "../support/expect-close.ts";

describe("Benjamini–Hochberg", () => {
  it("equals SciPy's false_discovery_control", () => {
    for (const { p, q } of fixture.cases) expectClose(benjaminiHochberg(p), q, 4 * 2 ** -53, "q-value");
  });

  it("finds what the step-up rule finds at every level", () => {
    const ps = fc.array(fc.double({ min: 0, max: 1, noNaN: true }), { minLength: 1, maxLength: 30 });
    fc.assert(
      fc.property(ps, fc.double({ min: 0.001, max: 0.999, noNaN: true }), (p, level) => {
        const sorted = [...p].sort((a, b) => a - b);
        let last = 0;
        for (const [r, value] of sorted.entries()) if ((value * p.length) / (r + 1) <= level) last = r + 1;
        const found = benjaminiHochberg(p).filter((q) => q <= level).length;
        // Equal p-values are found together.
        expect(found).toBe(last === 0 ? 0 : p.filter((value) => value <= sorted[last - 1]).length);
      }),
    );
  });

  it("takes no tests, and refuses what is no p-value", () => {
    expect(benjaminiHochberg([])).toEqual(new Float64Array(0));
    for (const bad of [NaN, -0.1, 1.1]) expect(() => benjaminiHochberg([0.5, bad])).toThrow(OptionError);
  });
});

describe("the normal distribution", () => {
  it("equals SciPy's", () => {
    for (const { z, cdf } of fixture.normal) {
      expectClose([normalCdf(z)], [cdf], 2e-15 * Math.max(1e-30, z < -5 ? cdf * 50 : 1), `Φ(${z})`);
    }
  });

  it("has its quantiles as the inverse", () => {
    for (const p of [1e-12, 0.001, 0.025, 0.3, 0.5, 0.8, 0.999]) {
      expectClose([normalCdf(normalQuantile(p))], [p], 1e-14 * Math.max(p, 0.01), `Φ⁻¹(${p})`);
    }
    expect([normalQuantile(0), normalQuantile(1)]).toEqual([-Infinity, Infinity]);
    expect(normalQuantile(0.975)).toBeCloseTo(1.959963984540054, 12);
  });
});
