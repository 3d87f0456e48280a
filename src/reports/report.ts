/** One HTML file that shows a study: it works offline, sends nothing and trusts no text. */
import type { CallOptions } from "../backends/backend.ts";
import { Pacer } from "../backends/cpu/pacer.ts";
import type { MetricName } from "../metrics/evaluate.ts";
import type { SweepRow } from "../sweeps/sweep-row.ts";
import { chooseBest } from "./page/best-probes.ts";
import { checkContent } from "./page/check-content.ts";
import { tableHtml } from "./page/data-table.ts";
import type { Html } from "./page/html.ts";
import { METRIC_TITLES } from "./page/metric-titles.ts";
import { neuronHtml, type NeuronPage } from "./page/neuron-section.ts";
import { pageHtml, type PageSection } from "./page/page.ts";
import { pictureFigure } from "./page/picture-figure.ts";
import { isOf, neuronList, placeNeurons } from "./page/place-neurons.ts";
import { summaryHtml } from "./page/study-summary.ts";
import { bestTable, rowsTable } from "./page/study-tables.ts";
import type { PictureSpec } from "./pictures/picture-spec.ts";

export interface ReportContent {
  readonly title: string;
  /** Rows of a sweep. */
  readonly rows: readonly SweepRow[];
  /** Neurons to show, each in a section of its own. */
  readonly neurons?: readonly NeuronPage[] | undefined;
  /** Drawn by `renderSvg`, in order. */
  readonly pictures?: readonly PictureSpec[] | undefined;
  /** Paragraphs of plain text at the top. */
  readonly notes?: readonly string[] | undefined;
}

export interface ReportOptions extends CallOptions {
  /** What chooses, on the validation rows. Default `"f1"`. */
  readonly metric?: MetricName | undefined;
  /** Further metrics in the tables. Default precision, recall and the area under the ROC curve. */
  readonly metrics?: readonly MetricName[] | undefined;
  /** Rows of a table shown at a time. Default 50. */
  readonly pageSize?: number | undefined;
  /** When the study was made, as it is to be shown. Default: nothing, so that equal studies give equal pages. */
  readonly date?: string | undefined;
  /** Called as pictures are drawn, which takes most of the time. */
  readonly onProgress?: ((done: number, total: number) => void) | undefined;
}

/**
 * A study as one HTML file: a summary, the best neuron of every feature, chosen on the validation rows and scored on the test rows,
 * pictures, a section for each neuron, and all rows in a table that sorts and filters. The page needs no network, and its content security
 * policy lets it have none; what comes from models and texts is shown as text. Equal content gives equal pages.
 *
 * Of each support the first three neurons are kept, and metrics to three digits: the rows themselves belong into a file of their own.
 *
 * @throws EmptyDataError when there is neither a row nor a neuron
 * @throws OptionError when a metric is not known, `pageSize` is not a whole number from 1, or what is said of a neuron belongs to another
 * @throws the signal's reason when it is aborted, between two pictures at the latest
 * @throws MissingPackageError when there are pictures and `vega` or `vega-lite` is not installed
 * @example
 * const page = await htmlReport({ title: "Language neurons", rows, pictures: [bestNeuronsPicture(rows)] });
 */
export async function htmlReport(content: ReportContent, options: ReportOptions = {}): Promise<string> {
  const { metric = "f1", metrics = ["precision", "recall", "rocAuc"], pageSize = 50, date = null } = options;
  const { title, rows, neurons = [], pictures = [], notes = [] } = content;
  const pacer = new Pacer(options.signal);
  const settings = { metric, metrics, pageSize };
  checkContent(rows, neurons, settings);

  const own = rows.filter(({ rotation }) => rotation === null);
  const chosen = chooseBest(
    own.filter(({ k }) => k === 1),
    metric,
  );
  const placed = placeNeurons(neurons, chosen, metric);
  const place = (row: SweepRow): string | null => {
    const found = placed.find((page) => isOf(row, page));
    return found ? `#${found.id}` : null;
  };

  const sections: PageSection[] = [];
  if (rows.length > 0) {
    sections.push({ id: "summary", title: "Summary", body: summaryHtml({ rows, metric, chosen, place }) });
  }
  if (chosen.length > 0) {
    const table = bestTable(chosen, chooseBest(own, metric), { ...settings, place });
    const caption = `The neuron of each feature with the best ${METRIC_TITLES[metric].short} on validation rows`;
    sections.push({ id: "best-neurons", title: "Best neurons", body: tableHtml(table, caption) });
  }
  if (pictures.length > 0) {
    const figures: Html[] = [];
    for (const picture of pictures) {
      figures.push(await pictureFigure(picture));
      options.onProgress?.(figures.length, pictures.length);
      await pacer.turn();
    }
    sections.push({ id: "pictures", title: "Pictures", body: figures });
  }
  if (placed.length > 0) sections.push({ id: "neurons", title: "Neurons", body: neuronList(placed) });
  if (rows.length > 0) {
    const table = rowsTable(rows, settings);
    sections.push({
      id: "all-rows",
      title: "All rows",
      body: tableHtml(table, "Every probe, on each part of the rows"),
    });
  }
  return pageHtml({
    title,
    date,
    notes,
    sections,
    neurons: placed.map((page, i) => neuronHtml(page, { before: placed[i - 1], after: placed[i + 1] })),
  });
}
