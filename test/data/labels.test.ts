import { describe, expect, it } from "vitest";
import {
  LabelMatrix,
  positiveClass,
  readLabels,
  readLabelSets,
  readLabelsLike,
  UNLABELLED,
  type LabelsInput,
} from "../../src/data/labels.ts";

const failing = (code: string): Error => expect.objectContaining({ code }) as Error;

describe("reading one label set", () => {
  it.each<[string, LabelsInput, string | number | undefined, number[]]>([
    ["booleans", [true, false, true], undefined, [1, 0, 1]],
    ["0 and 1", [0, 1, 1], undefined, [0, 1, 1]],
    ["±1", [-1, 1, -1], undefined, [0, 1, 0]],
    ["typed arrays", Uint8Array.of(1, 0), undefined, [1, 0]],
    ["two names: the later one is positive", ["en", "fr", "en"], undefined, [0, 1, 0]],
    ["two numbers: the larger one is positive", [3, 7, 7], undefined, [0, 1, 1]],
    ["a named positive class", ["en", "fr", "en"], "en", [1, 0, 1]],
    ["one against the rest", ["a", "b", "c"], "b", [0, 1, 0]],
    ["a numeric positive class", [0, 1, 2], 0, [1, 0, 0]],
  ])("%s", (_, labels, positive, want) => {
    expect([...readLabels(labels, positive)]).toEqual(want);
  });

  it.each<[string, LabelsInput, string | undefined, string]>([
    ["nothing", [], undefined, "empty-data"],
    ["three classes and no positive one", [0, 1, 2], undefined, "labels"],
    ["a positive class that no row has", ["a", "b"], "c", "labels"],
    ["kinds mixed", [1, "a"], undefined, "labels"],
    ["null", [null, null] as unknown as LabelsInput, undefined, "labels"],
    ["NaN", [0, NaN], undefined, "labels"],
    ["infinity", [Infinity, 1], undefined, "labels"],
    ["one class of numbers", [0, 0], undefined, "one-class"],
    ["one class by name", ["a", "a"], undefined, "one-class"],
    ["one boolean", [true], undefined, "one-class"],
  ])("refuses %s", (_, labels, positive, code) => {
    expect(() => readLabels(labels, positive)).toThrow(failing(code));
  });

  it("says which class it took for positive", () => {
    expect(positiveClass([false, true])).toBe(true);
    expect(positiveClass([-1, 1])).toBe(1);
    expect(positiveClass([-1])).toBe(1);
    expect(positiveClass([4, 9])).toBe(9);
    expect(positiveClass(["b", "a"])).toBe("b");
  });
});

describe("reading labels like a probe's", () => {
  it("takes any of 0/1, ±1 and booleans where the positive class is 1, and a missing class", () => {
    expect([...readLabelsLike([0, 1], 1)]).toEqual([0, 1]);
    expect([...readLabelsLike([-1, 1], 1)]).toEqual([0, 1]);
    expect([...readLabelsLike([true, false], 1)]).toEqual([1, 0]);
    expect([...readLabelsLike([0, 1], true)]).toEqual([0, 1]);
    expect([...readLabelsLike([0, 0], 1)]).toEqual([0, 0]);
    expect([...readLabelsLike(["en", "de"], "fr")]).toEqual([0, 0]);
    expect([...readLabelsLike([7, 2], 7)]).toEqual([1, 0]);
  });

  it("takes three numbers and more as one class against the rest", () => {
    expect([...readLabelsLike([0, 1, 2], 1)]).toEqual([0, 1, 0]);
    expect([...readLabelsLike([0, -1, 1], 1)]).toEqual([0, 0, 1]);
    expect([...readLabelsLike([0, -1, 1], -1)]).toEqual([0, 1, 0]);
  });

  it("takes booleans for any class but the plain negative one", () => {
    expect([...readLabelsLike([true, false], "fr")]).toEqual([1, 0]);
    expect([...readLabelsLike([true, false], 7)]).toEqual([1, 0]);
    expect([...readLabelsLike([true, false], false)]).toEqual([0, 1]);
    expect(() => readLabelsLike([true, false], 0)).toThrow(failing("labels"));
  });

  it("refuses another kind", () => {
    expect(() => readLabelsLike(["a"], 1)).toThrow(failing("labels"));
    expect(() => readLabelsLike([0, 1], "fr")).toThrow(failing("labels"));
    expect(() => readLabelsLike([0, 2], 1)).toThrow(failing("labels"));
    expect(() => readLabelsLike([0, -1], 1)).toThrow(failing("labels"));
    expect(() => readLabelsLike([1, -1], 0)).toThrow(failing("labels"));
    expect(() => readLabelsLike([1, 0], -1)).toThrow(failing("labels"));
    expect(() => readLabelsLike([1, 2], 1)).toThrow("true where a row is of that class");
    expect(() => readLabelsLike([], 1)).toThrow(failing("empty-data"));
  });
});

