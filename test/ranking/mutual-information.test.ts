/** Mutual information against scikit-learn, against the definitions, and where it is known. */
import { describe, expect, it } from "vitest";
import { UNLABELLED } from "../../src/data/labels.ts";
import { Random } from "../../src/random.ts";
import { HistogramInformation } from "../../src/ranking/histogram-information.ts";
import { mutualInformationOfClass, mutualInformationOfReal } from "../../src/ranking/mutual-information.ts";
import fixture from "../fixtures/sklearn/rankings.json" with { type: "json" };
import { expectClose } from "../support/expect-close.ts";

const { rows, neurons, cases } = fixture.information;
const bytes = Uint8Array.from(atob(fixture.information.activations), (c) => c.charCodeAt(0));
const values = new Float32Array(bytes.buffer);
const column = (j: number) => Float32Array.from({ length: rows }, (_, i) => values[i * neurons + j]);
const labels = Uint8Array.from(fixture.information.labels);
const real = Float64Array.from(fixture.information.real);
const whole = Float64Array.from(fixture.information.whole);

/** Normal numbers, by Box and Muller. */
function normals(n: number, name: string): Float64Array {
  const random = new Random(7, name);
  return Float64Array.from(
    { length: n },
    () => Math.sqrt(-2 * Math.log(1 - random.uniform())) * Math.cos(2 * Math.PI * random.uniform()),
  );
}

/** Mean over 40 seeds. */
function mean(estimate: (seed: number) => number): number {
  let sum = 0;
  for (let seed = 0; seed < 40; seed++) sum += estimate(seed);
  return sum / 40;
}

describe.each(cases)("with $neighbours neighbours", (c) => {
  const { neighbours } = c;

  it("a class's is scikit-learn's", () => {
    const got = c.untied.map((j) => mutualInformationOfClass(column(j), labels, { neighbours }));
    // Where no two distances are equal, scikit-learn's noise of 1e-10 changes no count, and sums of 1,000 digammas below 8 are not
    // to the last digit. Near 1,000 float32 values lie on a grid of 6e-5, with equal distances that noise decides: ten counts.
    const bound = (i: number) => (c.untied[i] === 4 ? 10 / neighbours / rows : 1e-11);
    expectClose(got, c.class, bound, "information");
  });

  it("a real target's is scikit-learn's", () => {
    const got = c.untied.map((j) => mutualInformationOfReal(column(j), real, { neighbours }));
    const bound = (i: number) => (c.untied[i] === 4 ? 10 / neighbours / rows : 1e-11);
    expectClose(got, c.real, bound, "information");
  });

  it("of equal values has scikit-learn's mean over the noise", () => {
    const check = (
      want: { columns: number[]; mean: number[]; sd: number[] },
      estimate: (j: number, seed: number) => number,
    ) => {
      const got = want.columns.map((j) => mean((seed) => estimate(j, seed)));
      // Two means of 40 draws each: five standard deviations of their difference.
      expectClose(got, want.mean, (i) => 5 * want.sd[i] * Math.sqrt(2 / 40) + 1e-11, "mean information");
    };
    check(c.tiedClass, (j, seed) => mutualInformationOfClass(column(j), labels, { neighbours, seed }));
    check(c.tiedReal, (j, seed) => mutualInformationOfReal(column(j), real, { neighbours, seed }));
    check(c.wholeReal, (j, seed) => mutualInformationOfReal(column(j), whole, { neighbours, seed }));
  });
});

