/** The page in a browser and under a validator. */
import { writeFileSync, mkdtempSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, it } from "vitest";
import { htmlReport } from "../../src/reports/report.ts";
import { syntheticRows } from "./rows.ts";

it("fits 20,000 rows into 2 MB", async () => {
  const rows = syntheticRows({ features: 48, layers: 12 });
  expect(rows.length).toBeGreaterThan(20_000);
  const page = await htmlReport({ title: "A study", rows });
  const folder = mkdtempSync(join(tmpdir(), "sparseprobe-report-"));
  writeFileSync(join(folder, "report.html"), page);
  console.log(rows.length, page.length, folder);
  expect(page.length).toBeLessThan(2e6);
});
