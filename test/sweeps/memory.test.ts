/** What a sweep holds in memory at the most. */
import { execFile } from "node:child_process";
import { join, resolve } from "node:path";
import { promisify } from "node:util";
import { describe, expect, it } from "vitest";

const MEGABYTE = 2 ** 20;

describe("a sweep over activations four times as large as the memory given", () => {
  it.each([
    ["hook points that fit one by one", "whole"],
    ["a hook point that does not fit", "parts"],
  ])("stays within 300 MB of the limit: %s", async (_name, mode) => {
    const { stdout, stderr } = await promisify(execFile)(
      process.execPath,
      ["--import", "tsx", join(import.meta.dirname, "memory-in-child.ts"), mode],
      { cwd: resolve(import.meta.dirname, "../..") },
    );
    expect(stderr).toBe("");
    const { grown, limit, ok, bytes } = JSON.parse(stdout) as Record<
      "grown" | "limit" | "ok" | "bytes",
      number
    >;
    expect(bytes).toBeGreaterThan(3.99 * limit);
    expect(ok).toBeGreaterThan(0);
    expect(grown).toBeLessThan(limit + 300 * MEGABYTE);
    // It could not have been held whole.
    expect(limit + 300 * MEGABYTE).toBeLessThan(bytes);
  });
});
