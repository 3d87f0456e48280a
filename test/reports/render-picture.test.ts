/** Drawing: both colour schemes, any width, hostile text, no network, the same everywhere. */
import { inflateSync } from "node:zlib";
import { fileURLToPath } from "node:url";
import * as vega from "vega";
import { build } from "vite";
import type { Browser } from "playwright";
import { afterAll, afterEach, beforeAll, describe, expect, it, vi } from "vitest";
import { pictureFiles } from "../../src/node/picture-files.ts";
import {
  ablationPicture,
  bestNeuronPicture,
  classHistogramPicture,
  metricByKPicture,
  neuronStripsPicture,
  renderPng,
  renderSvg,
  type PictureSpec,
} from "../../src/reports.ts";
import { shorten, textWidth, wrapText } from "../../src/reports/text-width.ts";
import { openChromium } from "../support/chromium.ts";
import { ablation, evidence, PICTURES, strips, sweepRow, sweepRows } from "./picture-data.ts";
import config from "../../vitest.config.ts";

const NAMES = Object.keys(PICTURES);
const attribute = (svg: string, name: string): number =>
  Number(new RegExp(`^<svg[^>]* ${name}="([\\d.]+)"`).exec(svg)![1]);

let browser: Browser;
beforeAll(async () => {
  browser = await openChromium();
});
afterAll(async () => {
  await browser.close();
});
afterEach(() => {
  vi.doUnmock("vega");
  vi.resetModules();
});

describe.each(NAMES)("SVG of %s", (name) => {
  const spec = PICTURES[name];

  it("is as wide as asked for, and the same each time", async () => {
    const phone = await renderSvg(spec, { scheme: "light", width: 320 });
    expect(attribute(phone, "width")).toBe(320);
    const svg = await renderSvg(spec, { scheme: "light", width: 640 });
    expect(attribute(svg, "width")).toBe(640);
    expect(await renderSvg(spec, { scheme: "light", width: 640 })).toBe(svg);
  });

  it("has a name and a description with numbers, and nothing that only a program reads", async () => {
    const svg = await renderSvg(spec);
    expect(svg).toMatch(/^<svg [^>]* role="img"><title>[^<]+<\/title><desc>[^<]*\d[^<]*<\/desc>/);
    expect(svg).not.toMatch(/aria-|pointer-events|NaN|undefined|Infinity/);
  });

  it("differs between the schemes in colours alone", async () => {
    const [light, dark] = [
      await renderSvg(spec, { scheme: "light" }),
      await renderSvg(spec, { scheme: "dark" }),
    ];
    expect(dark).not.toBe(light);
    const plain = (svg: string): string =>
      svg.replace(/ (fill|stroke|stop-color)="[^"]*"/g, ' $1=""').replace(/p[0-9a-z]+-\d/g, "id");
    expect(plain(dark)).toBe(plain(light));
  });
});

describe("one SVG for both schemes", () => {
  it("shows the colours of each where the reader prefers it", async () => {
    const spec = PICTURES["metric by k"];
    const page = await browser.newPage();
    await page.setContent(await renderSvg(spec));
    for (const scheme of ["light", "dark"] as const) {
      await page.emulateMedia({ colorScheme: scheme });
      const colours = await page.evaluate(() =>
        Array.from(document.querySelectorAll("svg *"), (element) => {
          const { fill, stroke } = getComputedStyle(element);
          return `${fill} ${stroke}`;
        }),
      );
      const alone = await browser.newPage();
      await alone.setContent(await renderSvg(spec, { scheme }));
      const wanted = await alone.evaluate(() =>
        Array.from(document.querySelectorAll("svg *"), (element) => {
          const { fill, stroke } = getComputedStyle(element);
          return `${fill} ${stroke}`;
        }),
      );
      await alone.close();
      // The merged drawing has a <style> more.
      expect(colours.filter((_, i) => i !== 2)).toEqual(wanted);
    }
    await page.close();
  });
});

/** Names that people and attackers give things. */
const HOSTILE = [
  `<script>alert(1)</script>`,
  `"'><img src=x onerror=alert(1)>`,
  `&lt; &amp; ]]> <!--`,
  "a\u0000b\u0007c\ud800d\ufffe",
  "👩‍👩‍👧 \u202eright to left\u202c שלום",
  "datum.value; ${width} {signal: 'x'} a.b[0]\\",
  "__proto__",
];

