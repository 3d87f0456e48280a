/** One HTML file that shows a study: works offline, sends nothing, trusts no text. */
import type { MetricName } from "../metrics/evaluate.ts";
import { EmptyDataError } from "../errors.ts";
import type { SweepRow } from "../sweeps/sweep-row.ts";
import { chooseBest } from "./page/best-probes.ts";
import { tableHtml } from "./page/data-table.ts";
import { pageHtml } from "./page/page.ts";
import { bestTable, rowsTable } from "./page/study-tables.ts";

export interface ReportContent {
  readonly title: string;
  /** Rows of a sweep. */
  readonly rows: readonly SweepRow[];
}

export interface ReportOptions {
  /** Metric that chooses, on the validation rows. Default `"f1"`. */
  readonly metric?: MetricName | undefined;
  /** Further metrics to show. Default precision, recall and the area under the ROC curve. */
  readonly metrics?: readonly MetricName[] | undefined;
  /** Rows of a table shown at a time. Default 50. */
  readonly pageSize?: number | undefined;
}

export async function htmlReport(content: ReportContent, options: ReportOptions = {}): Promise<string> {
  const { metric = "f1", metrics = ["precision", "recall", "rocAuc"], pageSize = 50 } = options;
  const { title, rows } = content;
  if (rows.length === 0) throw new EmptyDataError("There are no rows.", "Give the rows of a sweep.");
  const own = rows.filter(({ rotation }) => rotation === null);
  const single = chooseBest(
    own.filter(({ k }) => k === 1),
    metric,
  );
  const anyK = chooseBest(own, metric);
  const settings = { metric, metrics, pageSize };
  const best = bestTable(single, anyK, { ...settings, place: () => null });
  return pageHtml({
    title,
    body: [
      tableHtml(best, "Best single neuron of each feature"),
      tableHtml(rowsTable(rows, settings), "All rows"),
    ],
  });
}
