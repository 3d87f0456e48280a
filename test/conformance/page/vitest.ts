/**
 * The part of vitest that the conformance suite uses, for a page: cases are collected as the suite is imported and run one
 * after the other by {@link runCases}.
 */
import { JestAsymmetricMatchers, JestChaiExpect } from "@vitest/expect";
import { expect, use } from "chai";

use(JestChaiExpect);
use(JestAsymmetricMatchers);
export { expect };

type Body = (...args: readonly never[]) => unknown;

interface Case {
  readonly name: string;
  readonly run: () => unknown;
}

const cases: Case[] = [];
const path: string[] = [];

export interface CaseResult {
  readonly name: string;
  /** The error's stack; absent when the case passed. */
  readonly failure?: string;
}

export function describe(name: string, body: () => void): void {
  path.push(name);
  body();
  path.pop();
}

export function it(name: string, run: Body): void {
  cases.push({ name: [...path, name].join(" > "), run: run });
}

/** One block per row, named by filling %s and %i. */
const each =
  (define: (name: string, body: () => void) => void) =>
  (rows: readonly unknown[]) =>
  (name: string, body: Body): void => {
    for (const row of rows) {
      const values = Array.isArray(row) ? (row as unknown[]) : [row];
      let at = 0;
      define(
        name.replace(/%[si]/g, () => String(values[at++])),
        () => body(...(values as never[])),
      );
    }
  };
describe.each = each(describe);
it.each = each(it);

export function beforeAll(run: Body): void {
  it("(set up)", run);
}

/** Runs after the cases of its block, which are collected once the block's body has returned. */
export function afterAll(run: Body): void {
  teardown.push(run);
}
const teardown: (() => unknown)[] = [];

/** Runs every case; a failure stops none of the others. */
export async function runCases(): Promise<CaseResult[]> {
  const results: CaseResult[] = [];
  for (const { name, run } of cases) {
    try {
      await run();
      results.push({ name });
    } catch (error) {
      results.push({
        name,
        failure: error instanceof Error ? (error.stack ?? error.message) : String(error),
      });
    }
  }
  for (const run of teardown) await run();
  return results;
}
