/** The whole harness at tiny sizes, without Python: results are verified, written and well-formed. Times are not judged. */
import { spawn } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { afterAll, describe, expect, it } from "vitest";
import { SCHEMA, type BenchResults } from "../../bench/results.ts";

const ROOT = resolve(import.meta.dirname, "../..");
const folder = mkdtempSync(join(tmpdir(), "sparseprobe-bench-test-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

/** `npm run bench` on the library as it was built. */
function bench(...options: string[]): Promise<{ code: number | null; said: string }> {
  const tsx = join(ROOT, "node_modules/tsx/dist/cli.mjs");
  const args = [tsx, "--tsconfig", "tsconfig.examples.json", "bench/run.ts", ...options];
  const child = spawn(process.execPath, args, { cwd: ROOT });
  let said = "";
  child.stdout.on("data", (chunk: Buffer) => (said += chunk.toString()));
  child.stderr.on("data", (chunk: Buffer) => (said += chunk.toString()));
  return new Promise((done) => child.once("close", (code) => done({ code, said })));
}

async function tinyResults(...options: string[]): Promise<BenchResults> {
  const out = join(folder, `${options.join("-")}.json`);
  // Few neurons, so that J2 stops at k = 16.
  const tiny = "--rows 200 --neurons 24 --rounds 1 --run-seconds 0.01 --python no-such-python".split(" ");
  const { code, said } = await bench(...tiny, ...options, "--out", out);
  expect(said).not.toContain("wrong:");
  expect(code, said).toBe(0);
  return JSON.parse(readFileSync(out, "utf8")) as BenchResults;
}

describe("npm run bench", () => {
  it("verifies and times ours at one and two threads, and says that Python is missing", async () => {
    const results = await tinyResults("--jobs", "J1,J1b,J2,J3,J4");
    expect(results).toMatchObject({ schema: SCHEMA, ours: { backend: "cpu", threads: [1, 2] } });
    expect(new Set(results.tasks.map(({ job }) => job))).toEqual(new Set(["J1", "J1b", "J2", "J3", "J4"]));
    for (const { task, entries, goals } of results.tasks) {
      const ours = entries.filter(({ side }) => side === "ours");
      expect(new Set(ours.map(({ threads }) => threads)), task).toEqual(new Set([1, 2]));
      for (const entry of ours) {
        expect(entry, task).toMatchObject({ status: "timed" });
        expect(entry.check).toBeDefined();
        expect(entry.seconds!.minimum).toBeGreaterThan(0);
      }
      for (const entry of entries.filter(({ side }) => side === "rival")) {
        expect(entry.status).toBe("not installed");
        expect(entry.note).toContain("no-such-python did not start");
      }
      expect(goals.filter(({ met, unit }) => met && unit === "×")).toEqual([]);
    }
  });

  it("verifies a GPU that is emulated in software, and records no time of it", async () => {
    const results = await tinyResults("--jobs", "J1,J4", "--backend", "webgpu", "--threads", "2");
    expect(results.machine.gpu).toMatchObject({ software: true });
    expect(results.ours.backend).toBe("webgpu");
    for (const { task, entries, goals } of results.tasks) {
      const ours = entries.filter(({ side }) => side === "ours");
      expect(ours.length, task).toBeGreaterThan(0);
      for (const entry of ours) {
        expect(entry, task).toMatchObject({ status: "verified", on: "gpu" });
        expect(entry.seconds).toBeUndefined();
      }
      expect(goals.every(({ reached, met }) => reached === null && !met)).toBe(true);
    }
  });

  it.each([
    [["--backend", "quantum"], "--backend is quantum: use cpu or webgpu."],
    [["--jobs", "J9"], "There is no job J9"],
    [["--rows", "0.5"], "--rows is 0.5"],
  ])("refuses %j", async (options, message) => {
    const { code, said } = await bench(...options);
    expect(code).toBe(1);
    expect(said).toContain(message);
  });
});