describe("hostile text", () => {
  it.each(HOSTILE)("stands as text: %j", async (text) => {
    const specs = [
      metricByKPicture(sweepRows(2, { model: text, dataset: text, feature: text, method: text })),
      bestNeuronPicture([sweepRow(0.5, { feature: text }), sweepRow(0.6, { feature: `${text}2` })]),
      classHistogramPicture({
        ...evidence,
        classes: evidence.classes.map((of) => ({ ...of, label: text + String(of.label) })),
      }),
      ablationPicture({ ...ablation, classes: [{ ...ablation.classes[0], class: text }] }, { rowsOf: text }),
      neuronStripsPicture([{ ...strips[0], feature: text, group: text }], { title: text, rows: text }),
    ];
    const page = await browser.newPage();
    const problems: string[] = [];
    page.on("console", (message) => problems.push(message.text()));
    page.on("pageerror", (error) => problems.push(error.message));
    page.on("request", (request) => problems.push(request.url()));
    for (const spec of specs) {
      const svg = await renderSvg(spec, { scheme: "light", width: 900 });
      // Whatever an XML parser finds besides drawing would have come from the text.
      const found = await page.evaluate((source) => {
        const parsed = new DOMParser().parseFromString(source, "image/svg+xml");
        return {
          error: parsed.querySelector("parsererror")?.textContent ?? null,
          elements: [...new Set(Array.from(parsed.querySelectorAll("*"), ({ localName }) => localName))],
          title: parsed.querySelector("title")?.textContent,
          text: Array.from(parsed.querySelectorAll("text"), ({ textContent }) => textContent).join("\n"),
        };
      }, svg);
      expect(found.error).toBeNull();
      const drawing = ["svg", "title", "desc", "g", "path", "line", "rect", "text", "tspan"];
      expect(found.elements.filter((name) => !drawing.includes(name))).toEqual([]);
      const shown = text.replace(/\p{Cc}|\ufffe|\p{Cs}/gu, "\ufffd");
      expect(`${found.title}\n${found.text}`).toContain(shown);
      await page.setContent(svg);
    }
    expect(problems).toEqual([]);
    await page.close();
  });

  it("may be long", async () => {
    const svg = await renderSvg(
      metricByKPicture(sweepRows(2, { feature: "long ".repeat(400), model: "x".repeat(2000) })),
    );
    expect(attribute(svg, "width")).toBe(720);
    expect(attribute(svg, "height")).toBeLessThan(600);
    const labels = ablationPicture({
      ...ablation,
      classes: [{ ...ablation.classes[0], class: "😀".repeat(300) }],
    });
    const drawn = await renderSvg(labels, { scheme: "light" });
    expect(attribute(drawn, "width")).toBe(720);
    expect(drawn).not.toMatch(/\p{Cs}/u);
  });
});

describe("what is loaded", () => {
  it("nothing, whatever a specification names", async () => {
    const fetched = vi.spyOn(globalThis, "fetch");
    const spec = PICTURES["metric by k"];
    const remote = { ...spec, layer: [{ data: { url: "https://example.org/x.json" }, mark: "point" }] };
    await expect(renderSvg(remote as unknown as PictureSpec)).rejects.toThrow(/example\.org/);
    const local = { ...spec, layer: [{ data: { url: "/etc/hostname" }, mark: "point" }] };
    await expect(renderSvg(local as unknown as PictureSpec)).rejects.toThrow(/hostname/);
    const image = {
      ...spec,
      layer: [{ mark: { type: "image", url: "https://example.org/x.png", width: 9, height: 9 } }],
    };
    await expect(renderSvg(image as unknown as PictureSpec)).rejects.toThrow(/example\.org/);
    expect(fetched).not.toHaveBeenCalled();
    fetched.mockRestore();
    // And the next picture is drawn as if nothing had happened.
    expect(await renderSvg(spec)).toContain("</svg>");
  });

  it("says what to install when a package is missing", async () => {
    vi.resetModules();
    vi.doMock("vega", () => {
      throw new Error("Cannot find package 'vega'");
    });
    const { renderSvg: draw } = await import("../../src/reports.ts");
    await expect(draw(PICTURES["heat map"])).rejects.toMatchObject({
      code: "missing-package",
      remedy: "Install it: npm install vega",
    });
  });

  it("leaves vega as it was, also when several pictures are drawn at once", async () => {
    const { textMetrics } = vega as unknown as { textMetrics: { width: unknown } };
    const before = textMetrics.width;
    const [spec, other] = [PICTURES["heat map"], PICTURES["weights"]];
    const alone = [await renderSvg(spec), await renderSvg(other)];
    expect(await Promise.all([renderSvg(spec), renderSvg(other)])).toEqual(alone);
    expect(textMetrics.width).toBe(before);
  });
});

