import { readFile } from "node:fs/promises";
import { defineConfig, type Plugin } from "vitest/config";

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

export default defineConfig({
  plugins: [wgsl()],
  // Documentation and examples import the package by its name.
  resolve: {
    alias: {
      "sparseprobe/gpujs": new URL("src/gpujs.ts", import.meta.url).pathname,
      "sparseprobe/datasets": new URL("src/datasets.ts", import.meta.url).pathname,
      "sparseprobe/reports": new URL("src/reports.ts", import.meta.url).pathname,
      "sparseprobe/node": new URL("src/node.ts", import.meta.url).pathname,
      "sparseprobe/sweeps": new URL("src/sweeps.ts", import.meta.url).pathname,
      sparseprobe: new URL("src/index.ts", import.meta.url).pathname,
    },
  },
  test: {
    pool: "forks",
    include: ["test/**/*.test.ts"],
    globalSetup: ["test/support/software-gpu.ts"],
    testTimeout: 180_000,
    hookTimeout: 180_000,
  },
});
