/** Rows as JSON Lines: the form that keeps everything. */
import type { HookPoint } from "../backends/backend.ts";
import { FormatError } from "../errors.ts";
import { METRIC_NAMES, type MetricName } from "../metrics/evaluate.ts";
import { deepFreeze } from "../statistics/deep-freeze.ts";
import { JsonField, type JsonObject } from "./json-field.ts";
import { splitHookPoint } from "./plan-study.ts";
import type { SweepInterval, SweepRow } from "./sweep-row.ts";

/**
 * One JSON object per line, fields as in {@link SweepRow}.
 * @returns text that ends with a line break; empty for no rows
 */
export function rowsToJsonLines(rows: Iterable<SweepRow>): string {
  let out = "";
  for (const row of rows) out += `${JSON.stringify(row)}\n`;
  return out;
}

/**
 * Reads what {@link rowsToJsonLines} wrote. Empty lines and further fields are skipped.
 * @returns frozen rows
 * @throws FormatError with the line and the field that is wrong
 */
export function readRows(jsonLines: string): SweepRow[] {
  if (typeof jsonLines !== "string") {
    throw new FormatError("This is not text.", 'Decode the bytes first: readFileSync(path, "utf8").');
  }
  const rows: SweepRow[] = [];
  for (const [index, line] of jsonLines
    .replace(/^\uFEFF/, "")
    .split("\n")
    .entries()) {
    if (line.trim() !== "") rows.push(readRowLine(line, `Line ${index + 1}`));
  }
  return rows;
}

/**
 * Reads one row.
 * @param place where the line stands, for errors
 * @throws FormatError with the place and the field that is wrong
 */
export function readRowLine(line: string, place: string): SweepRow {
  let value: unknown;
  try {
    value = JSON.parse(line);
  } catch (cause) {
    throw new FormatError(`${place} is not JSON.`, "Give a file that was written with rowsToJsonLines().", {
      cause,
    });
  }
  return deepFreeze(rowFromJson(value, place));
}

function rowFromJson(value: unknown, place: string): SweepRow {
  const failure = (path: string, what: string): Error =>
    new FormatError(
      `${place} is not a row of a sweep: ${path === "" ? "it" : path} ${what}.`,
      "Give a file that was written with rowsToJsonLines().",
    );
  const row = new JsonField(value, "", failure).object();
  const status = row.get("status").oneOf(["ok", "failed"] as const);
  // Of a failed row nothing is known that a probe has; of the others everything is.
  const known = <T>(name: string, read: (field: JsonField) => T): T | null => {
    const field = row.get(name);
    return status === "failed" ? field.orNull(read) : read(field);
  };
  const text = (field: JsonField): string => field.text();
  const support = row
    .get("support")
    .items()
    .map((item) => item.whole(0));
  const coefficients = row.get("coefficients");
  const weights = coefficients.items().map((item) => item.number());
  if (weights.length !== support.length) throw coefficients.wrong("and support differ in length");
  return {
    model: row.get("model").text(),
    revision: row.get("revision").orNull(text),
    dataset: row.get("dataset").text(),
    category: known("category", text),
    feature: known("feature", text),
    aggregation: known("aggregation", (field) => field.oneOf(["token", "mean", "max", "last"] as const)),
    hookPoint: known("hookPoint", readHookPoint),
    layer: known("layer", (field) => field.whole(0)),
    method: row.get("method").text(),
    rotation: row.get("rotation").orNull((field) => field.whole(0)),
    k: known("k", (field) => field.whole(1)),
    seed: row.get("seed").whole(0),
    split: row.get("split").oneOf(["validation", "test"] as const),
    status,
    reason: row.get("reason").orNull(text),
    train: known("train", readCounts),
    scored: known("scored", readCounts),
    metrics: known("metrics", readMetrics),
    intervals: readIntervals(row.get("intervals").object()),
    support,
    coefficients: weights,
    intercept: known("intercept", (field) => field.number()),
    converged: known("converged", (field) => field.flag()),
    separated: known("separated", (field) => field.flag()),
    iterations: known("iterations", (field) => field.whole(0)),
    seconds: known("seconds", (field) => field.number()),
  };
}

function readHookPoint(field: JsonField): HookPoint {
  const parts = splitHookPoint(field.text());
  if (!parts || parts.layer === null) throw field.wrong("is not a hook point");
  return `blocks.${parts.layer}.${parts.name}`;
}

function readCounts(field: JsonField): { positives: number; negatives: number } {
  const counts = field.object();
  return { positives: counts.get("positives").whole(0), negatives: counts.get("negatives").whole(0) };
}

function readMetrics(field: JsonField): Record<MetricName, number | null> {
  const metrics = field.object();
  return Object.fromEntries(
    METRIC_NAMES.map((name) => [name, metrics.get(name).orNull((value) => value.number())]),
  ) as Record<MetricName, number | null>;
}

function readIntervals(intervals: JsonObject): Partial<Record<MetricName, SweepInterval>> {
  const out: Partial<Record<MetricName, SweepInterval>> = {};
  for (const name of METRIC_NAMES) {
    const interval = intervals.get(name);
    if (interval.absent) continue;
    const ends = interval.object();
    out[name] = { low: ends.get("low").number(), high: ends.get("high").number() };
  }
  return out;
}
