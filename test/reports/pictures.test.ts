/** What pictures show: compiled and laid out by vega, the marks stand where the data says. */
import { describe, expect, it } from "vitest";
import { parse, View, type Item, type Scene } from "vega";
import { compile, type TopLevelSpec } from "vega-lite";
import {
  ablationPicture,
  bestNeuronPicture,
  classHistogramPicture,
  layerWeightsPicture,
  metricByKPicture,
  metricHeatMap,
  modelSizePicture,
  neuronStripsPicture,
  pictureConfig,
  selectionPicture,
  type PictureSpec,
} from "../../src/reports.ts";
import {
  ablation,
  comparison,
  evidence,
  KS,
  PICTURES,
  SIZES,
  sizeRows,
  strips,
  sweepRow,
  sweepRows,
  weights,
} from "./picture-data.ts";

type Datum = Readonly<Record<string, string | number | boolean | null>>;

interface Mark {
  readonly type: string;
  readonly datum: Datum;
  readonly x: number;
  readonly y: number;
  readonly x2: number | undefined;
  readonly y2: number | undefined;
  readonly width: number;
  readonly height: number;
  readonly text: unknown;
  readonly fill: unknown;
  readonly stroke: unknown;
  readonly opacity: number | undefined;
}

interface LaidOut {
  readonly marks: readonly Mark[];
  readonly warnings: readonly string[];
}

/** Compiles and lays out; collects what vega and Vega-Lite complain about. */
async function layOut(spec: PictureSpec, width = spec.width): Promise<LaidOut> {
  const warnings: string[] = [];
  const logger = {
    level: () => logger,
    error: (...args: unknown[]) => (warnings.push(args.join(" ")), logger),
    warn: (...args: unknown[]) => (warnings.push(args.join(" ")), logger),
    info: () => logger,
    debug: () => logger,
  };
  // Vega marks the rows that it is given.
  const lite = { ...structuredClone(spec), width, config: pictureConfig("light") } as unknown as TopLevelSpec;
  const compiled = compile(lite, { logger }).spec;
  const view = new View(parse(compiled), { renderer: "none", logger });
  await view.runAsync();
  const marks: Mark[] = [];
  const visit = (scene: Scene | Item, role = ""): void => {
    const {
      marktype,
      items,
      role: own,
    } = scene as unknown as {
      marktype?: string;
      items?: (Scene | Item)[];
      role?: string;
    };
    for (const item of items ?? []) {
      const within = own ?? role;
      if (marktype !== undefined && marktype !== "group" && within === "mark") {
        marks.push({ ...(item as unknown as Mark), type: marktype, ...pick(item) });
      }
      if (!/legend|axis|title/.test(within)) visit(item, within);
    }
  };
  visit((view.scenegraph() as unknown as { root: Scene }).root);
  view.finalize();
  return { marks, warnings };
}

function pick(item: unknown): Omit<Mark, "type"> {
  const { datum, x, y, x2, y2, width, height, text, fill, stroke, opacity } = item as Mark;
  return { datum, x, y, x2, y2, width, height, text, fill, stroke, opacity };
}

const of = ({ marks }: LaidOut, type: string): Mark[] => marks.filter((mark) => mark.type === type);

