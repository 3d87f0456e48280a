import { readFile } from "node:fs/promises";
import { availableParallelism } from "node:os";
import { dirname, resolve } from "node:path";
import { defineConfig, type Plugin } from "vitest/config";
import { pageText } from "./page-text.config.ts";

/** WGSL files are text, as in the build. */
function wgsl(): Plugin {
  return {
    name: "wgsl-text",
    enforce: "pre",
    async load(id) {
      if (!id.endsWith(".wgsl")) return undefined;
      return `export default ${JSON.stringify(await readFile(id, "utf8"))};`;
    },
  };
}

/** Scripts and styles of pages are text, as in the build. */
function page(): Plugin {
  return {
    name: "page-text",
    enforce: "pre",
    // Under a name without its extension: Vite would take a style sheet for one of its own.
    resolveId(source, importer) {
      if (!source.endsWith("?page") || !importer) return undefined;
      return `\0page-text:${resolve(dirname(importer), source.slice(0, -"?page".length))}.text`;
    },
    async load(id) {
      const path = /^\0page-text:(.*)\.text$/.exec(id)?.[1];
      return path === undefined ? undefined : `export default ${JSON.stringify(await pageText(path))};`;
    },
  };
}

export default defineConfig({
  plugins: [wgsl(), page()],
  // Documentation and examples import the package by its name.
  resolve: {
    alias: {
      "sparseprobe/datasets": new URL("src/datasets.ts", import.meta.url).pathname,
      "sparseprobe/gpujs": new URL("src/gpujs.ts", import.meta.url).pathname,
      "sparseprobe/node": new URL("src/node.ts", import.meta.url).pathname,
      "sparseprobe/reports": new URL("src/reports.ts", import.meta.url).pathname,
      "sparseprobe/sweeps": new URL("src/sweeps.ts", import.meta.url).pathname,
      sparseprobe: new URL("src/index.ts", import.meta.url).pathname,
    },
  },
  test: {
    pool: "forks",
    // Many tests wait, for a browser or a program of their own: on two cores as well, two files at a time take two thirds of the time.
    maxWorkers: Math.max(2, availableParallelism() - 1),
    include: ["test/**/*.test.ts"],
    setupFiles: ["test/support/guard-kernel-memory.ts"],
    globalSetup: ["test/support/software-gpu.ts"],
    testTimeout: 180_000,
    hookTimeout: 180_000,
  },
});
