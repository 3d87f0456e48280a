/** The conformance suite in headless Chromium: gpu.js on WebGL2, and the CPU kernels with and without shared memory. */
import { fileURLToPath } from "node:url";
import type { Browser, Page } from "playwright";
import { build } from "vite";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { openChromium } from "../support/chromium.ts";
import config from "../../vitest.config.ts";
import type { CaseResult } from "./page/vitest.ts";

const PAGE = new URL("page/", import.meta.url);
const pageFile = (name: string): string => fileURLToPath(new URL(name, PAGE));

/** The suite as one classic script, minified like a user's page: kernels must survive that. */
async function bundle(subject: "gpujs" | "cpu"): Promise<string> {
  const result = await build({
    configFile: false,
    logLevel: "error",
    plugins: [
      ...config.plugins!,
      {
        name: "page-modules",
        enforce: "pre",
        resolveId: (id) => {
          if (id === "vitest") return pageFile("vitest.ts");
          if (id === "./implementations.ts") return pageFile(`${subject}-implementations.ts`);
          // The package says that its modules have no side effects; a suite has nothing else.
          if (id === "../backend.test.ts" || id === "./gpujs-cases.ts") {
            const file = id.startsWith("..") ? id : `${subject}-cases.ts`;
            return { id: pageFile(file), moduleSideEffects: true };
          }
          return undefined;
        },
      },
    ],
    build: {
      write: false,
      target: "esnext",
      minify: "esbuild",
      lib: { entry: pageFile("main.ts"), formats: ["iife"], name: "conformance" },
    },
    define: { "process.env.NODE_ENV": '"production"' },
  });
  const [{ output }] = result as { output: { code: string }[] }[];
  return output[0].code;
}

let browser: Browser;
beforeAll(async () => {
  browser = await openChromium();
});
afterAll(() => browser.close());

/** An empty page; isolated from others when its threads are to share memory. */
async function openPage(isolated: boolean): Promise<Page> {
  const page = await browser.newPage();
  await page.route("http://localhost/", (route) =>
    route.fulfill({
      contentType: "text/html",
      body: "<!doctype html><title>sparseprobe</title>",
      headers: isolated
        ? { "cross-origin-opener-policy": "same-origin", "cross-origin-embedder-policy": "require-corp" }
        : {},
    }),
  );
  await page.goto("http://localhost/");
  return page;
}

/** Runs the suite; every case must pass and nothing may be complained of. */
async function passSuite(page: Page, script: string): Promise<void> {
  const problems: string[] = [];
  page.on("console", (message) => {
    // Chromium remarks on every read of a texture; gpu.js' own probing of the context reads one at once.
    if (/Performance.*ReadPixels/.test(message.text())) return;
    if (message.type() === "warning" || message.type() === "error") problems.push(message.text());
  });
  await page.addScriptTag({ content: script });
  page.on("pageerror", (error) => problems.push(String(error)));
  const results = await page.evaluate<readonly CaseResult[]>("conformanceResults");
  const failures = results.filter(({ failure }) => failure !== undefined);
  expect(failures.map(({ name, failure }) => `${name}\n${failure}`).join("\n\n")).toBe("");
  expect(results.length).toBeGreaterThan(35);
  expect(problems).toEqual([]);
}

describe("gpu.js in headless Chromium", () => {
  let page: Page;
  beforeAll(async () => {
    page = await openPage(false);
  });

  it("has a WebGL2 that draws to float32 textures", async () => {
    const got = await page.evaluate(() => {
      const gl = document.createElement("canvas").getContext("webgl2");
      return {
        context: gl !== null,
        float: gl?.getExtension("EXT_color_buffer_float") !== null,
        bits: gl?.getShaderPrecisionFormat(gl.FRAGMENT_SHADER, gl.HIGH_FLOAT)?.precision,
      };
    });
    expect(got).toEqual({ context: true, float: true, bits: 23 });
  });

  it("passes the conformance suite", async () => {
    await passSuite(page, await bundle("gpujs"));
  });
});

describe("the CPU kernels in headless Chromium", () => {
  let script: string;
  beforeAll(async () => {
    script = await bundle("cpu");
  });

  it("pass the conformance suite with threads, in a page that is cross-origin isolated", async () => {
    const page = await openPage(true);
    expect(await page.evaluate("crossOriginIsolated")).toBe(true);
    await passSuite(page, script);
  });

  it("pass the conformance suite on one thread, in a page that is not", async () => {
    const page = await openPage(false);
    expect(await page.evaluate("typeof SharedArrayBuffer")).toBe("undefined");
    await passSuite(page, script);
  });
});