describe("reading several label sets", () => {
  it("takes an object, class names, or one plain set", () => {
    const byName = readLabelSets({ a: [0, 1], b: ["x", "y"] });
    expect(byName.labels.features).toEqual(["a", "b"]);
    expect(byName.positives).toEqual([1, "y"]);
    expect([...byName.labels.values]).toEqual([0, 1, 0, 1]);
    const classes = readLabelSets(["fr", "en", "de", "fr"]);
    expect(classes.labels.features).toEqual(["de", "en", "fr"]);
    expect([...classes.labels.of(2)]).toEqual([1, 0, 0, 1]);
    const plain = readLabelSets([0, 1, 1]);
    expect(plain.labels.features).toEqual(["positive"]);
    expect(plain.positives).toEqual([1]);
    const numbers = readLabelSets([10, 9, 100]);
    expect(numbers.labels.features).toEqual(["9", "10", "100"]);
    expect(numbers.positives).toEqual([9, 10, 100]);
  });

  it("reports a bad set and reads the others", () => {
    const { labels, failures } = readLabelSets({ a: [0, 0], b: [0, 1], c: [0, 1, 1] });
    expect(labels.features).toEqual(["b"]);
    expect(failures.map(({ feature, error }) => [feature, error.code])).toEqual([
      ["a", "one-class"],
      ["c", "shape"],
    ]);
    expect(readLabelSets({ a: [1] }).labels.features).toEqual([]);
    expect(() => readLabelSets({})).toThrow(failing("empty-data"));
    expect(() => readLabelSets([])).toThrow(failing("empty-data"));
  });
});

describe("a label matrix", () => {
  const matrix = new LabelMatrix(["a", "b"], 3, Uint8Array.of(1, 0, UNLABELLED, 0, 0, 1));

  it("counts labelled rows and finds features of one class", () => {
    expect(matrix.counts(0)).toEqual([1, 1]);
    expect(matrix.counts(1)).toEqual([2, 1]);
    expect(() => matrix.assertTwoClasses(0)).not.toThrow();
    expect(() => matrix.restrictedTo([0]).assertTwoClasses(0)).toThrow(failing("one-class"));
  });

  it("restricts to rows by unlabelling the others, and slices", () => {
    expect([...matrix.restrictedTo([2]).values]).toEqual([255, 255, 255, 255, 255, 1]);
    expect([...matrix.slice(1, 3).values]).toEqual([0, UNLABELLED, 0, 1]);
    expect([...matrix.values]).toEqual([1, 0, UNLABELLED, 0, 0, 1]);
    expect(() => matrix.restrictedTo([3])).toThrow(failing("shape"));
    expect(() => matrix.restrictedTo([0.5])).toThrow(failing("shape"));
  });

  it("refuses values of another length", () => {
    expect(() => new LabelMatrix(["a"], 3, new Uint8Array(2))).toThrow(failing("shape"));
    expect(() => matrix.restrictedTo([1, 0, 1])).toThrow("Row 1 is listed twice");
  });

  it("holds 1, 0 and UNLABELLED only: anything else would count for another feature", () => {
    expect(() => new LabelMatrix(["a", "b"], 2, Uint8Array.of(0, 1, 1, 2))).toThrow(failing("labels"));
    expect(() => new LabelMatrix(["a", "b"], 2, Uint8Array.of(0, 1, 1, 2))).toThrow(
      /row 1 of feature "b" is 2.*UNLABELLED/,
    );
  });
});
