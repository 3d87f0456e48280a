/** Made-up results to draw: what a picture must show is known. */
import { METRIC_NAMES } from "../../src/metrics/evaluate.ts";
import { Random } from "../../src/random.ts";
import type { AblationEffect, AblationRow } from "../../src/interventions/ablation-effect.ts";
import type { NeuronEvidence } from "../../src/evidence/collect-evidence.ts";
import type { LayerWeightStatistics } from "../../src/evidence/read-weight-statistics.ts";
import type { SelectionComparison } from "../../src/statistics/selection-comparison.ts";
import type { SweepRow } from "../../src/sweeps/sweep-row.ts";
import {
  ablationPicture,
  bestNeuronPicture,
  classHistogramPicture,
  layerWeightsPicture,
  metricByKPicture,
  metricHeatMap,
  modelSizePicture,
  neuronStripsPicture,
  selectionPicture,
  type PictureSpec,
} from "../../src/reports.ts";

export const KS = [1, 2, 4, 16];

/** One probe; its F1 is `f1`. */
export function sweepRow(f1: number | null, more: Partial<SweepRow> = {}): SweepRow {
  const { layer = 0, k = 1 } = more;
  return {
    model: "haystack-4m",
    revision: null,
    dataset: "natural-language",
    category: "natural-language",
    feature: "fr",
    aggregation: "token",
    hookPoint: `blocks.${layer!}.mlp.hook_post`,
    layer,
    method: "mean-difference",
    rotation: null,
    k,
    seed: 0,
    split: "test",
    status: "ok",
    reason: null,
    train: { positives: 100, negatives: 400 },
    scored: { positives: 40, negatives: 160 },
    metrics: Object.fromEntries(
      METRIC_NAMES.map((name) => [name, f1 !== null && name === "logLoss" ? 1.5 - f1 : f1]),
    ) as SweepRow["metrics"],
    intervals: f1 === null ? {} : { f1: { low: f1 - 0.05, high: f1 + 0.04 } },
    support: Array.from({ length: k! }, (_, i) => 609 + layer! + i),
    coefficients: new Array<number>(k!).fill(1),
    intercept: 0,
    converged: true,
    separated: false,
    iterations: 5,
    seconds: 0.25,
    ...more,
  };
}

/** Every layer and k, with an F1 of its own. */
export function sweepRows(layers = 3, more: Partial<SweepRow> = {}, ks = KS): SweepRow[] {
  return Array.from({ length: layers }, (_, layer) =>
    ks.map((k) => sweepRow(0.4 + 0.05 * layer + 0.06 * Math.log2(k), { layer, k, ...more })),
  ).flat();
}

const random = new Random(5);
const draw = (count: number, of: () => number): number[] => Array.from({ length: count }, of);

export const evidence: NeuronEvidence = {
  hookPoint: "blocks.3.mlp.hook_post",
  layer: 3,
  neuron: 609,
  top: [],
  bottom: [],
  bins: { start: -0.5, width: 0.5, count: 4 },
  classes: (
    [
      ["de", [90, 10, 0, 0]],
      ["en", [60, 30, 10, 0]],
      ["fr", [5, 5, 20, 20]],
    ] as const
  ).map(([label, counts]) => ({
    label,
    rows: counts.reduce((a: number, b) => a + b, 0),
    mean: 0.5,
    deviation: 0.3,
    least: -0.4,
    largest: 1.4,
    quantiles: [],
    counts,
  })),
  disambiguation: [],
};

const interval = (estimate: number, width = 0.02) => ({
  estimate,
  low: estimate - width,
  high: estimate + width,
  standardError: width / 2,
  undefinedResamples: 0,
});

const ablationRow = (name: string | null, estimate: number): AblationRow => ({
  class: name,
  texts: 40,
  tokens: 4000,
  before: 3,
  after: 3 + estimate,
  effect: interval(estimate),
  contrast: null,
  logits: [],
  controls: { effect: { mean: 0.002, deviation: 0.003, pValue: 0.048 }, contrast: null },
});

