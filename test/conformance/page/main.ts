/** Runs the conformance suite in a page and leaves the results in a global. */
import "../backend.test.ts";
import "./gpujs-cases.ts";
import { runCases, type CaseResult } from "./vitest.ts";

declare global {
  var conformanceResults: Promise<readonly CaseResult[]>;
}
globalThis.conformanceResults = runCases();
