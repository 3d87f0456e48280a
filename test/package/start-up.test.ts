/** Importing the built package costs next to nothing: what is heavy is loaded when it is wanted. */
import { execFileSync } from "node:child_process";
import { resolve } from "node:path";
import { expect, it } from "vitest";

const ROOT = resolve(import.meta.dirname, "../..");
const LIMIT_MILLISECONDS = 15;
/** Other work on the machine only adds to a time: the fastest of a few fresh processes is the import's own. */
const PROCESSES = 20;

it(`imports in under ${LIMIT_MILLISECONDS} ms`, () => {
  const script =
    'const start = performance.now(); await import("sparseprobe"); console.log(performance.now() - start);';
  let fastest = Infinity;
  for (let i = 0; i < PROCESSES && fastest >= LIMIT_MILLISECONDS; i++) {
    const said = execFileSync("node", ["--input-type=module", "-e", script], { cwd: ROOT, encoding: "utf8" });
    fastest = Math.min(fastest, Number(said));
  }
  expect(fastest).toBeLessThan(LIMIT_MILLISECONDS);
});
