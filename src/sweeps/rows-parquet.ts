/** Rows as Parquet, through the optional package hyparquet-writer. */
import type * as HyparquetWriter from "hyparquet-writer";
import type { SchemaElement } from "hyparquet-writer";
import type { CallOptions } from "../backends/backend.ts";
import { Pacer } from "../backends/cpu/pacer.ts";
import { MissingPackageError } from "../errors.ts";
import {
  SWEEP_COLUMNS,
  SWEEP_SCHEMA,
  SWEEP_SCHEMA_VERSION,
  type SweepCell,
  type SweepColumn,
  type SweepColumnType,
} from "./sweep-columns.ts";
import type { SweepRow } from "./sweep-row.ts";

/** Rows of a row group: what is encoded at one time. */
const GROUP = 2000;

/** Parquet's type of a value, or of a list's elements. */
const TYPES: Readonly<Record<SweepColumnType, Omit<SchemaElement, "name">>> = {
  text: { type: "BYTE_ARRAY", converted_type: "UTF8" },
  whole: { type: "INT32" },
  long: { type: "INT64" },
  number: { type: "DOUBLE" },
  flag: { type: "BOOLEAN" },
  wholes: { type: "INT32" },
  numbers: { type: "DOUBLE" },
};

/**
 * A Parquet file, columns as in {@link SWEEP_COLUMNS}: strings, INT32 and INT64, DOUBLE and BOOLEAN with nulls, lists as LIST
 * columns; compressed with Snappy. Its key–value metadata name the schema and its version.
 *
 * @throws MissingPackageError when `hyparquet-writer` is not installed
 */
export async function rowsToParquet(
  rows: Iterable<SweepRow> | AsyncIterable<SweepRow>,
  options: CallOptions = {},
): Promise<Uint8Array<ArrayBuffer>> {
  const { ByteWriter, ParquetWriter } = await parquetPackage();
  const pacer = new Pacer(options.signal);
  const bytes = new ByteWriter();
  const file = new ParquetWriter({
    writer: bytes,
    schema: parquetSchema(),
    kvMetadata: [
      { key: "schema", value: SWEEP_SCHEMA },
      { key: "schema_version", value: String(SWEEP_SCHEMA_VERSION) },
    ],
    createdBy: "sparseprobe",
  });
  let group: SweepRow[] = [];
  const write = async (): Promise<void> => {
    // Column by column would be finer still, but the writer takes whole groups.
    await file.write({
      columnData: SWEEP_COLUMNS.map((column) => ({
        name: column.name,
        data: group.map((row) => cellValue(column, column.cell(row))),
      })),
      rowGroupSize: GROUP,
    });
    group = [];
    if (pacer.due) await pacer.turn();
  };
  for await (const row of rows) {
    group.push(row);
    if (group.length === GROUP) await write();
  }
  if (group.length > 0) await write();
  await file.finish();
  return new Uint8Array(bytes.getBuffer());
}

async function parquetPackage(): Promise<typeof HyparquetWriter> {
  try {
    return await import("hyparquet-writer");
  } catch (cause) {
    throw new MissingPackageError(
      "Parquet files need the package hyparquet-writer, which cannot be loaded.",
      "Install it: npm install hyparquet-writer",
      { cause },
    );
  }
}

function parquetSchema(): SchemaElement[] {
  return [
    { name: "root", num_children: SWEEP_COLUMNS.length },
    ...SWEEP_COLUMNS.flatMap(({ name, type, nullable }): SchemaElement[] => {
      const repetition_type = nullable ? "OPTIONAL" : "REQUIRED";
      if (type !== "wholes" && type !== "numbers") return [{ name, repetition_type, ...TYPES[type] }];
      return [
        { name, repetition_type, converted_type: "LIST", num_children: 1 },
        { name: "list", repetition_type: "REPEATED", num_children: 1 },
        { name: "element", repetition_type: "REQUIRED", ...TYPES[type] },
      ];
    }),
  ];
}

function cellValue({ type }: SweepColumn, cell: SweepCell): unknown {
  return type === "long" && cell !== null ? BigInt(cell as number) : cell;
}
