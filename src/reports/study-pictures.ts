/** The pictures that show a study, chosen by what its rows hold. */
import type { MetricName } from "../metrics/evaluate.ts";
import { isFitted, type FittedSweepRow, type SweepRow } from "../sweeps/sweep-row.ts";
import { bestNeuronPicture } from "./pictures/best-neurons.ts";
import { metricByKPicture } from "./pictures/metric-by-k.ts";
import { metricHeatMap } from "./pictures/metric-heat-map.ts";
import { metricScale } from "./pictures/metric-scale.ts";
import type { PictureSpec } from "./pictures/picture-spec.ts";
import { selectionPicture } from "./pictures/selections.ts";

export interface StudyPicturesOptions {
  /** Default `"f1"`. */
  readonly metric?: MetricName | undefined;
  /** Pictures at most; those of later models and datasets are left out. Default 24. */
  readonly most?: number | undefined;
}

/** Lines that one picture of best neurons can hold. */
const MOST_FEATURES = 10;

/**
 * For each model, dataset and kind of hook point: the best neuron of each layer, the metric against k by layer and as a map, with the
 * first method that the rows name, on the model's own neurons; and where there are several methods or rotations, these side by side at
 * the layer that is best on validation rows. A picture whose rows are not there is left out.
 */
export function studyPictures(
  rows: readonly SweepRow[],
  { metric = "f1", most = 24 }: StudyPicturesOptions = {},
): PictureSpec[] {
  const pictures: PictureSpec[] = [];
  for (const group of grouped(rows, metric)) {
    if (pictures.length >= most) break;
    pictures.push(...picturesOf(group, metric));
  }
  return pictures.slice(0, most);
}

function grouped(rows: readonly SweepRow[], metric: MetricName): FittedSweepRow[][] {
  const groups = new Map<string, FittedSweepRow[]>();
  for (const row of rows) {
    if (!isFitted(row) || row.metrics[metric] === null) continue;
    const key = JSON.stringify([row.model, row.dataset, row.hookPoint.replace(/^blocks\.\d+\./, "")]);
    const group = groups.get(key);
    if (group) group.push(row);
    else groups.set(key, [row]);
  }
  return [...groups.values()].filter((group) => group.some(({ split }) => split === "test"));
}

function picturesOf(group: readonly FittedSweepRow[], metric: MetricName): PictureSpec[] {
  const options = { metric };
  const own = group.filter(({ rotation }) => rotation === null);
  const shown = own.filter(({ method }) => method === own[0].method);
  const test = shown.filter(({ split }) => split === "test");
  const count = (of: (row: FittedSweepRow) => unknown, among = test): number => new Set(among.map(of)).size;
  const ks = count(({ k }) => k);
  const layers = count(({ layer }) => layer);
  const pictures: PictureSpec[] = [];
  if (layers > 1 && test.some(({ k }) => k === 1) && count(({ feature }) => feature) <= MOST_FEATURES) {
    pictures.push(bestNeuronPicture(shown, options));
  }
  if (ks > 1) pictures.push(metricByKPicture(shown, options));
  if (ks > 1 && layers > 1) pictures.push(metricHeatMap(shown, options));
  const layer = bestLayer(shown, metric);
  const there = group.filter((row) => row.layer === layer);
  if (ks > 1 && count(({ method, rotation }) => `${method} ${rotation}`, there) > 1) {
    pictures.push(selectionPicture(there, options));
  }
  return pictures;
}

/** The layer with the best mean on validation rows; on test rows where there are no others. */
function bestLayer(rows: readonly FittedSweepRow[], metric: MetricName): number {
  const chosen = rows.filter(({ split }) => split === "validation");
  const sums = new Map<number, { sum: number; count: number }>();
  for (const { layer, metrics } of chosen.length > 0 ? chosen : rows) {
    const of = sums.get(layer) ?? { sum: 0, count: 0 };
    sums.set(layer, { sum: of.sum + (metrics[metric] ?? 0), count: of.count + 1 });
  }
  const sign = metricScale(metric).falls ? -1 : 1;
  const means = Array.from(sums, ([layer, { sum, count }]) => ({ layer, mean: (sign * sum) / count }));
  return means.reduce((best, next) => (next.mean > best.mean ? next : best)).layer;
}
