/** The tables of a study: the best neuron of each feature, and all rows. */
import type { MetricName } from "../../metrics/evaluate.ts";
import type { FittedSweepRow, SweepInterval, SweepRow } from "../../sweeps/sweep-row.ts";
import type { ChosenProbe } from "./best-probes.ts";
import { METRIC_TITLES } from "./metric-titles.ts";
import {
  neuronsColumn,
  numberColumn,
  wordColumn,
  type NumberColumn,
  type SortOrder,
  type TableColumn,
  type TableData,
} from "./table-data.ts";

/** Name of a neuron within its model: `L4 N765`, with the hook where it is not the MLP's own. */
export function neuronName(layer: number, hookPoint: string, neuron: number): string {
  const hook = hookName(hookPoint);
  return `L${layer}${hook === "mlp.hook_post" ? "" : ` ${hook}`} N${neuron}`;
}

/** `mlp.hook_post` of `blocks.4.mlp.hook_post`. */
export function hookName(hookPoint: string): string {
  return hookPoint.replace(/^blocks\.\d+\./, "");
}

/** Neurons of a support that a page keeps: the whole of it is in the rows. */
const SUPPORT_SHOWN = 3;
const DIGITS = 3;

export interface StudyTablesOptions {
  readonly metric: MetricName;
  /** Further metrics to show. */
  readonly metrics: readonly MetricName[];
  readonly pageSize: number;
}

export function bestTable(
  chosen: readonly ChosenProbe[],
  chosenAnyK: readonly ChosenProbe[],
  options: StudyTablesOptions & {
    /** Place of a neuron's section in the page. */
    readonly place: (row: SweepRow) => string | null;
  },
): TableData {
  const { metric, metrics, place, pageSize } = options;
  const [validation, test] = [chosen.map((probe) => probe.validation), chosen.map((probe) => probe.test)];
  const name = (row: FittedSweepRow): string => neuronName(row.layer, row.hookPoint, row.support[0]);
  const title = METRIC_TITLES[metric];
  const value = (row: SweepRow | null, of: MetricName): number | null => row?.metrics?.[of] ?? null;
  const anyK = chosen.map((_, i) => chosenAnyK[i]);
  const columns: TableColumn[] = [
    words("feature", validation, (row) => row.feature, { heads: true }),
    ...varying(validation, [
      ["model", (row) => row.model],
      ["dataset", (row) => row.dataset],
      ["category", (row) => row.category],
      ["seed", (row) => String(row.seed)],
    ]),
    wordColumn({ title: "neuron" }, validation.map(name), validation.map(place)),
    ...varying(validation, [["method", (row) => row.method]]),
    metricColumn(`${title.short}, validation`, metric, validation, {
      hint: `${title.long} on the validation rows, which the neuron was chosen by`,
      bounds: false,
    }),
    metricColumn(`${title.short}, test`, metric, test, {
      hint: `${title.long} on the test rows, with its 95 % interval`,
    }),
    ...metrics
      .filter((other) => other !== metric)
      .map((other) => metricColumn(METRIC_TITLES[other].short, other, test)),
    numberColumn(
      { title: "positives", hint: "Positive test rows", digits: 0 },
      test.map((row) => row?.scored.positives ?? null),
    ),
    numberColumn(
      { title: "rows", hint: "Test rows", digits: 0 },
      test.map((row) => (row?.scored ? row.scored.positives + row.scored.negatives : null)),
    ),
  ];
  if (anyK.some(({ validation: { k } }) => k > 1)) {
    columns.push(
      numberColumn(
        { title: "best k", hint: "Size of the support that validation chooses among all sizes", digits: 0 },
        anyK.map((probe) => probe.validation.k),
      ),
      numberColumn(
        {
          title: `${title.short} at best k`,
          hint: `${title.long} of that probe on the test rows`,
          digits: DIGITS,
        },
        anyK.map((probe) => value(probe.test, metric)),
      ),
    );
  }
  const by = columns.findIndex((column) => column.title === `${title.short}, validation`);
  return {
    id: "best",
    unit: "features",
    rows: chosen.length,
    columns,
    sorted: { column: by, descending: metric !== "logLoss" },
    pageSize,
  };
}

