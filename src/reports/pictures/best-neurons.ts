/** The best single neuron of every layer. */
import type { SweepRow } from "../../sweeps/sweep-row.ts";
import { OptionError } from "../../errors.ts";
import { pictureSpec, type PictureSpec } from "./picture-spec.ts";
import {
  bestPoint,
  distinct,
  join,
  probePoints,
  spoken,
  type ProbePoint,
  type RowPictureOptions,
} from "./row-points.ts";
import { MOST_SERIES, seriesLayers } from "./series-layers.ts";

/**
 * The metric of each layer's best single neuron, that of its probe with k = 1; each feature has a line. The neurons' numbers stand
 * beside the points of a single feature.
 *
 * @param rows of one model, site and method, and of at most 10 features; rows with other k are left out; of several seeds the mean is shown
 * @throws EmptyDataError when no row with k = 1 has the metric
 * @throws OptionError when the metric is not known, the rows are of several models, sites or methods, or there are too many features
 */
export function bestNeuronPicture(rows: readonly SweepRow[], options: RowPictureOptions = {}): PictureSpec {
  const found = probePoints(
    rows.filter(({ k }) => k === 1),
    options,
    ["dataset", "feature", "layer"],
  );
  const { points, metric, label, rowsLine, probesLine } = found;
  const nameOf = featureNames(points);
  const series = distinct(points.map(nameOf));
  if (series.length > MOST_SERIES) {
    throw new OptionError(
      `The rows hold ${series.length} features.`,
      `A picture tells ${MOST_SERIES} apart: filter the rows first.`,
    );
  }
  const layers = distinct(points.map(({ layer }) => layer));
  const one = series.length === 1;
  const named = points.map((point) => ({ ...point, series: nameOf(point) }));
  const { layer, apart, intervals, fieldsOf } = seriesLayers(named, { metric, label, legend: "feature" });
  const best = series.map((name) =>
    bestPoint({ metric, points: points.filter((point) => nameOf(point) === name) }),
  );
  return pictureSpec({
    title: `${label} of the best neuron of each layer`,
    subtitle: [rowsLine, join(probesLine, one && "N: neuron", intervals && "bars: 95 % intervals")],
    description: `${label} of each layer's best single neuron; ${rowsLine}; ${probesLine}. ${best
      .map(
        (point, i) =>
          `${series[i]}: best in layer ${point.layer}, ${neuronOf(point) ?? "neurons that differ"}, ${spoken(point.value)}.`,
      )
      .join(" ")}`,
    height: 260,
    values: named.map((point) => ({ layer: point.layer, ...fieldsOf(point), neuron: neuronOf(point) ?? "" })),
    encoding: {
      x: {
        field: "layer",
        type: "ordinal",
        scale: { domain: layers, type: "band" },
        title: "layer",
        axis: { labelAngle: 0, labelOverlap: true, grid: false },
      },
      ...apart,
    },
    layer: [
      ...layer,
      ...(one
        ? [
            {
              mark: {
                type: "text",
                style: "label",
                align: "left",
                dx: 7,
                dy: 12,
                opacity: { expr: `width < ${50 * layers.length} ? 0 : 1` },
              },
              encoding: {
                y: { field: "value", type: "quantitative" },
                text: { field: "neuron" },
              },
            },
          ]
        : []),
    ],
  });
}

/** The dataset is named where several share a feature's name. */
function featureNames(points: readonly ProbePoint[]): (point: ProbePoint) => string {
  const datasets = new Map<string, Set<string>>();
  for (const { dataset, feature } of points) {
    const known = datasets.get(feature);
    if (known) known.add(dataset);
    else datasets.set(feature, new Set([dataset]));
  }
  return ({ dataset, feature }) => (datasets.get(feature)!.size > 1 ? `${feature} (${dataset})` : feature);
}

/** The neuron that all probes behind a point read; null when they differ. */
function neuronOf({ rows }: ProbePoint): string | null {
  const neurons = new Set(rows.map(({ support }) => support[0]));
  return neurons.size === 1 && rows[0].support.length === 1 && rows[0].rotation === null
    ? `N${rows[0].support[0]}`
    : null;
}
