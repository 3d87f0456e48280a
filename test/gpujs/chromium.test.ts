/** The backend on gpu.js where it belongs: WebGL2 in a browser. */
import { fileURLToPath } from "node:url";
import type { Browser, Page } from "playwright";
import { build } from "vite";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { openChromium } from "../support/chromium.ts";
import config from "../../vitest.config.ts";
import type { CaseResult } from "../conformance/page/vitest.ts";

const PAGE = new URL("../conformance/page/", import.meta.url);
const pageFile = (name: string): string => fileURLToPath(new URL(name, PAGE));

/** The suite as one classic script, minified like a user's page: kernels must survive that. */
async function bundle(): Promise<string> {
  const result = await build({
    configFile: false,
    logLevel: "error",
    plugins: [
      ...config.plugins!,
      {
        name: "page-modules",
        enforce: "pre",
        resolveId: (id) => {
          if (id === "vitest" || id === "./implementations.ts")
            return pageFile(id.replace(/(\.ts)?$/, ".ts"));
          // The package says that its modules have no side effects; a suite has nothing else.
          if (id === "../backend.test.ts" || id === "./webgl2.ts")
            return { id: pageFile(id), moduleSideEffects: true };
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
let page: Page;
let script: string;

beforeAll(async () => {
  script = await bundle();
  browser = await openChromium();
  page = await browser.newPage();
});
afterAll(() => browser.close());

describe("gpu.js in headless Chromium", () => {
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
    expect(results.length).toBeGreaterThan(60);
    expect(problems).toEqual([]);
  });
});