export function rowsTable(rows: readonly SweepRow[], options: StudyTablesOptions): TableData {
  const { metric, metrics, pageSize } = options;
  const sorted: SortOrder | null = null;
  const columns: TableColumn[] = [
    words("feature", rows, (row) => row.feature, { heads: true, filter: true }),
    ...varying(rows, [
      ["model", (row) => row.model],
      ["revision", (row) => row.revision],
      ["dataset", (row) => row.dataset],
      ["category", (row) => row.category],
      ["hook", (row) => (row.hookPoint === null ? null : hookName(row.hookPoint))],
    ]),
    whole("layer", rows, (row) => row.layer, { filter: true }),
    ...varying(rows, [
      ["method", (row) => row.method],
      ["rotation", (row) => (row.rotation === null ? "none" : `seed ${row.rotation}`)],
    ]),
    whole("k", rows, (row) => row.k, { hint: "Neurons in the support", filter: true }),
    ...varying(rows, [["seed", (row) => String(row.seed)]]),
    words("part", rows, (row) => row.split, { hint: "Rows that were scored", filter: true }),
    ...[metric, ...metrics.filter((other) => other !== metric)].map((name) =>
      metricColumn(METRIC_TITLES[name].short, name, rows, { hint: METRIC_TITLES[name].long }),
    ),
    whole("positives", rows, (row) => row.scored?.positives ?? null, { hint: "Positive rows scored" }),
    whole("negatives", rows, (row) => row.scored?.negatives ?? null, { hint: "Negative rows scored" }),
    neuronsColumn(
      { title: "neurons", hint: "The support, strongest first", shown: SUPPORT_SHOWN },
      rows.map((row) => row.support),
    ),
    words("fit", rows, describeFit, { filter: true }),
  ];
  return { id: "rows", unit: "rows", rows: rows.length, columns, sorted, pageSize };
}

function describeFit(row: SweepRow): string {
  if (row.status === "failed") return `failed: ${row.reason ?? "no reason given"}`;
  if (row.converged === false) return "not converged";
  return row.separated ? "separable" : "converged";
}

function words(
  title: string,
  rows: readonly SweepRow[],
  word: (row: SweepRow) => string | null,
  head: { readonly hint?: string; readonly heads?: boolean; readonly filter?: boolean } = {},
): TableColumn {
  return wordColumn({ title, ...head }, rows.map(word));
}

function whole(
  title: string,
  rows: readonly SweepRow[],
  value: (row: SweepRow) => number | null,
  head: { readonly hint?: string; readonly filter?: boolean } = {},
): NumberColumn {
  return numberColumn({ title, digits: 0, ...head }, rows.map(value));
}

/** Columns that say something: those with one word for all rows are left to the summary, and those that repeat another left out. */
function varying(
  rows: readonly SweepRow[],
  columns: readonly (readonly [title: string, word: (row: SweepRow) => string | null])[],
): TableColumn[] {
  return columns
    .filter(([, word]) => new Set(rows.map(word)).size > 1)
    .filter(([, word], i, kept) =>
      kept.slice(0, i).every(([, earlier]) => rows.some((row) => word(row) !== earlier(row))),
    )
    .map(([title, word]) => words(title, rows, word, { filter: true }));
}

function metricColumn(
  title: string,
  metric: MetricName,
  rows: readonly (SweepRow | null)[],
  {
    hint = METRIC_TITLES[metric].long,
    bounds = true,
  }: { readonly hint?: string; readonly bounds?: boolean } = {},
): NumberColumn {
  return numberColumn(
    { title, hint, digits: DIGITS },
    rows.map((row) => row?.metrics?.[metric] ?? null),
    bounds ? rows.map((row): SweepInterval | null => row?.intervals[metric] ?? null) : undefined,
  );
}
