/** Bootstrap intervals of anything that can be measured on rows; the work of `bootstrapRows`. */
import { Pacer } from "../backends/cpu/pacer.ts";
import type { RowSelection } from "../data/labels.ts";
import { EmptyDataError, OptionError, ShapeError } from "../errors.ts";
import { Random } from "../random.ts";
import {
  acceleration,
  assertBootstrap,
  intervalOf,
  jackknifeParts,
  type BootstrapOptions,
  type BootstrapResult,
  type MetricInterval,
} from "./bootstrap.ts";
import { deepFreeze } from "./deep-freeze.ts";
import { assertCount, groupNumbers } from "./study.ts";

/** What was measured on some rows: numbers by name, null where one is undefined, with the reason. */
export type Measured<Name extends string> = Readonly<Record<Name, number | null>> & {
  readonly undefinedBecause?: Readonly<Partial<Record<string, string>>>;
};

export interface BootstrapRowsOptions<Name extends string> extends Omit<
  BootstrapOptions,
  "probabilities" | "metrics"
> {
  /** Rows to draw from, or their number. `groups` has one entry for each row that there is. */
  readonly rows: number | RowSelection;
  /** What to give intervals of. */
  readonly metrics: readonly Name[];
}

/** Intervals of what was measured. */
export interface BootstrapRowsResult<Name extends string> extends Pick<
  BootstrapResult,
  "level" | "method" | "resamples" | "seed" | "unit" | "units"
> {
  readonly metrics: Readonly<Record<Name, MetricInterval>>;
}

export async function runRowBootstrap<Name extends string>(
  measure: (rows: Uint32Array) => Measured<Name>,
  options: BootstrapRowsOptions<Name>,
): Promise<BootstrapRowsResult<Name>> {
  const {
    resamples = 1000,
    level = 0.95,
    method = "percentile",
    seed = 0,
    signal,
    groups,
    metrics,
  } = options;
  assertBootstrap({ resamples, level, method });
  if (metrics.length === 0) throw new OptionError("There are no metrics.", "Name what to give intervals of.");
  if (typeof options.rows === "number") assertCount("rows", options.rows);
  const pacer = new Pacer(signal);
  const rows =
    typeof options.rows === "number"
      ? Uint32Array.from({ length: options.rows }, (_, i) => i)
      : Uint32Array.from(options.rows);
  if (rows.length === 0) throw new EmptyDataError("There are no rows to draw from.", "Give at least one.");
  const outside = groups && rows.find((i) => i >= groups.length);
  if (outside !== undefined || (groups && typeof options.rows === "number" && groups.length > rows.length)) {
    throw new ShapeError(
      `There are ${groups?.length} groups, and rows up to ${rows.reduce((a, b) => Math.max(a, b))}.`,
      "Give one group per row.",
    );
  }
  const unitOf = groups ? groupNumbers(Array.from(rows, (i) => groups[i])) : rows.map((_, at) => at);
  const rowsOf: number[][] = [];
  for (const [at, unit] of unitOf.entries()) (rowsOf[unit] ??= []).push(rows[at]);
  const units = rowsOf.length;
  const valuesOn = (drawn: readonly number[]): Measured<Name> => {
    const measured = measure(Uint32Array.from(drawn.flatMap((unit) => rowsOf[unit])));
    const absent = metrics.find((name) => (measured[name] as number | null | undefined) === undefined);
    if (absent === undefined) return measured;
    throw new OptionError(`Nothing called "${absent}" was measured.`, "Name what the function returns.");
  };
  /** Values by metric of every selection of units, NaN where undefined. */
  const collect = async (
    count: number,
    draw: (at: number) => readonly number[],
    done?: (at: number) => void,
  ): Promise<Float64Array[]> => {
    const out = metrics.map(() => new Float64Array(count));
    for (let at = 0; at < count; at++) {
      const measured = valuesOn(draw(at));
      for (const [m, name] of metrics.entries()) out[m][at] = measured[name] ?? NaN;
      done?.(at + 1);
      if (pacer.due) await pacer.turn();
    }
    return out;
  };

  const all = rowsOf.map((_, unit) => unit);
  const estimate = valuesOn(all);
  // One unit is the same in every resample: its intervals would claim to be exact.
  const drawn = await collect(
    units > 1 ? resamples : 0,
    (at) => {
      const random = new Random(seed, `bootstrap ${at}`);
      return all.map(() => random.below(units));
    },
    (done) => options.onProgress?.(done, resamples),
  );
  const parts = method === "bca" && units > 1 ? jackknifeParts(units, seed) : undefined;
  const without =
    parts &&
    (await collect(parts.length, (at) => {
      const left = new Set(parts[at]);
      return all.filter((unit) => !left.has(unit));
    }));
  const intervals = metrics.map((name, m): [Name, MetricInterval] => [
    name,
    intervalOf(estimate[name], estimate.undefinedBecause?.[name] ?? "undefined on these rows", drawn[m], {
      level,
      units,
      acceleration: without && acceleration(without[m]),
    }),
  ]);
  return deepFreeze({
    level,
    method,
    resamples,
    seed,
    unit: groups ? "group" : "row",
    units,
    metrics: Object.fromEntries(intervals) as Record<Name, MetricInterval>,
  });
}
