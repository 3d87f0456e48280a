/** The documented schema is that of the files. */
import { readFileSync } from "node:fs";
import { resolve } from "node:path";
import { expect, it } from "vitest";
import { SWEEP_COLUMNS, type SweepColumnType } from "../../src/sweeps/sweep-columns.ts";

const TYPES: Readonly<Record<SweepColumnType, string>> = {
  text: "text",
  whole: "32-bit integer",
  long: "64-bit integer",
  number: "double",
  flag: "boolean",
  wholes: "list of 32-bit integers",
  numbers: "list of doubles",
};

/** A line per column; the ends of the intervals, which come after every metric, on the metric's. */
function expectedLines(): string[] {
  return SWEEP_COLUMNS.filter(({ name }) => !/_(low|high)$/.test(name)).map(
    ({ name, type, nullable, meaning }) => {
      const interval = SWEEP_COLUMNS.some((column) => column.name === `${name}_low`);
      const names = interval ? `\`${name}\`, \`${name}_low\`, \`${name}_high\`` : `\`${name}\``;
      return `| ${names} | ${TYPES[type]}${nullable ? " or null" : ""} | ${meaning} |`;
    },
  );
}

it("docs/sweeps.md lists every column with its type and meaning", () => {
  const page = readFileSync(resolve(import.meta.dirname, "../../docs/sweeps.md"), "utf8");
  const lines = page
    .split("\n")
    .filter((line) => line.startsWith("| `"))
    .map((line) => line.replace(/ +/g, " "));
  expect(lines).toEqual(expectedLines());
});
