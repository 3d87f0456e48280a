/** docs/benchmarks.md is what the committed results give, and says what it must. */
import { readFile } from "node:fs/promises";
import { describe, expect, it } from "vitest";
import { benchmarksPage } from "../../bench/docs.ts";

describe("docs/benchmarks.md", () => {
  it("equals what `npm run bench:docs` writes", async () => {
    const page = await readFile(new URL("../../docs/benchmarks.md", import.meta.url), "utf8");
    expect(page).toBe(await benchmarksPage());
  });

  it("says that a real GPU is unmeasured, and shows missed goals", async () => {
    const page = await benchmarksPage();
    expect(page).toContain("The speed on a real GPU is unmeasured");
    expect(page).toContain("**missed**");
  });
});
