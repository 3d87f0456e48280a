/** Quick mode runs, verifies, and fails below its floors. Ratios themselves are not judged here: the machine is shared. */
import { describe, expect, it } from "vitest";
import { floorsFrom, QUICK_SIZES, readFloors, runQuick, type Floors } from "../../bench/quick.ts";

const TINY = { rows: 300, neurons: 128, supports: 4, texts: 12, rounds: 1 };
const silent = (): void => undefined;
const floorsOf = (names: readonly string[], floor: number): Floors =>
  Object.fromEntries(names.map((name) => [name, floor]));

describe("bench --quick", () => {
  it("passes under floors of 0, and fails for an impossible floor or none", async () => {
    const names = Object.keys(await readFloors());
    const passing = await runQuick(TINY, floorsOf(names, 0), silent);
    expect(passing.map(({ name }) => name).sort()).toEqual(names.sort());
    expect(passing.filter(({ passed }) => !passed)).toEqual([]);
    expect(passing.every(({ ratio }) => Number.isFinite(ratio) && ratio > 0)).toBe(true);

    const [impossible, missing, ...rest] = names;
    const lines: string[] = [];
    const floors = { ...floorsOf(rest, 0), [impossible]: 1e9 };
    const failing = await runQuick(TINY, floors, (line) => lines.push(line));
    const failed = failing.filter(({ passed }) => !passed).map(({ name }) => name);
    expect(failed.sort()).toEqual([impossible, missing].sort());
    expect(lines.filter((line) => line.startsWith("FAIL")).length).toBe(2);
  });

  it("sets floors at half of the lowest ratio", () => {
    const result = (name: string, ratio: number) => ({ name, ratio, floor: undefined, passed: false });
    expect(floorsFrom([[result("a", 10), result("b", 1.234)], [result("a", 6.66)]])).toEqual({
      a: 3.3,
      b: 0.62,
    });
  });

  it("has a positive floor for every case", async () => {
    const floors = Object.values(await readFloors());
    expect(floors.length).toBeGreaterThan(0);
    expect(floors.every((floor) => floor !== undefined && floor > 0)).toBe(true);
    expect(QUICK_SIZES.rounds).toBeGreaterThan(1);
  });
});
