/** How well features can be read off models of different sizes. */
import { OptionError } from "../../errors.ts";
import type { FittedSweepRow, SweepRow } from "../../sweeps/sweep-row.ts";
import { isFitted } from "../../sweeps/sweep-row.ts";
import { metricDomain, metricScale } from "./metric-scale.ts";
import { pictureSpec, type JsonObject, type PictureSpec } from "./picture-spec.ts";
import { distinct, probePoints, spoken, type RowPictureOptions } from "./row-points.ts";

export interface ModelSizeOptions extends RowPictureOptions {
  /** Number of parameters by the name of the model. */
  readonly parameters: Readonly<Record<string, number>>;
}

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
  const chosenOn = split === "test" && validation.length > 0 ? validation : shown;
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
  const values = kinds.flatMap(({ name, pick }) => {
    const best = bestRows(
      chosenOn.filter(pick),
      shown,
      metricScale(metric).falls,
      (row) => row.metrics[metric]!,
    );
    return models.flatMap((model): JsonObject[] => {
      const own = best.filter((row) => row.model === model);
      if (own.length === 0) return [];
      const interval = own.length === 1 ? own[0].intervals[metric] : undefined;
      const value = own.reduce((sum, row) => sum + row.metrics[metric]!, 0) / own.length;
      return [
        {
          model,
          parameters: parameters[model],
          series: name,
          value,
          low: interval?.low ?? null,
          high: interval?.high ?? null,
          probes: own.length,
        },
      ];
    });
  });
  const names = kinds.map(({ name }) => name);
  const form = { field: "series", type: "nominal", title: null, scale: { domain: names } };
  const sizes = models.map((model) => parameters[model]);
  // A single size needs an axis too.
  const spread = Math.max(...sizes) > Math.min(...sizes) ? 1.25 : 2;
  const domain = metricDomain(
    metric,
    values.flatMap(({ value, low, high }) => [value, low, high] as (number | null)[]),
  );
  const top = [...values].filter(({ series }) => series === names[names.length - 1]);
  const intervals = values.some(({ low }) => low !== null);
  return pictureSpec({
    title: `${label} against model size`,
    subtitle: [
      rowsLine,
      probesLine,
      `layer and k chosen on ${chosenOn === validation ? "validation rows" : "the rows that are shown"}${intervals ? " · bars: 95 % intervals" : ""}`,
    ],
    description: `${label} of the best neuron and the best probe of ${models.length} models, against their number of parameters; ${rowsLine}; ${probesLine}. ${values
      .map(({ model, series, value }) => `${String(model)}, ${String(series)}: ${spoken(Number(value))}.`)
      .join(" ")}`,
    height: 280,
    values,
    encoding: {
      x: {
        field: "parameters",
        type: "quantitative",
        title: "parameters",
        scale: {
          type: "log",
          nice: false,
          domain: [Math.min(...sizes) / spread, Math.max(...sizes) * spread],
        },
        axis: {
          format: "~s",
          grid: false,
          labelExpr: "replace(datum.label, 'G', 'B')",
          values: ticks(sizes),
        },
      },
      color: form,
    },
    layer: [
      ...(intervals
        ? [
            {
              transform: [{ filter: "isValid(datum.low) && isValid(datum.high)" }],
              mark: { type: "rule", style: "interval" },
              encoding: { y: { field: "low", type: "quantitative" }, y2: { field: "high" } },
            },
          ]
        : []),
      {
        mark: { type: "line", style: "series" },
        encoding: {
          y: { field: "value", type: "quantitative", title: label, scale: { domain } },
          strokeDash: { ...form, legend: null },
        },
      },
      {
        mark: { type: "point", style: "series-point" },
        encoding: { y: { field: "value", type: "quantitative" }, shape: form },
      },
      {
        transform: [{ filter: { field: "series", equal: names[names.length - 1] } }],
        mark: { type: "text", style: "note", dy: -12 },
        encoding: {
          y: { field: "value", type: "quantitative" },
          text: { field: "model" },
          color: { value: null },
          opacity: { value: top.length > 8 ? 0 : 1 },
        },
      },
    ],
  });
}

/** For each model, feature and seed the best of `candidates`, as the row of `shown` with the same place and k. */
function bestRows(
  candidates: readonly FittedSweepRow[],
  shown: readonly FittedSweepRow[],
  falls: boolean,
  valueOf: (row: FittedSweepRow) => number,
): FittedSweepRow[] {
  const task = ({ model, dataset, feature, seed, rotation }: FittedSweepRow): string =>
    JSON.stringify([model, dataset, feature, seed, rotation]);
  const probe = (row: FittedSweepRow): string => JSON.stringify([task(row), row.hookPoint, row.k]);
  const there = new Map(shown.map((row) => [probe(row), row]));
  const best = new Map<string, FittedSweepRow>();
  const sign = falls ? -1 : 1;
  for (const row of candidates) {
    const before = best.get(task(row));
    if (there.has(probe(row)) && (!before || sign * valueOf(row) > sign * valueOf(before)))
      best.set(task(row), row);
  }
  return Array.from(best.values(), (row) => there.get(probe(row))!);
}

/** Powers of ten and their halves and fifths between the sizes. */
function ticks(sizes: readonly number[]): number[] {
  const [low, high] = [Math.min(...sizes) / 2, Math.max(...sizes) * 2];
  const all: number[] = [];
  for (let power = Math.floor(Math.log10(low)); power <= Math.log10(high); power++) {
    for (const step of high / low > 200 ? [1] : [1, 2, 5]) all.push(step * 10 ** power);
  }
  return all.filter((tick) => tick >= low && tick <= high);
}
