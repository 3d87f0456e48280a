import { beforeAll, describe, expect, it } from "vitest";
import type { FeatureDataset } from "../../src/datasets/feature-dataset.ts";
import { LATEX_FEATURES, scanLatex } from "../../src/datasets/latex-scanner.ts";
import { latexDataset } from "../../src/datasets/latex.ts";
import { latexBit, latexStretches } from "../../src/datasets/latex-stretches.ts";
import { EmptyDataError, OptionError } from "../../src/errors.ts";
import type { Tokenizer } from "../../src/model/tokenizer.ts";
import { bundledTokenizer, documents, labelled, threeTokenizers } from "./text-corpora.ts";

let tokenizer: Tokenizer;
beforeAll(async () => {
  tokenizer = await bundledTokenizer();
});

const ALL = { positiveShare: 0.999, leastRows: 1 } as const;

/** Tokens of a feature without the white space around them. */
function tokens(dataset: FeatureDataset, feature: string, label: number): string[] {
  return labelled(dataset, feature, tokenizer)
    .filter((row) => row.label === label)
    .map(({ token }) => token.trim());
}

describe("latexDataset", () => {
  const SOURCE = String.raw`\title{Slow heat}\author{Oda}
\begin{abstract} We test. \end{abstract} % no $q$
If $a^2_{b}$ then \[ \frac{u}{v} = 7 \text{ if } w \] by \cite{key}. Done.`;

  /** By hand: the words and signs that are positive for each feature, in the order of the source. */
  const KEY: Readonly<Record<string, string>> = {
    frac: String.raw`\frac{u}{v}`,
    numerator: "u",
    denominator: "v",
    title: "Slowheat",
    abstract: "Wetest.",
    author: "Oda",
    subscript: "b",
    superscript: "2",
    reference: "key",
    math: String.raw`a^2_{b}\frac{u}{v}=7\text{}w`,
    inline_math: "a^2_{b}",
    display_math: String.raw`\frac{u}{v}=7\text{}w`,
  };

  it("labels tokens as a hand-made key does", async () => {
    const dataset = await latexDataset([SOURCE], tokenizer, { skipFirst: 0, sampling: ALL });
    for (const feature of LATEX_FEATURES) {
      expect([feature, tokens(dataset, feature, 1).join("")]).toEqual([feature, KEY[feature]]);
    }
  });

  it("leaves out what crosses an edge, words in formulas, and what is not text", async () => {
    const dataset = await latexDataset([SOURCE], tokenizer, { skipFirst: 0, sampling: ALL });
    const outside = tokens(dataset, "math", 0);
    expect(outside).toContain("by");
    expect(outside).not.toContain("if");
    expect(tokens(dataset, "frac", 0)).toContain("if");
    for (const feature of LATEX_FEATURES) {
      for (const label of [0, 1]) expect(tokens(dataset, feature, label)).not.toContain("q");
    }
    expect(dataset.report.dropped["tokens that are not read as text"]).toBeGreaterThan(3);
    // The bundled tokenizer reads "{-" as one token: the superscript's brace and its first character.
    const crossed = await latexDataset(["so $x^{-1}$ is here"], tokenizer, { skipFirst: 0, sampling: ALL });
    expect(crossed.report.dropped).toEqual({ "labels of tokens that cross an edge": 1 });
    expect(tokens(crossed, "math", 1)).toContain("{-");
    for (const label of [0, 1]) expect(tokens(crossed, "superscript", label)).not.toContain("{-");
  });

  it("gives every token of three tokenizers the labels of its characters", async () => {
    const { texts } = documents("latex.jsonl");
    const keys = texts.slice(0, 3).map(scanLatex);
    for (const [name, own] of await threeTokenizers()) {
      const dataset = await latexDataset(texts.slice(0, 3), own, {
        skipFirst: 0,
        sampling: { positiveShare: 0.999, leastRows: 1, maxRows: 100_000 },
      });
      const { rows, passages, labels } = dataset;
      const ranges = new Map(
        passages.map((passage) => [passage, located(texts[passage.group as number], passage.text, own)]),
      );
      let seen = 0;
      for (const [row, p] of rows.passage.entries()) {
        const place = ranges.get(passages[p]);
        if (!place) continue;
        const source = texts[passages[p].group as number];
        const spans = keys[passages[p].group as number];
        const start = place.from + place.starts[rows.positions[row]];
        const end = place.from + place.ends[rows.positions[row]];
        const characters = Array.from({ length: end - start }, (_, i) => start + i);
        const inked = characters.filter((i) => !/\s/.test(source[i]));
        for (const feature of ["frac", "title", "abstract", "reference"] as const) {
          const inside = (inked.length > 0 ? inked : characters).filter((i) =>
            spans.some((span) => span.kind === feature && span.start <= i && i < span.end),
          ).length;
          const label = labels.of(labels.features.indexOf(feature))[row];
          if (label === 255) continue;
          expect([name, source.slice(start, end), feature, label]).toEqual([
            name,
            source.slice(start, end),
            feature,
            inside === 0 ? 0 : 1,
          ]);
          seen++;
        }
      }
      expect(seen).toBeGreaterThan(1000);
    }
  });

  it("takes half the negatives of mirrored features from the mirror", async () => {
    const { texts, groups } = documents("latex.jsonl");
    const dataset = await latexDataset(texts, tokenizer, { groups, sampling: { maxRows: 500 } });
    const whole = await latexDataset(texts, tokenizer, { groups, sampling: { ...ALL, maxRows: 100_000 } });
    for (const [feature, mirror] of [
      ["numerator", "denominator"],
      ["subscript", "superscript"],
      ["inline_math", "display_math"],
      ["author", "title"],
    ]) {
      const key = (d: FeatureDataset, row: number): string =>
        `${d.passages[d.rows.passage[row]].group}:${d.passages[d.rows.passage[row]].text}:${d.rows.positions[row]}`;
      const inMirror = new Set<string>();
      const other = whole.labels.of(whole.labels.features.indexOf(mirror));
      for (const [row, label] of other.entries()) if (label === 1) inMirror.add(key(whole, row));
      const own = dataset.labels.of(dataset.labels.features.indexOf(feature));
      const negatives = [...own.keys()].filter((row) => own[row] === 0);
      expect(negatives).toHaveLength(400);
      expect([feature, negatives.filter((row) => inMirror.has(key(dataset, row))).length]).toEqual([
        feature,
        200,
      ]);
    }
  });

  it("refuses what it cannot read, and stops when asked to", async () => {
    await expect(latexDataset([], tokenizer)).rejects.toThrow(EmptyDataError);
    await expect(latexDataset(["too short"], tokenizer)).rejects.toThrow(EmptyDataError);
    await expect(latexDataset(["$x$"], tokenizer, { skipFirst: -1 })).rejects.toThrow(OptionError);
    const stop = new Error("enough");
    await expect(latexDataset(["$x$"], tokenizer, { signal: AbortSignal.abort(stop) })).rejects.toBe(stop);
  });
});

