/** How resvg starts: alone in a process, since it starts once. */
import { expect, it } from "vitest";
import { pictureFiles } from "../../src/node/picture-files.ts";
import { metricByKPicture, renderPng } from "../../src/reports.ts";
import { sweepRows } from "./picture-data.ts";

it("refuses a module that is not resvg's, and works with the right one afterwards", async () => {
  const files = await pictureFiles();
  const spec = metricByKPicture(sweepRows());
  const wasm = Uint8Array.of(0, 97, 115, 109, 1, 0, 0, 0);
  await expect(renderPng(spec, { ...files, wasm })).rejects.toMatchObject({ code: "format" });
  const png = await renderPng(spec, files);
  expect(String.fromCharCode(...png.subarray(1, 4))).toBe("PNG");
  // The same bytes each time, also when two are drawn at once.
  expect(await Promise.all([renderPng(spec, files), renderPng(spec, files)])).toEqual([png, png]);
});
