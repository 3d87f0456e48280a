/** What users install: the packed tarball, in an empty folder, from ES modules, CommonJS and a Vite page. */
import { execFileSync } from "node:child_process";
import { cpSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { build, preview } from "vite";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { openChromium } from "../support/chromium.ts";

const ROOT = resolve(import.meta.dirname, "../..");
const folder = mkdtempSync(join(tmpdir(), "sparseprobe-consumer-"));
const run = (command: string, args: readonly string[], cwd: string): string =>
  execFileSync(command, args, {
    cwd,
    encoding: "utf8",
    maxBuffer: 2 ** 26,
    stdio: ["ignore", "pipe", "pipe"],
  });

let packed: string[] = [];

beforeAll(() => {
  const report = run("npm", ["pack", "--json", "--ignore-scripts", "--pack-destination", folder], ROOT);
  packed = (JSON.parse(report) as [{ files: { path: string }[] }])[0].files.map((file) => file.path);
  const tarball = readdirSync(folder).find((name) => name.endsWith(".tgz"))!;
  writeFileSync(join(folder, "package.json"), '{ "name": "consumer", "private": true, "type": "module" }');
  run("npm", ["install", "--no-audit", "--no-fund", "--prefer-offline", `./${tarball}`], folder);
  cpSync(join(ROOT, "test/consumers"), folder, { recursive: true });
});

afterAll(() => {
  rmSync(folder, { recursive: true, force: true });
});

describe("the packed tarball", () => {
  it("holds the build, the shaders and nothing of the workshop", () => {
    const tops = new Set(packed.map((path) => path.split("/")[0]));
    expect([...tops].sort()).toEqual([
      "CHANGELOG.md",
      "LICENSE",
      "README.md",
      "dist",
      "package.json",
      "shaders",
    ]);
    expect(packed).toContain("shaders/class-moments.wgsl");
  });

  it("says nothing of where it was built", () => {
    for (const path of packed.filter((path) => /\.(c?js|d\.c?ts)$/.test(path))) {
      expect(readFileSync(join(ROOT, path), "utf8").includes(ROOT), path).toBe(false);
    }
  });

  it("works from an ES module", () => {
    expect(run("node", ["esm.mjs"], folder)).toContain("esm ok");
  });

  it("brings a command line that runs by its name", () => {
    const { version } = JSON.parse(readFileSync(join(ROOT, "package.json"), "utf8")) as { version: string };
    expect(run("npx", ["--no-install", "sparseprobe", "--version"], folder).trim()).toBe(version);
    const model = join(ROOT, "examples/model/haystack-4m");
    const args = [
      "sparseprobe",
      "neuron",
      model,
      "--neurons",
      "L4.N688",
      "--backend",
      "cpu",
      "--json",
      "--quiet",
    ];
    expect(JSON.parse(run("npx", ["--no-install", ...args], folder))).toMatchObject({
      model: "haystack-4m",
      neurons: [{ layer: 4, neuron: 688 }],
    });
  });

  it("works from CommonJS, and says why it fell back where webgpu is not installed", () => {
    expect(run("node", ["cjs.cjs"], folder)).toContain("cjs ok");
  });

  it.each(["node16", "bundler"])("has types that a strict compiler accepts (%s resolution)", (resolution) => {
    const module = resolution === "node16" ? "node16" : "esnext";
    const files = resolution === "node16" ? ["types.ts", "types.cts"] : ["types.ts"];
    const options = `--noEmit --strict --target es2022 --lib es2022,dom --module ${module} --moduleResolution ${resolution}`;
    expect(
      run("node", [join(ROOT, "node_modules/typescript/bin/tsc"), ...options.split(" "), ...files], folder),
    ).toBe("");
  });

  it("keeps the packages webgpu and gpu.js out of the browser's entry", () => {
    const core = run("node", ["-p", "require.resolve('sparseprobe')"], folder).trim();
    const mention = /(?:from|import|require)\s*\(?\s*["'](?:webgpu|gpu\.js)["']/;
    const reachable = run(
      "node",
      [
        "--input-type=module",
        "-e",
        `
      import { readFileSync } from "node:fs"; import { dirname, resolve } from "node:path";
      const seen = new Set(), queue = [${JSON.stringify(core.replace(/\.cjs$/, ".js"))}];
      while (queue.length) { const f = queue.pop(); if (seen.has(f)) continue; seen.add(f);
        for (const m of readFileSync(f, "utf8").matchAll(/(?:from|import)\\s*\\(?\\s*["'](\\.[^"']+)["']/g)) queue.push(resolve(dirname(f), m[1])); }
      console.log([...seen].map((f) => readFileSync(f, "utf8")).join("\\n"));`,
      ],
      folder,
    );
    expect(reachable).not.toMatch(mention);
    expect(reachable).not.toMatch(/["']node:/);
  });

  it("builds into a Vite page that fits a probe on WebGPU in headless Chromium", async () => {
    const root = join(folder, "vite");
    await build({ root, logLevel: "error", build: { target: "esnext" } });
    const server = await preview({ root, logLevel: "error", preview: { port: 0, host: "localhost" } });
    const browser = await openChromium();
    try {
      const page = await browser.newPage();
      const problems: string[] = [];
      page.on("pageerror", (error) => problems.push(String(error)));
      page.on("console", (message) => {
        if (message.type() === "error") problems.push(message.text());
      });
      await page.goto(server.resolvedUrls!.local[0]);
      const result = page.locator("#result");
      await expect
        .poll(async () => [...problems, await result.textContent()].join("\n"), { timeout: 60_000 })
        .not.toBe("running");
      expect(problems).toEqual([]);
      const [cpu, webgpu] = JSON.parse((await result.textContent())!) as {
        kind: string;
        support: number[];
        coefficients: number[];
        intercept: number;
        accuracy: number;
      }[];
      expect(cpu.kind).toBe("cpu");
      expect(webgpu.kind).toBe("webgpu");
      expect(webgpu.support).toEqual(cpu.support);
      expect(webgpu.accuracy).toBe(cpu.accuracy);
      // Both are certified to a Newton decrement of 1e-16, which bounds the error against the largest coefficient.
      const bound = 1e-6 * Math.max(...cpu.coefficients.map(Math.abs));
      for (const [i, want] of [...cpu.coefficients, cpu.intercept].entries()) {
        const got = [...webgpu.coefficients, webgpu.intercept][i];
        expect(Math.abs(got - want)).toBeLessThanOrEqual(bound);
      }
    } finally {
      await browser.close();
      await server.close();
    }
  });
});
