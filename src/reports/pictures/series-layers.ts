/** Lines of a metric with points and intervals, one for each layer, method, feature or kind of probe. */
import type { MetricName } from "../../metrics/evaluate.ts";
import { metricDomain } from "./metric-scale.ts";
import type { Json, JsonObject } from "./picture-spec.ts";
import { distinct } from "./row-points.ts";

/** Series that colour, dash and shape can tell apart. */
export const MOST_SERIES = 10;

export interface SeriesPoint {
  readonly series: string | number;
  readonly value: number;
  readonly low: number | null;
  readonly high: number | null;
}

export interface SeriesLayersOptions {
  readonly metric: MetricName;
  /** Title of the y axis. */
  readonly label: string;
  /** Title of the legend; null: no title. */
  readonly legend: string | null;
  /** Whether the series have an order, which their colours then show; more than 10 must have one. */
  readonly ordered?: boolean;
}

export interface SeriesLayers {
  readonly names: readonly (string | number)[];
  /** Whether there are intervals. */
  readonly intervals: boolean;
  /** Moves series that share a place on a banded axis apart; empty where they need not be. */
  readonly apart: JsonObject;
  /** What the layers read of a point. */
  readonly fieldsOf: (point: SeriesPoint) => JsonObject;
  readonly layer: readonly Json[];
}

/** Layers that need an x position around them. */
export function seriesLayers(
  points: readonly SeriesPoint[],
  { metric, label, legend, ordered = false }: SeriesLayersOptions,
): SeriesLayers {
  const names = distinct(points.map(({ series }) => series));
  const few = names.length <= MOST_SERIES;
  const several = names.length > 1;
  const intervals = points.some(({ low, high }) => low !== null && high !== null);
  const domain = metricDomain(
    metric,
    points.flatMap(({ value, low, high }) => [value, low, high]),
  );
  const y = { field: "value", type: "quantitative", title: label, scale: { domain } };
  const form = (range: JsonObject = {}): JsonObject => ({
    field: "series",
    type: "nominal",
    title: legend,
    scale: { domain: names, ...range },
    // A short legend leaves the plot its width.
    ...(names.length <= 3 && { legend: several ? { orient: "top", offset: 6 } : null }),
  });
  const color = few
    ? form(ordered ? { range: "ordinal" } : {})
    : { field: "series", type: "quantitative", title: legend };
  return {
    names,
    intervals,
    apart:
      intervals && few && several
        ? { xOffset: { field: "series", scale: { domain: names, padding: 0.4 } } }
        : {},
    fieldsOf: ({ series, value, low, high }) => ({ series, dash: names.indexOf(series), value, low, high }),
    layer: [
      ...(intervals
        ? [
            {
              transform: [{ filter: "isValid(datum.low) && isValid(datum.high)" }],
              mark: { type: "rule", style: "interval" },
              encoding: { y: { ...y, field: "low" }, y2: { field: "high" }, color },
            },
          ]
        : []),
      {
        mark: { type: "line", style: "series" },
        encoding: {
          y,
          color,
          detail: { field: "series" },
          // A field of its own: a scale that colour shares could not leave the legend alone.
          ...(few && { strokeDash: { field: "dash", type: "nominal", legend: null } }),
        },
      },
      {
        mark: { type: "point", style: "series-point" },
        encoding: { y, color, ...(few && { shape: form() }) },
      },
    ],
  };
}