export const ablation: AblationEffect = {
  hookPoint: "blocks.3.mlp.hook_post",
  neurons: [609],
  how: "mean",
  values: [0.1],
  resamples: 1000,
  level: 0.9,
  seed: 0,
  unit: "group",
  units: 240,
  overall: ablationRow(null, 0.05),
  classes: [ablationRow("de", 0.01), ablationRow("fr", 0.2), ablationRow("nl", -0.01)],
  draws: draw(4, () => 0).map((_, i) => ({
    neurons: [i],
    scaleRatios: [1],
    effect: 0.001 * i,
    classes: [0.002 * i, 0.003 * i, null],
  })),
};

const summary = (layer: number) => ({
  neurons: 8,
  mean: -1,
  least: -6 - layer,
  q05: -5 - layer,
  q25: -4,
  median: -3 - 0.1 * layer,
  q75: -2,
  q95: 0.5,
  largest: 2,
});

export const weights = [0, 1].map((layer) => ({
  layer,
  summary: { folded: { "input.normTimesBias": summary(layer) }, stored: {} },
  folded: { input: { normTimesBias: [-6, -5, -4, -3, -2, 0, 1, null] }, gate: null },
})) as unknown as LayerWeightStatistics[];

export const comparison: SelectionComparison = {
  feature: "fr",
  ks: [1, 2],
  rows: ["mean-difference", "random"].flatMap((method, m) =>
    [1, 2].map((k) => ({
      method,
      k,
      support: [3],
      objective: 1,
      converged: true,
      separated: false,
      metrics: { f1: interval(0.6 + 0.1 * k - 0.3 * m) },
      overlap: null,
    })),
  ),
  methods: [
    { method: "mean-difference", seconds: 0.012, failures: [] },
    { method: "random", seconds: 0.0001, failures: [] },
  ],
  fitSeconds: 1,
  split: { train: [0, 1, 2], test: draw(1234, () => 0) },
  seed: 0,
};

export const strips = ["de", "fr"].map((feature, i) => ({
  group: "natural-language",
  feature,
  layer: 3 + i,
  neuron: 100 + i,
  f1: 0.9 - 0.1 * i,
  activations: draw(30, () => random.uniform()),
  positive: draw(30, () => random.uniform()).map((u) => u < 0.2),
}));

export const SIZES = { "pythia-70m": 7e7, "pythia-410m": 4.1e8, "pythia-2.8b": 2.8e9 };

/** Rows of three models; the larger the better. */
export const sizeRows = Object.keys(SIZES).flatMap((model, m) =>
  sweepRows(2, { model }).map((row) => ({
    ...row,
    metrics: { ...row.metrics!, f1: row.metrics!.f1! + 0.05 * m },
    intervals: {},
  })),
);

/** One of every kind. */
export const PICTURES: Readonly<Record<string, PictureSpec>> = {
  "metric by k": metricByKPicture(sweepRows()),
  "metric by k, one layer": metricByKPicture(sweepRows(1)),
  "metric by k, one probe": metricByKPicture([sweepRow(0.5)]),
  "metric by k, many layers": metricByKPicture(sweepRows(24)),
  "heat map": metricHeatMap(sweepRows()),
  "heat map of a loss": metricHeatMap(sweepRows(40), { metric: "logLoss" }),
  "best neurons": bestNeuronPicture(sweepRows()),
  "best neurons of features": bestNeuronPicture([...sweepRows(), ...sweepRows(3, { feature: "de" })]),
  "selections of a comparison": selectionPicture(comparison, { rowsOf: "haystack-4m" }),
  "selections of rows": selectionPicture([
    ...sweepRows(1),
    ...sweepRows(1, { method: "random" }),
    ...sweepRows(1, { rotation: 3 }),
  ]),
  histograms: classHistogramPicture(evidence),
  "histograms of two": classHistogramPicture(evidence, { positive: "fr", rowsOf: "haystack-4m" }),
  "linear histograms": classHistogramPicture(evidence, { scale: "linear" }),
  weights: layerWeightsPicture(weights, { model: "haystack-4m", neurons: [{ layer: 1, neuron: 2 }] }),
  "model size": modelSizePicture(sizeRows, { parameters: SIZES }),
  ablation: ablationPicture(ablation, { rowsOf: "natural-language" }),
  strips: neuronStripsPicture(strips, { rows: "held-out texts" }),
};
