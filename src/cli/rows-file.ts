/** Rows of a sweep as a file, written as they come. */
import { OptionError } from "../errors.ts";
import { openFileSink } from "../node/files.ts";
import { rowsToCsv } from "../sweeps/rows-csv.ts";
import { rowsToJsonLines } from "../sweeps/rows-jsonl.ts";
import { rowsToParquet } from "../sweeps/rows-parquet.ts";
import type { SweepRow } from "../sweeps/sweep-row.ts";

type RowsFormat = "jsonl" | "csv" | "parquet";

/** Rows that are written at a time. */
const PIECE = 256;

/**
 * The format that a file's ending stands for.
 * @throws OptionError when it stands for none
 */
export function rowsFormat(path: string): RowsFormat {
  const ending = /\.([^./\\]+)$/.exec(path)?.[1].toLowerCase();
  if (ending === "jsonl" || ending === "csv" || ending === "parquet") return ending;
  throw new OptionError(
    `${path} is no kind of file that rows are written to.`,
    "Give .jsonl, .csv or .parquet.",
  );
}

/** Writes all rows, or nothing. */
export async function writeRows(
  path: string,
  rows: AsyncIterable<SweepRow>,
  signal: AbortSignal,
): Promise<void> {
  const format = rowsFormat(path);
  const sink = await openFileSink(path);
  try {
    if (format === "parquet") {
      await sink.write(await rowsToParquet(rows, { signal }));
    } else {
      const encoder = new TextEncoder();
      for await (const piece of pieces(rows, format)) await sink.write(encoder.encode(piece));
    }
    signal.throwIfAborted();
    await sink.commit();
  } finally {
    await sink.discard();
  }
}

async function* pieces(rows: AsyncIterable<SweepRow>, format: "jsonl" | "csv"): AsyncGenerator<string> {
  const header = format === "csv" ? rowsToCsv([]) : "";
  const text = (some: readonly SweepRow[]): string =>
    format === "csv" ? rowsToCsv(some).slice(header.length) : rowsToJsonLines(some);
  yield header;
  let some: SweepRow[] = [];
  for await (const row of rows) {
    some.push(row);
    if (some.length < PIECE) continue;
    yield text(some);
    some = [];
  }
  yield text(some);
}
