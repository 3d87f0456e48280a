/** A metric as a map of layers and k. */
import type { SweepRow } from "../../sweeps/sweep-row.ts";
import { metricScale } from "./metric-scale.ts";
import { pictureSpec, type JsonObject, type PictureSpec } from "./picture-spec.ts";
import { bestPoint, distinct, join, probePoints, spoken, type RowPictureOptions } from "./row-points.ts";

/** Pixels that a number in a cell needs. */
const CELL = { width: 34, height: 24 };

/**
 * A metric by layer and k as a heat map; the best cell has a frame, and numbers stand in the cells where they fit.
 *
 * @param rows of one model, site and method; of several features or seeds the mean is shown
 * @throws EmptyDataError when no row has the metric
 * @throws OptionError when the metric is not known, or the rows are of several models, sites or methods
 */
export function metricHeatMap(rows: readonly SweepRow[], options: RowPictureOptions = {}): PictureSpec {
  const found = probePoints(rows, options, ["layer", "k"]);
  const { points, metric, label, rowsLine, probesLine } = found;
  const ks = distinct(points.map(({ k }) => k));
  const layers = distinct(points.map(({ layer }) => layer));
  const best = bestPoint(found);
  const values = points.map(({ value }) => value);
  // Tenths, so that the legend starts and ends at round numbers.
  const low = Math.floor(Math.min(...values) * 10 + 1e-9) / 10;
  const high = Math.max(Math.ceil(Math.max(...values) * 10 - 1e-9) / 10, low + 0.1);
  const { falls } = metricScale(metric);
  const middle = (low + high) / 2;
  const height = Math.max(12, Math.min(CELL.height, Math.floor(600 / layers.length)));
  const number = (style: string, test: string): JsonObject => ({
    transform: [{ filter: `datum.value ${test} ${middle}` }],
    mark: {
      type: "text",
      style,
      // Numbers that would touch are left out.
      opacity: { expr: `width < ${CELL.width * ks.length} ? 0 : 1` },
    },
    encoding: { text: { field: "value", type: "quantitative", format: ".2f" } },
  });
  return pictureSpec({
    title: `${label} by layer and k`,
    subtitle: [rowsLine, join(probesLine, "frame: the best")],
    description: `Heat map of ${label} by layer and number of neurons k; ${rowsLine}; ${probesLine}. Values from ${spoken(Math.min(...values))} to ${spoken(Math.max(...values))}; the best, ${spoken(best.value)}, in layer ${best.layer} with k = ${best.k}.`,
    height: height * layers.length,
    values: points.map(({ layer, k, value }) => ({
      layer,
      k,
      value,
      best: layer === best.layer && k === best.k,
    })),
    encoding: {
      x: {
        field: "k",
        type: "ordinal",
        scale: { domain: ks, paddingInner: 0.04, paddingOuter: 0 },
        title: "k (neurons that the probe reads)",
        axis: { labelAngle: 0, labelOverlap: true, domain: false, ticks: false, grid: false },
      },
      y: {
        field: "layer",
        type: "ordinal",
        scale: { domain: layers, paddingInner: 0.06, paddingOuter: 0 },
        title: "layer",
        axis: { labelOverlap: true, grid: false },
      },
    },
    layer: [
      {
        mark: "rect",
        encoding: {
          color: {
            field: "value",
            type: "quantitative",
            // The best stands out from the page.
            scale: { domain: [low, high], reverse: falls },
            title: label,
          },
        },
      },
      { transform: [{ filter: "datum.best" }], mark: { type: "rect", style: "frame" } },
      ...(height >= CELL.height
        ? [number("on-pale", falls ? ">=" : "<="), number("on-strong", falls ? "<" : ">")]
        : []),
    ],
  });
}
