import { readdirSync, readFileSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { dirname, join, relative, resolve } from "node:path";
import { defineConfig, type Options } from "tsup";
import { pageText } from "./page-text.config.ts";

const ROOT = import.meta.dirname;
const SRC = join(ROOT, "src");
const CORE = join(SRC, "index.ts");
/** Entries that build on the whole core. */
const UPON_CORE = ["datasets", "sweeps", "reports", "cli"];

/**
 * Keeps the core in one file. What is loaded only when it is called shares much with the core, each piece something else, and
 * the bundler would cut the core into as many chunks as there are ways of sharing: files that every import has to open. A
 * chunk that is loaded later depends on the whole core here, which is loaded by then anyway.
 */
const oneCore: NonNullable<Options["esbuildPlugins"]>[number] = {
  name: "one-core",
  setup(build) {
    const later = loadedLater();
    for (const name of UPON_CORE) later.add(join(SRC, `${name}.ts`));
    build.onResolve({ filter: /^core:all$/ }, () => ({ path: CORE, sideEffects: true }));
    build.onLoad({ filter: /[\\/]src[\\/].*\.ts$/ }, async ({ path }) => {
      if (!later.has(path)) return undefined;
      return { contents: `${await readFile(path, "utf8")}\nimport "core:all";`, loader: "ts" };
    });
  },
};

/** Scripts and styles of pages are text. */
const page: NonNullable<Options["esbuildPlugins"]>[number] = {
  name: "page-text",
  setup(build) {
    // With a name that ends in ".css", a style sheet would be taken for one of the package's own by a step that follows.
    build.onResolve({ filter: /\?page$/ }, ({ path, resolveDir }) => ({
      // From the root: paths stand in the comments of what is built.
      path: `${relative(ROOT, resolve(resolveDir, path.slice(0, -"?page".length)))}.text`,
      namespace: "page-text",
    }));
    build.onLoad({ filter: /^/, namespace: "page-text" }, async ({ path }) => ({
      contents: await pageText(resolve(ROOT, path.slice(0, -".text".length))),
      loader: "text",
    }));
  },
};

/** Files under src that some `import()` names. */
function loadedLater(): Set<string> {
  const later = new Set<string>();
  for (const name of readdirSync(SRC, { recursive: true, encoding: "utf8" })) {
    if (!name.endsWith(".ts")) continue;
    const path = join(SRC, name);
    for (const [, target] of readFileSync(path, "utf8").matchAll(/\bimport\("(\.[^"]+)"\)/g)) {
      later.add(resolve(dirname(path), target));
    }
  }
  return later;
}

export default defineConfig({
  entry: Object.fromEntries(["index", "node", "gpujs", ...UPON_CORE].map((name) => [name, `src/${name}.ts`])),
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
  external: ["webgpu", "gpu.js", "vega", "vega-lite", "hyparquet-writer", /^@resvg\//, /^node:/],
  esbuildPlugins: [page, oneCore],
  dts: { compilerOptions: { ignoreDeprecations: "6.0" } },
});