describe("options", () => {
  it("out of range are refused", async () => {
    const spec = PICTURES["heat map"];
    for (const width of [0, 239, 4001, NaN]) {
      await expect(renderSvg(spec, { width })).rejects.toMatchObject({ code: "option" });
    }
    const files = await pictureFiles();
    for (const scale of [0, -1, 9, NaN]) {
      await expect(renderPng(spec, { ...files, scale })).rejects.toMatchObject({ code: "option" });
    }
    await expect(renderPng(spec, { ...files, fonts: [] })).rejects.toMatchObject({ code: "option" });
  });
});

describe("PNG", () => {
  it("has the size of the picture, text where the title stands, and the colour of the page around it", async () => {
    const spec = PICTURES["metric by k"];
    const files = await pictureFiles();
    for (const scheme of ["light", "dark"] as const) {
      const svg = await renderSvg(spec, { scheme, width: 500 });
      const png = decodePng(await renderPng(spec, { ...files, scheme, width: 500, scale: 2 }));
      expect([png.width, png.height]).toEqual([1000, Math.ceil(2 * attribute(svg, "height"))]);
      const page = png.pixel(0, 0);
      expect(page).toEqual(scheme === "light" ? [255, 255, 255] : [20, 24, 29]);
      // The title: dark on light or light on dark, as wide as its text says and no wider.
      const columns: number[] = [];
      for (let x = 0; x < png.width; x++) {
        for (let y = 4; y < 40; y++) {
          const [value] = png.pixel(x, y);
          if (Math.abs(value - page[0]) > 128) {
            columns.push(x);
            break;
          }
        }
      }
      const width = textWidth(spec.title.text, 14, true);
      // Bearings at both ends, rounding of the advances and kerning.
      expect((columns.at(-1)! - columns[0]) / 2 / width).toBeGreaterThan(0.95);
      expect((columns.at(-1)! - columns[0]) / 2 / width).toBeLessThan(1.02);
      expect(columns.length).toBeGreaterThan(0.6 * (columns.at(-1)! - columns[0]));
    }
  });
});

describe("in a browser", () => {
  it("draws the same SVG and the same PNG, byte for byte, without a request", async () => {
    const result = await build({
      configFile: false,
      logLevel: "error",
      plugins: config.plugins!,
      build: {
        write: false,
        minify: false,
        rollupOptions: { treeshake: false },
        target: "esnext",
        lib: {
          entry: fileURLToPath(new URL("page/main.ts", import.meta.url)),
          formats: ["iife"],
          name: "page",
        },
      },
    });
    const [{ output }] = result as { output: { code: string }[] }[];
    const page = await browser.newPage();
    const requests: string[] = [];
    page.on("request", (request) => requests.push(request.url()));
    await page.addScriptTag({ content: output[0].code });
    const rows = sweepRows();
    const files = await pictureFiles();
    const base64 = (bytes: Uint8Array): string => Buffer.from(bytes).toString("base64");
    const plain = { wasm: base64(files.wasm as Uint8Array), fonts: files.fonts.map(base64) };
    const drawn = await page.evaluate(([r, f]) => globalThis.drawPicture(r, f), [rows, plain] as const);
    const spec = metricByKPicture(rows);
    expect(drawn.svg).toBe(await renderSvg(spec, { width: 600 }));
    expect(drawn.png).toBe(base64(await renderPng(spec, { ...files, width: 600, scale: 1 })));
    expect(requests).toEqual([]);
    await page.close();
  });

  it("measures text as the browser does, in the font that pictures ask for", async () => {
    const { fonts } = await pictureFiles();
    const page = await browser.newPage();
    const samples = [
      "k (neurons that the probe reads)",
      "F1 of the best neuron",
      "0.123456789",
      "WiMl.,‖·",
      "Größe",
    ];
    const widths = await page.evaluate(
      async ([regular, texts]) => {
        const face = new FontFace(
          "DejaVu Sans",
          Uint8Array.from(atob(regular), (character) => character.charCodeAt(0)),
        );
        document.fonts.add(await face.load());
        const context = document.createElement("canvas").getContext("2d")!;
        context.font = "1200px 'DejaVu Sans'";
        context.fontKerning = "none";
        return texts.map((text) => context.measureText(text).width / 100);
      },
      [Buffer.from(fonts[0]).toString("base64"), samples] as const,
    );
    for (const [i, text] of samples.entries()) {
      // Advances are rounded to a hundredth of an em; beyond ASCII they are guessed.
      const guessed = Array.from(text).filter((c) => c > "~").length;
      expect(Math.abs(textWidth(text, 12) - widths[i])).toBeLessThan(
        12 * (0.005 * text.length + 0.4 * guessed),
      );
    }
    await page.close();
  });
});

