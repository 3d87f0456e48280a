/** Rows in files: what goes in comes out, for our readers and for others. */
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { DuckDBInstance, type DuckDBConnection } from "@duckdb/node-api";
import { parquetMetadata, parquetReadObjects } from "hyparquet";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { FormatError } from "../../src/errors.ts";
import { METRIC_NAMES } from "../../src/metrics/evaluate.ts";
import { rowsToCsv } from "../../src/sweeps/rows-csv.ts";
import { readRows, rowsToJsonLines } from "../../src/sweeps/rows-jsonl.ts";
import { rowsToParquet } from "../../src/sweeps/rows-parquet.ts";
import { SWEEP_COLUMNS, type SweepCell } from "../../src/sweeps/sweep-columns.ts";
import type { SweepRow } from "../../src/sweeps/sweep-row.ts";
import { resultRows } from "./result-rows.ts";

let rows: SweepRow[];
let folder: string;
let duckdb: DuckDBInstance;
let connection: DuckDBConnection;

beforeAll(async () => {
  rows = await resultRows();
  folder = await mkdtemp(join(tmpdir(), "sweep-files-"));
  await writeFile(join(folder, "rows.csv"), rowsToCsv(rows));
  await writeFile(join(folder, "rows.parquet"), await rowsToParquet(rows));
  duckdb = await DuckDBInstance.create(":memory:");
  connection = await duckdb.connect();
});

afterAll(async () => {
  connection.closeSync();
  duckdb.closeSync();
  await rm(folder, { recursive: true });
});

/** What the columns say of a row, by name. */
function cells(row: SweepRow): Record<string, SweepCell> {
  return Object.fromEntries(SWEEP_COLUMNS.map(({ name, cell }) => [name, cell(row)]));
}

/** Whole numbers that a reader gives as BigInt, as numbers. */
function plain(value: unknown): unknown {
  if (typeof value === "bigint") return Number(value);
  return Array.isArray(value) ? value.map(plain) : (value ?? null);
}

describe("rows of the test", () => {
  it("have every kind of cell", () => {
    const all = rows.map(cells);
    for (const { name, nullable } of SWEEP_COLUMNS) {
      expect(
        all.some((row) => row[name] !== null),
        name,
      ).toBe(true);
      if (!nullable)
        expect(
          all.every((row) => row[name] !== null),
          name,
        ).toBe(true);
    }
    expect(rows.some(({ status }) => status === "failed")).toBe(true);
    expect(rows.some(({ feature }) => feature?.includes('"') && feature.includes("\n"))).toBe(true);
  });

  it("have as many metrics as there are", () => {
    expect(SWEEP_COLUMNS.filter(({ name }) => /_(low|high)$/.test(name))).toHaveLength(
      2 * METRIC_NAMES.length,
    );
  });
});

describe("JSON Lines", () => {
  it("gives the same rows", () => {
    expect(readRows(rowsToJsonLines(rows))).toEqual(rows);
    expect(readRows("")).toEqual([]);
    expect(readRows(`\uFEFF${rowsToJsonLines(rows.slice(0, 2))}\n`)).toEqual(rows.slice(0, 2));
  });

  it.each([
    ["not JSON", "{", "Line 1 is not JSON"],
    ["a list", "[]", "it is not an object"],
    ["nothing", "{}", "status"],
  ])("refuses %s", (_name, line, message) => {
    expect(() => readRows(line)).toThrow(FormatError);
    expect(() => readRows(line)).toThrow(message);
  });

  it("names the field that is wrong", () => {
    const spoilt = (change: object): string => `\n${JSON.stringify({ ...rows[0], ...change })}\n`;
    const cases: [object, string][] = [
      [{ k: 1.5 }, "Line 2 is not a row of a sweep: k is not a whole number"],
      [{ hookPoint: "blocks.x.mlp.hook_post" }, "hookPoint is not a hook point"],
      [{ hookPoint: null }, "hookPoint is not text"],
      [{ metrics: { ...rows[0].metrics, f1: "1" } }, "metrics.f1 is not a number"],
      [{ support: [1, -1] }, "support[1] is not a whole number"],
      [{ coefficients: [] }, "coefficients and support differ"],
      [{ intervals: { f1: { low: 0 } } }, "intervals.f1.high is not a number"],
      [{ status: "fine" }, 'status is "fine", and not one of ok, failed'],
      [{ converged: 1 }, "converged is not true or false"],
    ];
    for (const [change, message] of cases) expect(() => readRows(spoilt(change))).toThrow(message);
  });
});

