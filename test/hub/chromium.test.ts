/** A model from a hub in headless Chromium: redirects that a page cannot see, CORS, and the Cache Storage. */
import { fileURLToPath } from "node:url";
import type { Browser } from "playwright";
import { build } from "vite";
import { afterAll, beforeAll, expect, it } from "vitest";
import { createCpuBackend } from "../../src/backends/cpu/cpu-backend.ts";
import { loadModelFolder } from "../../src/node/model.ts";
import config from "../../vitest.config.ts";
import { openChromium } from "../support/chromium.ts";
import { HubServer, modelPath, NAME, sha256 } from "./hub-server.ts";

const TOKEN = "hf_0123456789secret";

let browser: Browser;
let hub: HubServer;
beforeAll(async () => {
  hub = await HubServer.start();
  browser = await openChromium();
});
afterAll(async () => {
  await browser.close();
  await hub.stop();
});

it("loads in a page, keeps the files there, and shows the token to the hub alone", async () => {
  const result = await build({
    configFile: false,
    logLevel: "error",
    plugins: config.plugins!,
    build: {
      write: false,
      target: "esnext",
      lib: {
        entry: fileURLToPath(new URL("page/main.ts", import.meta.url)),
        formats: ["iife"],
        name: "page",
      },
    },
  });
  const [{ output }] = result as { output: { code: string }[] }[];
  hub.secret = TOKEN;
  const page = await browser.newPage();
  const address = hub.endpoint.replace("127.0.0.1", "localhost");
  const inPage = async (): Promise<number[]> => {
    await page.goto(address);
    await page.addScriptTag({ content: output[0].code });
    return page.evaluate(([name, endpoint, token]) => globalThis.fromHub(name, endpoint, token), [
      NAME,
      hub.endpoint,
      TOKEN,
    ] as const);
  };

  const got = await inPage();
  const local = await loadModelFolder(modelPath, createCpuBackend());
  const tokens = Uint32Array.of(5, 100, 42, 7);
  const { logits } = await local.transformer.forward(
    { tokens, offsets: Uint32Array.of(0, tokens.length) },
    { hookPoints: [], logits: "last" },
  );
  local.dispose();
  // The same kernels, but the browser may have relaxed SIMD where this Node has not: a few roundings of the largest.
  const largest = Math.max(...logits!.map(Math.abs));
  expect(got).toHaveLength(logits!.length);
  for (const [i, value] of got.entries()) expect(Math.abs(value - logits![i])).toBeLessThan(1e-5 * largest);

  const seen = (host: string): Set<string | undefined> =>
    new Set(hub.requests.filter((request) => request.host === host).map((request) => request.authorization));
  expect(seen("hub")).toEqual(new Set([`Bearer ${TOKEN}`]));
  expect(seen("content")).toEqual(new Set([undefined]));
  expect(hub.bodies(sha256(hub.files.get("model.safetensors")!)).length).toBeGreaterThan(0);

  // After a reload only the branch is asked for.
  hub.requests.length = 0;
  expect(await inPage()).toEqual(got);
  expect(hub.requests.map(({ method, path }) => `${method} ${path}`)).toEqual([
    `HEAD /${NAME}/resolve/main/config.json`,
  ]);
});
