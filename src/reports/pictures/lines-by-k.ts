/** Lines of a metric against k, one for each layer or method; intervals stand side by side. */
import type { JsonObject, Json } from "./picture-spec.ts";
import { distinct } from "./probe-points.ts";
import { metricDomain } from "./metric-scale.ts";
import type { MetricName } from "../../metrics/evaluate.ts";

/** Series that colour, dash and shape can tell apart; more get a colour scale. */
export const MOST_SERIES = 10;

export interface KPoint {
  readonly k: number;
  readonly series: string | number;
  readonly value: number;
  readonly low: number | null;
  readonly high: number | null;
}

export interface LinesByK {
  readonly points: readonly KPoint[];
  readonly metric: MetricName;
  readonly label: string;
  /** Title of the legend. */
  readonly legend: string;
  /** Whether the series have an order, which the colours then show. */
  readonly ordered: boolean;
}

export function linesByK({ points, metric, label, legend, ordered }: LinesByK): {
  values: JsonObject[];
  encoding: JsonObject;
  layer: Json[];
} {
  const series = distinct(points.map((point) => point.series));
  const ks = distinct(points.map(({ k }) => k));
  const few = series.length <= MOST_SERIES;
  const intervals = points.some(({ low, high }) => low !== null && high !== null);
  const domain = metricDomain(
    metric,
    points.flatMap(({ value, low, high }) => [value, low, high]),
  );
  const form = (channel: string, range: JsonObject = {}, shown: JsonObject = {}): JsonObject =>
    few
      ? {
          [channel]: {
            field: "series",
            type: "nominal",
            title: legend,
            scale: { domain: series, ...range },
            ...shown,
          },
        }
      : {};
  const colour = few
    ? form("color", ordered ? { range: "ordinal" } : {})
    : { color: { field: "series", type: "quantitative", title: legend } };
  const values = points.map(({ k, series: name, value, low, high }): JsonObject => ({
    k,
    series: name,
    value,
    low,
    high,
  }));
  return {
    values,
    encoding: {
      x: {
        field: "k",
        type: "ordinal",
        scale: { domain: ks, type: "band" },
        title: "k (neurons that the probe reads)",
        axis: { labelAngle: 0, labelOverlap: true, grid: false },
      },
      ...(intervals && few && { xOffset: { field: "series", scale: { domain: series, padding: 0.4 } } }),
      ...colour,
      detail: { field: "series" },
    },
    layer: [
      ...(intervals
        ? [
            {
              mark: { type: "rule", style: "interval" },
              transform: [{ filter: "isValid(datum.low) && isValid(datum.high)" }],
              encoding: {
                y: { field: "low", type: "quantitative", scale: { domain }, title: label },
                y2: { field: "high" },
              },
            },
          ]
        : []),
      {
        mark: { type: "line", style: "series" },
        encoding: {
          y: { field: "value", type: "quantitative", scale: { domain }, title: label },
          ...form("strokeDash", {}, { legend: null }),
        },
      },
      {
        mark: { type: "point", style: "series-point" },
        encoding: { y: { field: "value", type: "quantitative" }, ...form("shape") },
      },
    ],
  };
}
