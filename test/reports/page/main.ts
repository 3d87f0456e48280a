/** What the page of the browser test runs. */
import { metricByKPicture, renderPng, renderSvg } from "../../../src/reports.ts";
import type { SweepRow } from "../../../src/sweeps/sweep-row.ts";

declare global {
  var drawPicture: (
    rows: SweepRow[],
    files: { wasm: string; fonts: string[] },
  ) => Promise<{ svg: string; png: string }>;
}

globalThis.drawPicture = async (rows, files) => {
  const spec = metricByKPicture(rows);
  const svg = await renderSvg(spec, { width: 600 });
  const png = await renderPng(spec, {
    wasm: bytesOf(files.wasm),
    fonts: files.fonts.map(bytesOf),
    width: 600,
    scale: 1,
  });
  return { svg, png: btoa(Array.from(png, (byte) => String.fromCharCode(byte)).join("")) };
};

function bytesOf(base64: string): Uint8Array<ArrayBuffer> {
  return Uint8Array.from(atob(base64), (character) => character.charCodeAt(0));
}
