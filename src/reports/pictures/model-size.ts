/** How well features can be read off models of different sizes. */
import { OptionError } from "../../errors.ts";
import type { FittedSweepRow, SweepRow } from "../../sweeps/sweep-row.ts";
import { isFitted } from "../../sweeps/sweep-row.ts";
import type { MetricName } from "../../metrics/evaluate.ts";
import { metricScale } from "./metric-scale.ts";
import { pictureSpec, type JsonObject, type PictureSpec } from "./picture-spec.ts";
import { distinct, join, probePoints, spoken, type RowPictureOptions } from "./row-points.ts";
import { seriesLayers } from "./series-layers.ts";

export interface ModelSizeOptions extends RowPictureOptions {
  /** Number of parameters by the name of the model. */
  readonly parameters: Readonly<Record<string, number>>;
}

/** Pixels that the name of a model needs. */
const NAME = 84;

/**
 * The metric of each model's best single neuron and of its best probe, against the number of parameters, as a mean over features. What is
 * best in a model, layer and k, is chosen for each feature and seed on the validation rows where there are any, otherwise on the
 * rows that are shown, which flatters.
 *
 * @param rows of one site and method, and of several models
 * @throws EmptyDataError when no row has the metric
 * @throws OptionError when the metric is not known, the rows are of several sites or methods, or a model's size is missing
 */
export function modelSizePicture(rows: readonly SweepRow[], options: ModelSizeOptions): PictureSpec {
  const { split = "test", parameters } = options;
  const found = probePoints(rows, options, ["model", "dataset", "feature", "layer", "k"]);
  const { metric, label, rowsLine, probesLine } = found;
  const shown = found.points.flatMap((point) => point.rows);
  const validation = rows
    .filter(isFitted)
    .filter((row) => row.split === "validation" && row.metrics[metric] !== null);
  const known = new Set(validation.map(taskOf));
  const honest = split === "test" && shown.every((row) => known.has(taskOf(row)));
  const candidates = honest ? validation : shown;
  const models = distinct(shown.map(({ model }) => model));
  for (const model of models) {
    if (!(Object.hasOwn(parameters, model) && parameters[model] > 0)) {
      throw new OptionError(
        `The size of ${model} is not known.`,
        "Give its number of parameters: { parameters: { [model]: … } }.",
      );
    }
  }
  const largest = Math.max(...shown.map(({ k }) => k));
  const kinds = [
    { name: "best neuron (k = 1)", pick: (row: FittedSweepRow) => row.k === 1 },
    ...(largest > 1 ? [{ name: `best probe (k ≤ ${largest})`, pick: () => true }] : []),
  ];
  const points = kinds.flatMap(({ name, pick }) => {
    const best = bestRows(candidates.filter(pick), shown, metric);
    return models.flatMap((model) => {
      const own = best.filter((row) => row.model === model);
      if (own.length === 0) return [];
      const interval = own.length === 1 ? own[0].intervals[metric] : undefined;
      const value = own.reduce((sum, row) => sum + row.metrics[metric]!, 0) / own.length;
      return [{ model, series: name, value, low: interval?.low ?? null, high: interval?.high ?? null }];
    });
  });
  const { layer, intervals, fieldsOf, names } = seriesLayers(points, { metric, label, legend: null });
  const sizes = models.map((model) => parameters[model]);
  const domain = [Math.min(...sizes) / 1.5, Math.max(...sizes) * 1.5];
  const bySize = [...models].sort((a, b) => parameters[a] - parameters[b]);
  const placeOf = (model: string): JsonObject => {
    const rank = bySize.indexOf(model);
    const before = rank < 2 ? 0 : parameters[bySize[rank - 2]];
    // Of the axis, to the last name on the same side.
    const gap = before === 0 ? 1 : Math.log(parameters[model] / before) / Math.log(domain[1] / domain[0]);
    return { name: model, side: rank % 2, gap };
  };
  const nameLayer = (side: number, dy: number): JsonObject => ({
    transform: [{ filter: `datum.side === ${side}` }],
    mark: { type: "text", style: "note", dy },
    encoding: {
      y: { field: "value", type: "quantitative" },
      text: { field: "name" },
      opacity: { condition: { test: `datum.gap * width > ${NAME}`, value: 1 }, value: 0 },
    },
  });
  return pictureSpec({
    title: `${label} against model size`,
    subtitle: [
      rowsLine,
      probesLine,
      join(
        `layer and k chosen on ${honest ? "validation rows" : "the rows that are shown"}`,
        intervals && "bars: 95 % intervals",
      ),
    ],
    description: `${label} of the best neuron and the best probe of ${models.length} models, against their number of parameters; ${rowsLine}; ${probesLine}. ${points
      .map(({ model, series, value }) => `${model}, ${series}: ${spoken(value)}.`)
      .join(" ")}`,
    height: 280,
    values: points.map((point) => ({
      model: point.model,
      parameters: parameters[point.model],
      ...fieldsOf(point),
      ...(point.series === names.at(-1) && placeOf(point.model)),
    })),
    encoding: {
      x: {
        field: "parameters",
        type: "quantitative",
        title: "parameters",
        scale: { type: "log", nice: false, domain },
        axis: {
          format: "~s",
          grid: false,
          labelExpr: "replace(datum.label, 'G', 'B')",
          values: ticks(domain[0], domain[1]),
        },
      },
    },
    layer: [
      ...layer,
      // By turns above and below the line; names that would touch are left out.
      nameLayer(0, -13),
      nameLayer(1, 17),
    ],
  });
}

/** What a probe is chosen for: a feature of a model, under one seed. */
function taskOf({ model, dataset, feature, seed, rotation }: FittedSweepRow): string {
  return JSON.stringify([model, dataset, feature, seed, rotation]);
}

/** For each model, feature and seed the best of `candidates`, as the row of `shown` with the same place and k. */
function bestRows(
  candidates: readonly FittedSweepRow[],
  shown: readonly FittedSweepRow[],
  metric: MetricName,
): FittedSweepRow[] {
  const probeOf = (row: FittedSweepRow): string => JSON.stringify([taskOf(row), row.hookPoint, row.k]);
  const there = new Map(shown.map((row) => [probeOf(row), row]));
  const sign = metricScale(metric).falls ? -1 : 1;
  const best = new Map<string, FittedSweepRow>();
  for (const row of candidates) {
    if (!there.has(probeOf(row))) continue;
    const before = best.get(taskOf(row));
    if (!before || sign * row.metrics[metric]! > sign * before.metrics[metric]!) best.set(taskOf(row), row);
  }
  return Array.from(best.values(), (row) => there.get(probeOf(row))!);
}

/** Powers of ten with their doubles and halves, fewer over many powers. */
function ticks(low: number, high: number): number[] {
  const steps = high / low > 2000 ? [1] : [1, 2, 5];
  const all: number[] = [];
  for (let power = Math.floor(Math.log10(low)); power <= Math.log10(high); power++) {
    for (const step of steps) all.push(step * 10 ** power);
  }
  return all.filter((tick) => tick >= low && tick <= high);
}