/** Where a passage lies in its source, and its tokens in it; undefined when it stands there twice. */
function located(
  source: string,
  passage: string,
  own: Tokenizer,
): { from: number; starts: Uint32Array; ends: Uint32Array } | undefined {
  const from = source.indexOf(passage);
  if (source.includes(passage, from + 1)) return undefined;
  const whole = own.locate(source)!;
  const first = whole.starts.findIndex((start, i) => start === from && whole.ends[i] > start);
  if (first < 0) return undefined;
  const shift = whole.starts[first] === 0 && whole.ends[0] === 0 ? 0 : first;
  return {
    from,
    starts: whole.starts.subarray(shift).map((at) => at - from),
    ends: whole.ends.subarray(shift).map((at) => at - from),
  };
}

describe("latexStretches", () => {
  const bits = (source: string, at: string): { inside: string[]; open: string[]; mirrored: string[] } => {
    const place = source.indexOf(at);
    const stretch = latexStretches(scanLatex(source)).find(({ end }) => end > place)!;
    const named = (mask: number): string[] => LATEX_FEATURES.filter((feature) => mask & latexBit(feature));
    return { inside: named(stretch.inside), open: named(stretch.open), mirrored: named(stretch.mirrored) };
  };

  it("lets the inner one of a mirrored pair count", () => {
    const scripts = "$x_{i^{2}}$";
    expect(bits(scripts, "i")).toMatchObject({ inside: ["subscript", "math", "inline_math"], open: [] });
    expect(bits(scripts, "2")).toMatchObject({
      inside: ["superscript", "math", "inline_math"],
      open: ["subscript"],
    });
    const fraction = String.raw`\[\frac{\frac{1}{2}}{3}\]`;
    expect(bits(fraction, "1").inside).toContain("numerator");
    expect(bits(fraction, "2")).toMatchObject({ open: ["numerator"] });
    expect(bits(fraction, "2").inside).toContain("denominator");
    expect(bits(fraction, "3").mirrored).toEqual(["numerator", "inline_math"]);
  });

  it("leaves words in formulas open", () => {
    const source = String.raw`\[ a \text{ if $b$ } c \]`;
    expect(bits(source, "if")).toEqual({ inside: [], open: ["math", "display_math"], mirrored: [] });
    expect(bits(source, "b")).toEqual({
      inside: ["math", "inline_math"],
      open: ["display_math"],
      mirrored: [],
    });
    expect(bits(source, "c").inside).toEqual(["math", "display_math"]);
  });
});
