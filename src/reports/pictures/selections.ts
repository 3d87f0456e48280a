/** Ways of choosing neurons side by side. */
import { EmptyDataError } from "../../errors.ts";
import type { MetricName } from "../../metrics/evaluate.ts";
import type { SelectionComparison } from "../../statistics/selection-comparison.ts";
import type { SweepRow } from "../../sweeps/sweep-row.ts";
import { linesByK, type KPoint } from "./lines-by-k.ts";
import { metricScale } from "./metric-scale.ts";
import { pictureSpec, type PictureSpec } from "./picture-spec.ts";
import { distinct, join, probePoints, spoken, type RowPictureOptions } from "./row-points.ts";

export interface SelectionPictureOptions extends RowPictureOptions {
  /** What the rows of a comparison are, for the subtitle: model, hook point, dataset. Rows of a sweep say so themselves. */
  readonly rowsOf?: string | undefined;
}

/**
 * A metric against k, one line for each way of choosing neurons, with intervals and, in the legend, the time that each took: to
 * choose, for a comparison; to choose and fit, for rows of a sweep.
 *
 * @param source what `compareSelections` found, or rows of one model, site and layer; of several features or seeds the mean is shown
 * @throws EmptyDataError when no row has the metric
 * @throws OptionError when the metric is not known, or the rows are of several models, sites or layers
 */
export function selectionPicture(
  source: SelectionComparison | readonly SweepRow[],
  options: SelectionPictureOptions = {},
): PictureSpec {
  const { points, metric, rowsLine, timed } =
    "methods" in source ? ofComparison(source, options) : ofRows(source, options);
  const { label, falls } = metricScale(metric);
  const sign = falls ? -1 : 1;
  const intervals = points.some(({ low }) => low !== null);
  const ks = distinct(points.map(({ k }) => k));
  const best = ks.map((k) =>
    points.filter((point) => point.k === k).reduce((a, b) => (sign * b.value > sign * a.value ? b : a)),
  );
  return pictureSpec({
    title: `${label} against k, by way of choosing neurons`,
    subtitle: [...rowsLine, join(intervals && "bars: 95 % intervals", `seconds: ${timed}`)],
    description: `Lines of ${label} against the number of neurons k, one for each way of choosing them; ${rowsLine.join("; ")}. ${best
      .map(({ k, series, value }) => `Best with k = ${k}: ${series}, ${spoken(value)}.`)
      .join(" ")}`,
    height: 300,
    ...linesByK(points, { metric, label, legend: "chosen by" }),
  });
}

interface Selections {
  readonly points: readonly KPoint[];
  readonly metric: MetricName;
  readonly rowsLine: readonly string[];
  readonly timed: string;
}

function ofComparison(
  comparison: SelectionComparison,
  { metric = "f1", rowsOf = "" }: SelectionPictureOptions,
): Selections {
  const { rows, methods, split, feature } = comparison;
  const names = new Map(methods.map(({ method, seconds }) => [method, withTime(method, seconds)]));
  const points = rows.flatMap(({ method, k, metrics }): KPoint[] => {
    const found = metrics[metric];
    if (!found || found.estimate === null) return [];
    return [
      { k, series: names.get(method) ?? method, value: found.estimate, low: found.low, high: found.high },
    ];
  });
  if (points.length === 0) {
    throw new EmptyDataError(
      `The comparison does not have the metric ${metric}.`,
      "Name one of those that were measured.",
    );
  }
  const on = `${feature} · ${split.test.length.toLocaleString("en")} test rows`;
  return { points, metric, rowsLine: [on, rowsOf], timed: "to choose for all k" };
}

function ofRows(rows: readonly SweepRow[], options: SelectionPictureOptions): Selections {
  const { points, metric, rowsLine, probesLine } = probePoints(rows, options, ["method", "k"]);
  const seconds = new Map<string, number>();
  for (const { method, rows: own } of points) {
    seconds.set(
      method,
      own.reduce((sum, row) => sum + row.seconds, seconds.get(method) ?? 0),
    );
  }
  return {
    points: points.map(({ k, method, value, low, high }) => ({
      k,
      series: withTime(method, seconds.get(method)!),
      value,
      low,
      high,
    })),
    metric,
    rowsLine: [rowsLine, `${probesLine} · layer ${points[0].layer}`],
    timed: "to choose and fit all of them",
  };
}

function withTime(method: string, seconds: number): string {
  return `${method} (${seconds < 0.01 ? "< 0.01" : seconds.toPrecision(2)} s)`;
}