describe("text", () => {
  it("breaks between parts, at spaces, and within words that are too long", () => {
    expect(wrapText("one two · three four", 1000, 12, false, 3)).toEqual(["one two · three four"]);
    expect(wrapText("one two · three four", 80, 12, false, 3)).toEqual(["one two", "three four"]);
    expect(wrapText("one two three", 60, 12, false, 3)).toEqual(["one two", "three"]);
    const lines = wrapText("x".repeat(50), 100, 12, false, 9);
    expect(lines.join("")).toBe("x".repeat(50));
    for (const line of lines) expect(textWidth(line, 12)).toBeLessThanOrEqual(100);
    const cut = wrapText("word ".repeat(100), 100, 12, false, 2);
    expect(cut).toHaveLength(2);
    expect(cut[1]).toMatch(/…$/);
    expect(wrapText("", 100, 12, false, 3)).toEqual([""]);
  });

  it("keeps characters whole where it is cut", () => {
    expect(shorten("😀😀😀😀", 30, 12)).toBe("😀…");
    expect(shorten("abc", 100, 12)).toBe("abc");
  });
});

interface Pixels {
  readonly width: number;
  readonly height: number;
  readonly pixel: (x: number, y: number) => number[];
}

/** A PNG of 8-bit RGBA without interlacing, read by the specification. */
function decodePng(png: Uint8Array): Pixels {
  const view = new DataView(png.buffer, png.byteOffset, png.byteLength);
  const [width, height] = [view.getUint32(16), view.getUint32(20)];
  expect([png[24], png[25], png[28]]).toEqual([8, 6, 0]);
  const parts: Uint8Array[] = [];
  for (let at = 8; at < png.length; at += 12 + view.getUint32(at)) {
    if (String.fromCharCode(...png.subarray(at + 4, at + 8)) === "IDAT") {
      parts.push(png.subarray(at + 8, at + 8 + view.getUint32(at)));
    }
  }
  const raw = inflateSync(Buffer.concat(parts));
  const stride = 4 * width;
  const out = new Uint8Array(stride * height);
  for (let y = 0; y < height; y++) {
    const filter = raw[y * (stride + 1)];
    for (let x = 0; x < stride; x++) {
      const left = x >= 4 ? out[y * stride + x - 4] : 0;
      const up = y > 0 ? out[(y - 1) * stride + x] : 0;
      const corner = x >= 4 && y > 0 ? out[(y - 1) * stride + x - 4] : 0;
      const predicted =
        filter === 0
          ? 0
          : filter === 1
            ? left
            : filter === 2
              ? up
              : filter === 3
                ? (left + up) >> 1
                : paeth(left, up, corner);
      out[y * stride + x] = raw[y * (stride + 1) + 1 + x] + predicted;
    }
  }
  return {
    width,
    height,
    pixel: (x, y) => Array.from(out.subarray(y * stride + 4 * x, y * stride + 4 * x + 3)),
  };
}

function paeth(left: number, up: number, corner: number): number {
  const estimate = left + up - corner;
  const a = Math.abs(estimate - left);
  const b = Math.abs(estimate - up);
  const c = Math.abs(estimate - corner);
  if (a <= b && a <= c) return left;
  return b <= c ? up : corner;
}
