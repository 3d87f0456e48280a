import { readFile } from "node:fs/promises";
import { resolve } from "node:path";
import { defineConfig, type Options } from "tsup";

const CORE = resolve(import.meta.dirname, "src/index.ts");

/**
 * Keeps the core in one file. What is loaded only when it is called shares much with the core, each piece something else, and
 * the bundler would cut the core into as many chunks as there are ways of sharing: files that every import has to open. A
 * chunk that is loaded later depends on the whole core here, which is loaded by then anyway.
 */
const oneCore: NonNullable<Options["esbuildPlugins"]>[number] = {
  name: "one-core",
  setup(build) {
    const later = new Set<string>();
    build.onResolve({ filter: /^\./ }, ({ kind, path, resolveDir }) => {
      if (kind === "dynamic-import") later.add(resolve(resolveDir, path));
      return undefined;
    });
    build.onResolve({ filter: /^core:all$/ }, () => ({ path: CORE, sideEffects: true }));
    build.onLoad({ filter: /[\\/]src[\\/].*\.ts$/ }, async ({ path }) => {
      if (!later.has(path)) return undefined;
      return { contents: `import "core:all";\n${await readFile(path, "utf8")}`, loader: "ts" };
    });
  },
};

export default defineConfig({
  entry: { index: "src/index.ts", node: "src/node.ts", gpujs: "src/gpujs.ts" },
  format: ["esm", "cjs"],
  target: "es2022",
  platform: "neutral",
  // One copy of every class, however many entries import it: `instanceof` must hold across them.
  splitting: true,
  removeNodeProtocol: false,
  clean: true,
  sourcemap: true,
  treeshake: true,
  loader: { ".wgsl": "text" },
  external: ["webgpu", "gpu.js", /^node:/],
  esbuildPlugins: [oneCore],
  dts: { compilerOptions: { ignoreDeprecations: "6.0" } },
});
