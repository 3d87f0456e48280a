/** A metric against k, one line for each layer. */
import type { SweepRow } from "../../sweeps/sweep-row.ts";
import { linesByK } from "./lines-by-k.ts";
import { pictureSpec, type PictureSpec } from "./picture-spec.ts";
import { bestPoint, join, probePoints, spoken, type RowPictureOptions } from "./row-points.ts";

/**
 * A metric against the number of neurons k, one line for each layer, with the intervals that the rows have.
 *
 * @param rows of one model, site and method; of several features or seeds the mean is shown
 * @throws EmptyDataError when no row has the metric
 * @throws OptionError when the metric is not known, or the rows are of several models, sites or methods
 * @example
 * const svg = await renderSvg(metricByKPicture(rows, { metric: "f1" }));
 */
export function metricByKPicture(rows: readonly SweepRow[], options: RowPictureOptions = {}): PictureSpec {
  const found = probePoints(rows, options, ["layer", "k"]);
  const { points, metric, label, rowsLine, probesLine } = found;
  const best = bestPoint(found);
  const one = points.every(({ layer }) => layer === best.layer);
  const intervals = points.some(({ low }) => low !== null);
  return pictureSpec({
    title: one ? `${label} against k` : `${label} against k, by layer`,
    subtitle: [rowsLine, join(probesLine, one && `layer ${best.layer}`, intervals && "bars: 95 % intervals")],
    description: `Lines of ${label} against the number of neurons k, one for each layer; ${rowsLine}; ${probesLine}. Best: ${spoken(best.value)} in layer ${best.layer} with k = ${best.k}.`,
    height: 280,
    ...linesByK(
      points.map((point) => ({ ...point, series: point.layer })),
      { metric, label, legend: "layer", ordered: true },
    ),
  });
}
