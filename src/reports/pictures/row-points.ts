/** The rows of a sweep as points of a picture: one part, one metric, means over what the picture does not show. */
import { EmptyDataError, OptionError } from "../../errors.ts";
import { METRIC_NAMES, type MetricName } from "../../metrics/evaluate.ts";
import { isFitted, type FittedSweepRow, type ScoredPart, type SweepRow } from "../../sweeps/sweep-row.ts";
import { metricScale } from "./metric-scale.ts";

export interface RowPictureOptions {
  /** Default `"f1"`. */
  readonly metric?: MetricName | undefined;
  /** Rows that the probes were scored on. Default `"test"`. */
  readonly split?: ScoredPart | undefined;
}

/** What a picture can tell apart. `site` is the hook point without its layer. */
export type PointField = "model" | "dataset" | "feature" | "layer" | "site" | "method" | "k";

/** Probes that a picture shows as one: their mean, and the interval of a single one. */
export interface ProbePoint {
  readonly model: string;
  readonly dataset: string;
  readonly feature: string;
  readonly layer: number;
  readonly site: string;
  /** With a note where the activations were rotated. */
  readonly method: string;
  readonly k: number;
  readonly value: number;
  readonly low: number | null;
  readonly high: number | null;
  /** Probes behind the value. */
  readonly probes: number;
  /** Of these, in order. */
  readonly rows: readonly FittedSweepRow[];
}

export interface ProbePoints {
  readonly points: readonly ProbePoint[];
  readonly metric: MetricName;
  /** Name of the metric, with its unit. */
  readonly label: string;
  /** What the rows are: dataset, feature, part of the data, and what was averaged. */
  readonly rowsLine: string;
  /** Model, site and method, as far as they are the same for all points. */
  readonly probesLine: string;
}

/**
 * Points that differ in some of `fields`; everything else must be the same in all rows, but for features and seeds, whose mean is
 * shown.
 * @throws OptionError when the metric is not known, or rows differ in what the picture does not show
 * @throws EmptyDataError when no row has the metric on that part
 */
export function probePoints(
  rows: readonly SweepRow[],
  { metric = "f1", split = "test" }: RowPictureOptions,
  fields: readonly PointField[],
): ProbePoints {
  if (!METRIC_NAMES.includes(metric)) {
    throw new OptionError(
      `The metric ${JSON.stringify(metric)} is not known.`,
      `Use one of ${METRIC_NAMES.join(", ")}.`,
    );
  }
  const { label } = metricScale(metric);
  const part = rows.filter((row) => row.split === split);
  const defined = part.filter(isFitted).filter(({ metrics }) => metrics[metric] !== null);
  if (defined.length === 0) {
    throw new EmptyDataError(
      `None of ${rows.length} rows has the metric ${metric} on the ${split} part.`,
      "Give rows of probes that were scored there, or name another metric or part.",
    );
  }
  const groups = new Map<string, FittedSweepRow[]>();
  for (const row of defined) {
    const key = JSON.stringify(fields.map((field) => fieldOf(row, field)));
    const group = groups.get(key);
    if (group) group.push(row);
    else groups.set(key, [row]);
  }
  for (const field of ["model", "layer", "site", "method", "k"] as const) {
    if (!fields.includes(field)) assertSame(defined, field);
  }
  const points = Array.from(groups.values(), (group): ProbePoint => {
    const [first] = group;
    const interval = group.length === 1 ? first.intervals[metric] : undefined;
    const sum = group.reduce((total, { metrics }) => total + metrics[metric]!, 0);
    return {
      model: first.model,
      dataset: first.dataset,
      feature: first.feature,
      layer: first.layer,
      site: siteOf(first),
      method: methodOf(first),
      k: first.k,
      value: sum / group.length,
      low: interval?.low ?? null,
      high: interval?.high ?? null,
      probes: group.length,
      rows: group,
    };
  });
  const missing = part.length - defined.length;
  return {
    points,
    metric,
    label,
    rowsLine: join(
      featuresOf(defined),
      `${split} rows`,
      ...means(defined, fields),
      missing === 0 ? "" : `${missing} probes missing`,
    ),
    probesLine: join(
      ...(["model", "site", "method"] as const)
        .filter((field) => !fields.includes(field))
        .map((field) => String(fieldOf(defined[0], field))),
    ),
  };
}

/** Values of a field over points, each once: numbers in rising order, names as they come. */
export function distinct<T extends string | number>(values: Iterable<T>): T[] {
  const all = [...new Set(values)];
  const numbers = all.filter((value) => typeof value === "number");
  return numbers.length === all.length ? numbers.sort((a, b) => a - b) : all;
}

/** Parts of a line of a subtitle, without those that are empty. */
export function join(...parts: readonly (string | false)[]): string {
  return parts.filter((part) => part !== false && part !== "").join(" · ");
}

/** A number as a description says it. */
export function spoken(value: number | null): string {
  if (value === null) return "undefined";
  const rounded = Math.abs(value) >= 100 ? value.toFixed(0) : value.toPrecision(3);
  return String(Number(rounded));
}

/** The point that is best by its metric; of equal ones that with the fewest neurons. */
export function bestPoint({ points, metric }: Pick<ProbePoints, "points" | "metric">): ProbePoint {
  const sign = metricScale(metric).falls ? -1 : 1;
  return points.reduce((best, point) => {
    const ahead = sign * (point.value - best.value);
    return ahead > 0 || (ahead === 0 && point.k < best.k) ? point : best;
  });
}

function fieldOf(row: FittedSweepRow, field: PointField): string | number {
  if (field === "site") return siteOf(row);
  return field === "method" ? methodOf(row) : row[field];
}

const siteOf = ({ hookPoint }: FittedSweepRow): string => hookPoint.replace(/^blocks\.\d+\./, "");

const methodOf = ({ method, rotation }: FittedSweepRow): string =>
  rotation === null ? method : `${method}, rotated`;

function assertSame(rows: readonly FittedSweepRow[], field: PointField): void {
  const values = distinct(rows.map((row) => fieldOf(row, field)));
  if (values.length > 1) {
    throw new OptionError(
      `The rows hold several values of ${field}: ${values.slice(0, 5).join(", ")}${values.length > 5 ? " …" : ""}.`,
      "A picture shows one: filter the rows first.",
    );
  }
}

/** The feature with its dataset, or how many there are. */
function featuresOf(rows: readonly FittedSweepRow[]): string {
  const datasets = distinct(rows.map(({ dataset }) => dataset));
  const where = datasets.length === 1 ? datasets[0] : `${datasets.length} datasets`;
  const features = countFeatures(rows);
  return features === 1 ? `${rows[0].feature} (${where})` : `${features} features (${where})`;
}

/** What the points are means over. */
function means(rows: readonly FittedSweepRow[], fields: readonly PointField[]): string[] {
  const features = fields.includes("feature") ? 1 : countFeatures(rows);
  const seeds = new Set(rows.map(({ seed }) => seed)).size;
  const rotations = new Set(rows.map(({ rotation }) => rotation).filter((rotation) => rotation !== null))
    .size;
  const over = [
    ...(features > 1 ? ["features"] : []),
    ...(seeds > 1 ? [`${seeds} seeds`] : []),
    ...(rotations > 1 ? [`${rotations} rotations`] : []),
  ];
  return over.length === 0 ? [] : [`mean over ${over.join(" and ")}`];
}

function countFeatures(rows: readonly FittedSweepRow[]): number {
  return new Set(rows.map(({ dataset, feature }) => JSON.stringify([dataset, feature]))).size;
}