describe("mutual information", () => {
  it("is that of the definition, counted pair by pair", () => {
    const psi = (m: number): number => {
      let sum = -0.5772156649015329;
      for (let i = 1; i < m; i++) sum += 1 / i;
      return sum;
    };
    for (const n of [5, 12, 60, 450]) {
      const x = Float32Array.from(normals(n, `x ${n}`));
      const y = normals(n, `y ${n}`).map((v, i) => v + x[i]);
      const c = Uint8Array.from(y, (v, i) => (i % 7 === 3 ? UNLABELLED : v > 0.5 ? 1 : 0));
      const used = [...c.keys()].filter((i) => c[i] !== UNLABELLED);
      const k = 3;
      const kth = (i: number, among: number[], distance: (j: number) => number) =>
        among
          .filter((j) => j !== i)
          .map(distance)
          .sort((a, b) => a - b);
      let ofClass = psi(used.length);
      for (const i of used) {
        const same = used.filter((j) => c[j] === c[i]);
        const own = Math.min(k, same.length - 1);
        const radius = kth(i, same, (j) => Math.abs(x[j] - x[i]))[own - 1];
        const near = used.filter((j) => Math.abs(x[j] - x[i]) < radius).length;
        ofClass += (psi(own) - psi(same.length) - psi(near)) / used.length;
      }
      expect(mutualInformationOfClass(x, c)).toBeCloseTo(Math.max(0, ofClass), 11);

      const sd = (v: ArrayLike<number>) => {
        const list = Array.from(v);
        const m = list.reduce((a, b) => a + b, 0) / n;
        return Math.sqrt(list.reduce((a, b) => a + (b - m) ** 2, 0) / n);
      };
      const u = Float64Array.from(x, (v) => v / sd(x));
      const w = y.map((v) => v / sd(y));
      const all = [...u.keys()];
      let ofReal = psi(n) + psi(k);
      for (const i of all) {
        const radius = kth(i, all, (j) => Math.max(Math.abs(u[j] - u[i]), Math.abs(w[j] - w[i])))[k - 1];
        const within = (v: Float64Array) => all.filter((j) => Math.abs(v[j] - v[i]) < radius).length;
        ofReal -= (psi(within(u)) + psi(within(w))) / n;
      }
      expect(mutualInformationOfReal(x, y, { neighbours: k })).toBeCloseTo(Math.max(0, ofReal), 10);
    }
  });

  it("approaches what is known of normal variables", () => {
    const n = 20_000;
    const x = normals(n, "x");
    const noise = normals(n, "noise");
    const rho = 0.8;
    const y = x.map((v, i) => rho * v + Math.sqrt(1 - rho * rho) * noise[i]);
    // −½·log(1 − ρ²); the estimator's standard deviation is about 1/√n.
    expectClose([mutualInformationOfReal(x, y)], [-0.5 * Math.log(1 - rho * rho)], 5 / Math.sqrt(n));
    // Classes that share no value: the entropy of a fair coin.
    const apart = Float32Array.from(x, (v, i) => Math.abs(v) + (i % 2 ? 10 : -20));
    const classes = Uint8Array.from(x, (_, i) => i % 2);
    expectClose([mutualInformationOfClass(apart, classes)], [Math.log(2)], 1e-3);
    const histogram = new HistogramInformation(1);
    histogram.add(apart, classes);
    expectClose([...histogram.scores()], [Math.log(2)], 1e-3);
  });

  it("is 0 for constants and for a class of one row, and depends on seed and key only where values are equal", () => {
    expect(mutualInformationOfClass(column(8), labels)).toBe(0);
    expect(mutualInformationOfReal(column(8), real)).toBe(0);
    expect(mutualInformationOfReal(column(0), new Float64Array(rows).fill(2))).toBe(0);
    const one = new Uint8Array(rows);
    one[5] = 1;
    expect(mutualInformationOfClass(column(0), one)).toBe(0);
    const of = (j: number, seed: number, key: string) =>
      mutualInformationOfClass(column(j), labels, { seed, key });
    expect(of(0, 1, "a")).toBe(of(0, 2, "b"));
    expect(of(3, 1, "a")).toBe(of(3, 1, "a"));
    expect(of(3, 1, "a")).not.toBe(of(3, 2, "a"));
    expect(of(3, 1, "a")).not.toBe(of(3, 1, "b"));
  });

  it("does not care in which order the rows come, nor for float32 or float64", () => {
    const order = new Random(3, "rows").shuffle(Uint32Array.from(labels.keys()));
    for (let j = 0; j < neurons; j++) {
      const x = column(j);
      const moved = Float32Array.from(order, (i) => x[i]);
      const classes = Uint8Array.from(order, (i) => labels[i]);
      expect(mutualInformationOfClass(moved, classes)).toBeCloseTo(mutualInformationOfClass(x, labels), 12);
      expect(mutualInformationOfClass(Float64Array.from(x), labels)).toBe(
        mutualInformationOfClass(x, labels),
      );
      expect(mutualInformationOfReal(Float64Array.from(x), real)).toBe(mutualInformationOfReal(x, real));
    }
  });

  it("refuses what it cannot read", () => {
    const x = column(0);
    const refused: [() => unknown, string][] = [
      [() => mutualInformationOfClass(x, labels, { neighbours: 0 }), "option"],
      [() => mutualInformationOfReal(x, real, { neighbours: 1.5 }), "option"],
      [() => mutualInformationOfClass(x.subarray(1), labels), "shape"],
      [() => mutualInformationOfReal(x.subarray(1), real), "shape"],
      [() => mutualInformationOfReal(x.subarray(0, 3), real.subarray(0, 3)), "shape"],
      [() => mutualInformationOfClass(x, new Uint8Array(rows).fill(UNLABELLED)), "empty-data"],
      [() => mutualInformationOfClass(Float32Array.of(1, NaN), Uint8Array.of(0, 1)), "non-finite"],
      [
        () =>
          mutualInformationOfReal(
            x.map((v, i) => (i === 9 ? Infinity : v)),
            real,
          ),
        "non-finite",
      ],
      [
        () =>
          mutualInformationOfReal(
            x,
            real.map((v, i) => (i === 9 ? NaN : v)),
          ),
        "non-finite",
      ],
    ];
    for (const [call, code] of refused) {
      expect(call).toThrow(expect.objectContaining({ code }) as Error);
    }
  });
});