describe.each(Object.entries(PICTURES))("%s", (_, spec) => {
  it("compiles without warnings, at the widths of a page and of a phone", async () => {
    for (const width of [640, 260]) {
      const { warnings, marks } = await layOut(spec, width);
      expect(warnings).toEqual([]);
      expect(marks.length).toBeGreaterThan(0);
    }
  });

  it("is plain JSON that says what it shows", () => {
    expect(JSON.parse(JSON.stringify(spec))).toEqual(spec);
    expect(JSON.stringify(spec)).not.toMatch(/NaN|undefined/);
    expect(spec.title.text).not.toBe("");
    expect(spec.title.subtitle.length).toBeGreaterThan(0);
    expect(spec.description).toMatch(/\d/);
  });

  it("takes its colours from the scheme alone", () => {
    expect(JSON.stringify(spec)).not.toMatch(/#[0-9a-f]{3,8}"/i);
  });
});

describe("a metric against k", () => {
  it("says which layer it is where there is no legend", () => {
    const one = metricByKPicture(sweepRows().filter(({ layer }) => layer === 1));
    expect(JSON.stringify(one.title)).toMatch(/"F1 against k".*layer 1\b/);
    expect(JSON.stringify(metricByKPicture(sweepRows()).title)).toMatch(/"F1 against k, by layer"/);
  });

  it("puts every row where its metric is, with its interval, in the part of the axis that the metric has", async () => {
    const rows = sweepRows();
    const spec = metricByKPicture(rows);
    const laid = await layOut(spec);
    const points = of(laid, "symbol");
    expect(points).toHaveLength(rows.length);
    for (const row of rows) {
      const { f1 } = row.metrics!;
      const point = points.find(({ datum }) => datum["k"] === row.k && datum["series"] === row.layer)!;
      // The axis runs from 0 to 1.
      expect(point.y).toBeCloseTo(spec.height * (1 - f1!), 9);
      const line = of(laid, "line").find(
        ({ datum }) => datum["k"] === row.k && datum["series"] === row.layer,
      )!;
      expect([line.x, line.y]).toEqual([point.x, point.y]);
      const rule = of(laid, "rule").find(
        ({ datum }) => datum["k"] === row.k && datum["series"] === row.layer,
      )!;
      expect([rule.y, rule.y2].sort((a, b) => a! - b!)).toEqual([
        expect.closeTo(spec.height * (1 - row.intervals.f1!.high), 9),
        expect.closeTo(spec.height * (1 - row.intervals.f1!.low), 9),
      ]);
    }
    // Larger k lie further right, and the lines of a k stand side by side.
    const xs = KS.flatMap((k) =>
      [0, 1, 2].map((layer) => points.find(({ datum }) => datum["k"] === k && datum["series"] === layer)!.x),
    );
    expect(xs).toEqual([...xs].sort((a, b) => a - b));
    expect(new Set(xs).size).toBe(xs.length);
  });

  it("shows means over features and seeds, without intervals, and says so", async () => {
    const rows = [sweepRow(0.2), sweepRow(0.4, { seed: 1 }), sweepRow(0.9, { feature: "de" })];
    const spec = metricByKPicture(rows);
    const [point] = of(await layOut(spec), "symbol");
    expect(point.y).toBeCloseTo(spec.height * 0.5, 9);
    expect(spec.data.values[0]["low"]).toBeNull();
    expect(spec.title.subtitle[0]).toBe(
      "2 features (natural-language) · test rows · mean over features and 2 seeds",
    );
  });

  it("counts probes that are missing", () => {
    const failed = sweepRow(null, { status: "failed", reason: "no rows", metrics: null, k: 2 });
    const spec = metricByKPicture([sweepRow(0.5), failed, sweepRow(null, { k: 4 })]);
    expect(spec.title.subtitle[0]).toContain("2 probes missing");
    expect(spec.data.values).toHaveLength(1);
  });

  it("makes room for a metric that falls below 0 or has no largest value", async () => {
    const rows = [sweepRow(-0.5), sweepRow(0.5, { k: 2 })];
    const mcc = of(await layOut(metricByKPicture(rows, { metric: "mcc" })), "symbol");
    expect(mcc.map(({ y }) => y / 280)).toEqual([expect.closeTo(1, 9), expect.closeTo(1 / 3, 9)]);
    const loss = of(await layOut(metricByKPicture(rows, { metric: "logLoss" })), "symbol");
    expect(loss.map(({ y }) => y / 280)).toEqual([expect.closeTo(0, 9), expect.closeTo(0.5, 9)]);
  });

  it("refuses rows that it cannot tell apart, unknown metrics and nothing", () => {
    expect(() => metricByKPicture([])).toThrow(expect.objectContaining({ code: "empty-data" }));
    expect(() => metricByKPicture([sweepRow(null)])).toThrow(/None of 1 rows/);
    expect(() => metricByKPicture([sweepRow(0.5)], { split: "validation" })).toThrow(/validation part/);
    expect(() => metricByKPicture([sweepRow(0.5)], { metric: "f3" as never })).toThrow(/not known/);
    const others = [
      { model: "b" },
      { method: "random" },
      { hookPoint: "blocks.0.hook_resid_post" },
      { rotation: 1 },
    ];
    for (const other of others) {
      expect(() => metricByKPicture([sweepRow(0.5), sweepRow(0.5, other as never)])).toThrow(
        expect.objectContaining({ code: "option" }),
      );
    }
  });
});

describe("a heat map", () => {
  it("has a cell for each layer and k, darker for larger values, with its number, and a frame around the best", async () => {
    const rows = sweepRows();
    const laid = await layOut(metricHeatMap(rows));
    const cells = of(laid, "rect");
    expect(cells).toHaveLength(rows.length + 1);
    const best = cells.at(-1)!;
    expect([best.datum["layer"], best.datum["k"]]).toEqual([2, 16]);
    const lightness = cells
      .slice(0, -1)
      .sort((a, b) => Number(a.datum["value"]) - Number(b.datum["value"]))
      .map(({ fill }) => luminance(String(fill)));
    expect(lightness).toEqual([...lightness].sort((a, b) => b - a));
    const texts = of(laid, "text");
    expect(texts.map(({ text }) => text).sort()).toEqual(
      rows.map(({ metrics }) => metrics!.f1!.toFixed(2)).sort(),
    );
    // Numbers lie in the middle of their cells.
    for (const text of texts) {
      const cell = cells.find(
        ({ datum }) => datum["layer"] === text.datum["layer"] && datum["k"] === text.datum["k"],
      )!;
      expect(text.x).toBeCloseTo(cell.x + cell.width / 2, 1);
      expect(text.y).toBeCloseTo(cell.y + cell.height / 2, 1);
    }
  });

  it("leaves out numbers that would touch", async () => {
    const texts = of(await layOut(metricHeatMap(sweepRows()), 100), "text");
    expect(texts.map(({ opacity }) => opacity)).toEqual(texts.map(() => 0));
  });

  it("shows the least loss as the best, darkest", async () => {
    const cells = of(await layOut(metricHeatMap(sweepRows(), { metric: "logLoss" })), "rect");
    expect([cells.at(-1)!.datum["layer"], cells.at(-1)!.datum["k"]]).toEqual([2, 16]);
    const at = (k: number): number =>
      luminance(String(cells.find(({ datum }) => datum["k"] === k && datum["layer"] === 2)!.fill));
    expect(at(16)).toBeLessThan(at(1));
  });
});

describe("the best neuron of each layer", () => {
  it("takes the probes with k = 1 and names their neurons", async () => {
    const spec = bestNeuronPicture(sweepRows());
    const laid = await layOut(spec);
    expect(of(laid, "symbol").map(({ y }) => y)).toEqual(
      [0.4, 0.45, 0.5].map((f1) => expect.closeTo(spec.height * (1 - f1), 9) as number),
    );
    expect(of(laid, "text").map(({ text }) => text)).toEqual(["N609", "N610", "N611"]);
    expect(spec.description).toContain("best in layer 2, N611, 0.5");
  });

  it("tells features of one name apart by their dataset, and refuses too many", () => {
    const spec = bestNeuronPicture([sweepRow(0.5), sweepRow(0.6, { dataset: "other" })]);
    expect(spec.data.values.map(({ series }) => series)).toEqual(["fr (natural-language)", "fr (other)"]);
    const many = Array.from({ length: 11 }, (_, i) => sweepRow(0.5, { feature: `f${i}` }));
    expect(() => bestNeuronPicture(many)).toThrow(/11 features/);
  });

  it("does not name a neuron where seeds disagree, or on rotated activations", () => {
    const differ = bestNeuronPicture([sweepRow(0.5), sweepRow(0.5, { seed: 1, support: [7] })]);
    expect(differ.data.values[0]["neuron"]).toBe("");
    expect(bestNeuronPicture([sweepRow(0.5, { rotation: 0 })]).data.values[0]["neuron"]).toBe("");
  });
});

describe("ways of choosing neurons", () => {
  it("has a line for each method, with its time", async () => {
    const spec = selectionPicture(comparison);
    expect([...new Set(spec.data.values.map(({ series }) => series))]).toEqual([
      "mean-difference (0.012 s)",
      "random (< 0.01 s)",
    ]);
    expect(spec.title.subtitle[0]).toBe("fr · 1,234 test rows");
    expect(of(await layOut(spec), "symbol").map(({ y }) => 1 - y / spec.height)).toEqual(
      [0.7, 0.8, 0.4, 0.5].map((f1) => expect.closeTo(f1, 9) as number),
    );
    expect(() => selectionPicture(comparison, { metric: "mcc" })).toThrow(/mcc/);
  });

  it("adds up the time of a method's rows, and knows rotations", () => {
    const spec = selectionPicture([...sweepRows(1), ...sweepRows(1, { rotation: 3 })]);
    expect([...new Set(spec.data.values.map(({ series }) => series))]).toEqual([
      "mean-difference (1.0 s)",
      "mean-difference, rotated (1.0 s)",
    ]);
    expect(() => selectionPicture(sweepRows(2))).toThrow(/several values of layer/);
  });
});

describe("histograms of classes", () => {
  it("outline the share of each class's rows in each bin", async () => {
    const spec = classHistogramPicture(evidence, { scale: "linear" });
    const outline = of(await layOut(spec), "line");
    for (const { label, counts, rows } of evidence.classes) {
      const own = outline.filter(({ datum }) => String(datum["series"]).startsWith(`${String(label)}:`));
      // Up from the axis, a step for each bin, and down.
      expect(own.map(({ datum }) => datum["share"])).toEqual([0, ...counts.map((count) => count / rows), 0]);
      expect(own.map(({ datum }) => datum["activation"])).toEqual([-0.5, -0.5, 0, 0.5, 1, 1.5]);
      expect(own[0].y).toBeCloseTo(spec.height, 9);
      const [low, high] = [own[0].x, own.at(-1)!.x];
      expect([low, high]).toEqual([expect.closeTo(0, 9), expect.closeTo(spec.width, 9)]);
    }
  });

  it("set one class against all others, on a scale that shows rare rows", async () => {
    const spec = classHistogramPicture(evidence, { positive: "fr" });
    const laid = await layOut(spec);
    const outline = of(laid, "line");
    const others = outline.filter(({ datum }) => String(datum["series"]).startsWith("others"));
    // 150, 40 and 10 of 200 rows; the empty bin lies on the floor, one power of ten below the rarest.
    const shares = [0.75, 0.2, 0.05];
    for (const [b, share] of shares.entries()) {
      expect(others[b + 1].y).toBeCloseTo((spec.height * -Math.log10(share)) / 2, 6);
    }
    expect(others[4].y).toBeCloseTo(spec.height, 6);
    expect(new Set(of(laid, "area").map(({ datum }) => datum["series"])).size).toBe(2);
  });

  it("refuse what is not there", () => {
    expect(() => classHistogramPicture(evidence, { positive: "it" })).toThrow(/no rows/);
    expect(() => classHistogramPicture({ ...evidence, classes: [] })).toThrow(
      expect.objectContaining({ code: "empty-data" }),
    );
    const unlabelled = { ...evidence, classes: [{ ...evidence.classes[0], label: null }] };
    expect(() => classHistogramPicture(unlabelled)).toThrow(expect.objectContaining({ code: "empty-data" }));
    const many = Array.from({ length: 11 }, (_, i) => ({ ...evidence.classes[0], label: `c${i}` }));
    expect(() => classHistogramPicture({ ...evidence, classes: many })).toThrow(/11 classes/);
  });

  it("draw a neuron that never changes", async () => {
    const constant = { ...evidence, bins: { start: 0.25, width: 0, count: 4 } };
    expect((await layOut(classHistogramPicture(constant))).warnings).toEqual([]);
  });
});

describe("weights by layer", () => {
  it("draws quantiles of each layer and marks neurons", async () => {
    const spec = layerWeightsPicture(weights, { neurons: [{ layer: 1, neuron: 2 }] });
    const laid = await layOut(spec);
    const boxes = of(laid, "rect").filter(({ height }) => height > 5);
    const median = of(laid, "rect").filter(({ height }) => height <= 5);
    const bars = of(laid, "rule").filter(({ datum }) => typeof datum["q05"] === "number");
    expect([boxes.length, median.length]).toEqual([2, 2]);
    // q25 and q75 are 2 apart, and q05 and q95 5.5 + layer: one unit is as many pixels in all marks.
    const unit = boxes[0].height / 2;
    for (const layer of [0, 1]) {
      const bar = bars.find(({ datum }) => datum["layer"] === layer)!;
      expect(Math.abs(bar.y2! - bar.y)).toBeCloseTo((5.5 + layer) * unit, 6);
      expect(median[layer].y + median[layer].height / 2 - boxes[layer].y).toBeCloseTo(
        (1 + 0.1 * layer) * unit,
        6,
      );
    }
    const text = of(laid, "text");
    expect(text.map((mark) => mark.text)).toEqual(["N2"]);
    expect(text[0].y - boxes[1].y).toBeCloseTo(2 * unit, 6);
  });

  it("refuses statistics that a model does not have", () => {
    expect(() => layerWeightsPicture(weights, { statistic: "gateCosine" })).toThrow(
      expect.objectContaining({ code: "empty-data" }),
    );
    expect(() => layerWeightsPicture(weights, { form: "stored" })).toThrow(/No layer/);
    expect(() => layerWeightsPicture(weights, { statistic: "colour" as never })).toThrow(/not known/);
    for (const neuron of [7, 8]) {
      expect(() => layerWeightsPicture(weights, { neurons: [{ layer: 0, neuron }] })).toThrow(/Neuron/);
    }
  });
});

describe("model size", () => {
  it("shows each model's best neuron and best probe on a logarithmic axis", async () => {
    const spec = modelSizePicture(sizeRows, { parameters: SIZES });
    const points = of(await layOut(spec), "symbol");
    // Layer 1 is best; k = 16 adds 0.24.
    expect(points.map(({ y }) => 1 - y / spec.height)).toEqual(
      [0.45, 0.5, 0.55, 0.69, 0.74, 0.79].map((f1) => expect.closeTo(f1, 9) as number),
    );
    const [low, high] = [7e7 / 1.5, 2.8e9 * 1.5];
    expect(points.slice(0, 3).map(({ x }) => x / spec.width)).toEqual(
      Object.values(SIZES).map(
        (size) => expect.closeTo(Math.log(size / low) / Math.log(high / low), 9) as number,
      ),
    );
    expect(spec.title.subtitle[2]).toContain("chosen on the rows that are shown");
  });

  it("chooses on validation rows where there are any", () => {
    const test = [sweepRow(0.9, { layer: 0 }), sweepRow(0.6, { layer: 1 })];
    const validation = [
      sweepRow(0.5, { layer: 0, split: "validation" }),
      sweepRow(0.7, { layer: 1, split: "validation" }),
    ];
    const spec = modelSizePicture([...test, ...validation], { parameters: { "haystack-4m": 4e6 } });
    expect(spec.data.values.map(({ value }) => value)).toEqual([0.6]);
    expect(spec.title.subtitle[2]).toContain("chosen on validation rows");
  });

  it("needs the size of every model", () => {
    expect(() => modelSizePicture(sizeRows, { parameters: { "pythia-70m": 7e7 } })).toThrow(/pythia-410m/);
    expect(() => modelSizePicture([sweepRow(0.5, { model: "constructor" })], { parameters: {} })).toThrow(
      /constructor/,
    );
  });
});

describe("the effect of an ablation", () => {
  it("orders classes by their effect, all texts last, with intervals and controls", async () => {
    const spec = ablationPicture(ablation);
    const laid = await layOut(spec);
    const points = of(laid, "symbol");
    expect(points.map(({ datum }) => datum["name"])).toEqual(["fr", "de", "nl", "all texts"]);
    expect(points.map(({ y }) => y)).toEqual([...points.map(({ y }) => y)].sort((a, b) => a - b));
    // Effects of 0.2 and −0.01 say where everything else has to be.
    const unit = (points[0].x - points[2].x) / 0.21;
    const zero = points[0].x - 0.2 * unit;
    const at = (value: number): number => expect.closeTo(zero + value * unit, 6) as number;
    expect(points.map(({ x }) => x)).toEqual([0.2, 0.01, -0.01, 0.05].map(at));
    const rules = of(laid, "rule").filter(({ datum }) => datum["kind"] === "ablation");
    expect(rules.map(({ x, x2 }) => [x, x2])).toEqual(
      [0.2, 0.01, -0.01, 0.05].map((e) => [at(e - 0.02), at(e + 0.02)]),
    );
    const ticks = of(laid, "rect").filter(({ datum }) => datum["kind"] === "random neurons");
    expect(ticks).toHaveLength(12);
    const french = ticks.filter(({ datum }) => datum["name"] === "fr").map(({ x, width }) => x + width / 2);
    expect(french).toEqual([0, 0.003, 0.006, 0.009].map(at));
    expect(of(laid, "text").map(({ text }) => text)).toEqual([
      "+0.20 · p 0.048",
      "+0.010 · p 0.048",
      "−0.010 · p 0.048",
      "+0.050 · p 0.048",
    ]);
    expect(spec.title.subtitle.join(" ")).toContain("90 % intervals over 240 groups");
  });

  it("needs an effect", () => {
    const none = { ...ablation.overall, effect: { ...ablation.overall.effect, estimate: null } };
    expect(() => ablationPicture({ ...ablation, classes: [], overall: none })).toThrow(
      expect.objectContaining({ code: "empty-data" }),
    );
  });
});

describe("strips of activations", () => {
  it("run from each neuron's least to its largest activation, with rows that have the feature above", async () => {
    const spec = neuronStripsPicture(strips);
    const laid = await layOut(spec);
    const lines = of(laid, "rule").map(({ y }) => y);
    for (const [s, strip] of strips.entries()) {
      const own = of(laid, "symbol").filter(({ y }) => Math.abs(y - lines[s]) < 10);
      expect(own.map(({ datum }) => datum["activation"]).sort()).toEqual([...strip.activations].sort());
      const low = Math.min(...strip.activations);
      const range = Math.max(...strip.activations) - low;
      for (const { datum, x, y } of own) {
        const activation = Number(datum["activation"]);
        expect(x).toBeCloseTo(8 + ((activation - low) / range) * (spec.width - 16), 6);
        expect(strip.positive[strip.activations.indexOf(activation)]).toBe(y < lines[s]);
      }
    }
    expect(of(laid, "text").map(({ text }) => text)).toEqual([
      "natural-language",
      "de",
      "fr",
      "L3 N100",
      "L4 N101",
      "0.90",
      "0.80",
    ]);
  });

  it("refuse what does not fit", () => {
    expect(() => neuronStripsPicture([])).toThrow(expect.objectContaining({ code: "empty-data" }));
    expect(() => neuronStripsPicture([{ ...strips[0], positive: [] }])).toThrow(
      expect.objectContaining({ code: "shape" }),
    );
    expect(() => neuronStripsPicture([{ ...strips[0], activations: [], positive: [] }])).toThrow(
      /no activations/,
    );
  });
});

/** Relative luminance of `rgb(r, g, b)`, which is what grey print shows. */
function luminance(colour: string): number {
  const [r, g, b] = Array.from(colour.matchAll(/\d+/g), ([part]) => Number(part));
  return 0.2126 * r + 0.7152 * g + 0.0722 * b;
}