describe("CSV", () => {
  it("is read by DuckDB as it was written", async () => {
    const types = Object.fromEntries(
      SWEEP_COLUMNS.map(({ name, type }) => [
        name,
        type === "flag"
          ? "BOOLEAN"
          : type === "number"
            ? "DOUBLE"
            : type === "whole" || type === "long"
              ? "BIGINT"
              : "VARCHAR",
      ]),
    );
    const read = await connection.runAndReadAll(
      `select * from read_csv('${join(folder, "rows.csv")}', header = true, delim = ',', quote = '"', escape = '"',
        new_line = '\\r\\n', allow_quoted_nulls = false, columns = ${JSON.stringify(types).replaceAll('"', "'")})`,
    );
    const got = read.getRowObjectsJS().map((row) =>
      Object.fromEntries(
        SWEEP_COLUMNS.map(({ name, type }) => {
          const value: unknown = plain(row[name]);
          return [
            name,
            type === "wholes" || type === "numbers" ? (JSON.parse(value as string) as unknown) : value,
          ];
        }),
      ),
    );
    expect(got).toEqual(rows.map(cells));
  });

  it("has one header, whatever the rows", () => {
    expect(rowsToCsv([])).toBe(`${SWEEP_COLUMNS.map(({ name }) => name).join(",")}\r\n`);
  });
});

describe("Parquet", () => {
  it("is read by hyparquet as it was written, with the schema's name", async () => {
    const file = (await rowsToParquet(rows)).buffer;
    const metadata = parquetMetadata(file);
    expect(metadata.key_value_metadata).toEqual([
      { key: "schema", value: "sparseprobe/sweep-rows" },
      { key: "schema_version", value: "1" },
    ]);
    const got = await parquetReadObjects({ file });
    expect(
      got.map((row) => Object.fromEntries(Object.entries(row).map(([name, value]) => [name, plain(value)]))),
    ).toEqual(rows.map(cells));
  });

  it("is read by DuckDB with proper types", async () => {
    const source = `read_parquet('${join(folder, "rows.parquet")}')`;
    const described = await connection.runAndReadAll(`describe select * from ${source}`);
    const types = Object.fromEntries(
      described
        .getRowObjectsJS()
        .map((row): [string, unknown] => [row["column_name"] as string, row["column_type"]]),
    );
    const expected = {
      text: "VARCHAR",
      whole: "INTEGER",
      long: "BIGINT",
      number: "DOUBLE",
      flag: "BOOLEAN",
      wholes: "INTEGER[]",
      numbers: "DOUBLE[]",
    };
    expect(types).toEqual(Object.fromEntries(SWEEP_COLUMNS.map(({ name, type }) => [name, expected[type]])));
    const read = await connection.runAndReadAll(`select * from ${source}`);
    expect(
      read
        .getRowObjectsJS()
        .map((row) => Object.fromEntries(Object.entries(row).map(([name, value]) => [name, plain(value)]))),
    ).toEqual(rows.map(cells));
  });

  it("takes rows as they come, and none", async () => {
    async function* later(): AsyncGenerator<SweepRow> {
      for (const row of rows) yield await Promise.resolve<SweepRow>(row);
    }
    expect(await rowsToParquet(later())).toEqual(await rowsToParquet(rows));
    const empty = await rowsToParquet([]);
    expect(await parquetReadObjects({ file: empty.buffer })).toEqual([]);
  });

  it("spans groups of rows", async () => {
    const many = Array.from({ length: 4500 }, (_, i) => rows[i % rows.length]);
    const file = (await rowsToParquet(many)).buffer;
    expect(parquetMetadata(file).row_groups.map(({ num_rows }) => Number(num_rows))).toEqual([
      2000, 2000, 500,
    ]);
  });
});
