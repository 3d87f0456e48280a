/** Lines of a metric against k, one for each layer or method. */
import type { Json, JsonObject } from "./picture-spec.ts";
import { distinct } from "./row-points.ts";
import { seriesLayers, type SeriesLayersOptions, type SeriesPoint } from "./series-layers.ts";

export interface KPoint extends SeriesPoint {
  readonly k: number;
}

export function linesByK(
  points: readonly KPoint[],
  options: SeriesLayersOptions,
): { values: JsonObject[]; encoding: JsonObject; layer: readonly Json[] } {
  const { layer, apart, fieldsOf } = seriesLayers(points, options);
  return {
    values: points.map((point) => ({ k: point.k, ...fieldsOf(point) })),
    encoding: {
      x: {
        field: "k",
        type: "ordinal",
        scale: { domain: distinct(points.map(({ k }) => k)), type: "band" },
        title: "k (neurons that the probe reads)",
        axis: { labelAngle: 0, labelOverlap: true, grid: false },
      },
      ...apart,
    },
    layer,
  };
}