describe("the histogram estimate", () => {
  const estimate = (x: Float32Array, width: number, blocks: number[] = [rows]) => {
    const histogram = new HistogramInformation(width);
    let start = 0;
    for (const block of blocks) {
      const end = Math.min(rows, start + block);
      histogram.add(x.subarray(start * width, end * width), labels.subarray(start, end));
      start = end;
    }
    return histogram.scores();
  };

  it("is the same in blocks of any size, and for a neuron alone or among others", () => {
    const want = estimate(values, neurons);
    expect(estimate(values, neurons, [1, 7, 300, 5, 1000])).toEqual(want);
    for (let j = 0; j < neurons; j++) expect(estimate(column(j), 1)[0]).toBe(want[j]);
    expect(want[8]).toBe(0);
  });

  it("comes near the estimate by neighbours", () => {
    // Sixteen bins lose a little; the standard deviation of either estimate over 1,000 rows is about 0.03.
    const want = Array.from({ length: neurons }, (_, j) => mutualInformationOfClass(column(j), labels));
    expectClose(estimate(values, neurons), want, 0.1, "information");
  });

  it("finds what lies far from its first rows", () => {
    // A neuron that is silent at first, and one that is far off later: rows in the order of their classes.
    const order = [...labels.keys()].sort((a, b) => labels[a] - labels[b]);
    for (let j = 0; j < 8; j++) {
      const x = column(j);
      const sorted = new HistogramInformation(1);
      sorted.add(
        Float32Array.from(order, (i) => x[i]),
        Uint8Array.from(order, (i) => labels[i]),
      );
      expectClose([...sorted.scores()], [...estimate(x, 1)], 0.05, `neuron ${j}`);
    }
    const late = new HistogramInformation(1);
    late.add(
      Float32Array.from({ length: 2000 }, (_, i) => (i < 1000 ? 0 : i % 2 ? 0.1 : 10)),
      Uint8Array.from({ length: 2000 }, (_, i) => (i < 1000 ? 0 : i % 2)),
    );
    // Positive rows alone have the value 0.1: the entropy of the label, of which a quarter is 1.
    expectClose([...late.scores()], [0.25 * Math.log(4) + 0.75 * Math.log(4 / 3)], 2e-3);
  });

  it("takes unlabelled rows as if they were not there", () => {
    const histogram = new HistogramInformation(1);
    const x = column(0);
    histogram.add(
      Float32Array.from({ length: 2 * rows }, (_, i) => (i % 2 ? NaN : x[i / 2])),
      Uint8Array.from({ length: 2 * rows }, (_, i) => (i % 2 ? UNLABELLED : labels[i / 2])),
    );
    expect(histogram.scores()).toEqual(estimate(x, 1));
    expect([...new HistogramInformation(2).scores()]).toEqual([0, 0]);
  });
});
