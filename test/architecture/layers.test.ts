/** The folders are layers: imports point down, without cycles, and platform types stay where they belong. */
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { dirname, extname, join, relative, resolve } from "node:path";
import { describe, expect, it } from "vitest";

const SRC = resolve(import.meta.dirname, "../../src");

/** Lower number, lower layer. A unit is a folder or a file directly under src. */
const LAYERS: Record<string, number> = {
  "wgsl.d.ts": 0,
  "errors.ts": 0,
  "random.ts": 0,
  data: 1,
  io: 2,
  metrics: 2,
  backends: 3,
  ranking: 4,
  probes: 4,
  regression: 4,
  optimal: 4,
  model: 4,
  datasets: 4,
  capture: 5,
  hub: 5,
  evidence: 5,
  statistics: 5,
  interventions: 5,
  sweeps: 6,
  reports: 7,
  node: 8,
  cli: 9,
  "index.ts": 10,
  "datasets.ts": 10,
  "sweeps.ts": 10,
  "reports.ts": 10,
  "gpujs.ts": 10,
  "node.ts": 10,
  "cli.ts": 10,
};

interface SourceFile {
  readonly path: string;
  readonly unit: string;
  /** Source without comments. */
  readonly code: string;
  /** Module specifiers, static and dynamic. */
  readonly imports: readonly string[];
}

const files: SourceFile[] = readdirSync(SRC, { recursive: true, encoding: "utf8" })
  .filter((path) => path.endsWith(".ts") && !path.includes(join("wasm", "assembly")))
  .map((path) => {
    const text = readFileSync(join(SRC, path), "utf8");
    const code = text.replace(/\/\*[\s\S]*?\*\//g, "").replace(/(^|\s)\/\/.*$/gm, "$1");
    const imports = [...code.matchAll(/(?:\bfrom|\bimport)\s*\(?\s*"([^"]+)"/g)].map((match) =>
      match[1].replace(/\?page$/, ""),
    );
    return { path, unit: path.split(/[\\/]/)[0], code, imports };
  });

/** The unit under src that a relative import of `file` leads to; undefined for packages. */
function targetUnit(file: SourceFile, specifier: string): string | undefined {
  if (!specifier.startsWith(".")) return undefined;
  return relative(SRC, resolve(SRC, dirname(file.path), specifier)).split(/[\\/]/)[0];
}

describe("source layers", () => {
  it("every folder and top-level file has a layer", () => {
    expect([...new Set(files.map((file) => file.unit))].filter((unit) => !(unit in LAYERS))).toEqual([]);
  });

  it("imports point down", () => {
    const wrong = files.flatMap((file) =>
      file.imports
        .map((specifier) => targetUnit(file, specifier))
        .filter((unit) => unit !== undefined && unit !== file.unit && LAYERS[unit] > LAYERS[file.unit])
        .map((unit) => `${file.path} imports ${unit}`),
    );
    expect(wrong).toEqual([]);
  });

  it("no file imports itself through others", () => {
    const graph = new Map(
      files.map((file) => [
        resolve(SRC, file.path),
        file.imports.filter((s) => s.startsWith(".")).map((s) => resolve(SRC, dirname(file.path), s)),
      ]),
    );
    const done = new Set<string>();
    const cycles: string[] = [];
    const visit = (path: string, trail: readonly string[]): void => {
      if (trail.includes(path)) {
        cycles.push([...trail.slice(trail.indexOf(path)), path].map((p) => relative(SRC, p)).join(" → "));
        return;
      }
      if (done.has(path)) return;
      for (const next of graph.get(path) ?? []) visit(next, [...trail, path]);
      done.add(path);
    };
    for (const path of graph.keys()) visit(path, []);
    expect(cycles).toEqual([]);
  });

  it("folders of one layer do not import each other in circles", () => {
    const pairs = new Set(
      files.flatMap((file) =>
        file.imports
          .map((specifier) => targetUnit(file, specifier))
          .filter((unit) => unit !== undefined && unit !== file.unit && LAYERS[unit] === LAYERS[file.unit])
          .map((unit) => `${file.unit} ${unit}`),
      ),
    );
    expect([...pairs].filter((pair) => pairs.has(pair.split(" ").reverse().join(" ")))).toEqual([]);
  });

  it("relative imports exist and carry their extension", () => {
    const exists = (path: string): boolean => extname(path) !== "" && existsSync(path);
    const broken = files.flatMap((file) =>
      file.imports
        .filter((s) => s.startsWith(".") && !exists(resolve(SRC, dirname(file.path), s)))
        .map((s) => `${file.path}: ${s}`),
    );
    expect(broken).toEqual([]);
  });

  it("GPU types appear only in the WebGPU backend and in Node's acquisition of a device", () => {
    const allowed = (path: string): boolean => /^(backends[\\/]webgpu|node)[\\/]/.test(path);
    const wrong = files.filter((file) => !allowed(file.path) && /\bGPU[A-Z]\w*/.test(file.code));
    expect(wrong.map((file) => file.path)).toEqual([]);
  });

  it("node: modules and the webgpu package appear only behind the Node entry and the command line", () => {
    const wrong = files.flatMap((file) =>
      ["node.ts", "cli.ts"].includes(file.path) || ["node", "cli"].includes(file.unit)
        ? []
        : file.imports
            .filter((s) => s.startsWith("node:") || s === "webgpu")
            .map((s) => `${file.path}: ${s}`),
    );
    expect(wrong).toEqual([]);
  });

  it("gpu.js appears only behind its own entry", () => {
    const wrong = files.filter((file) => file.path !== "gpujs.ts" && file.imports.includes("gpu.js"));
    expect(wrong.map((file) => file.path)).toEqual([]);
  });

  it("randomness comes from src/random.ts alone", () => {
    expect(files.filter((file) => file.code.includes("Math.random")).map((file) => file.path)).toEqual([]);
  });

  it("WGSL lives in shaders/ alone", () => {
    const wrong = files.filter((file) => /@compute|@group\(/.test(file.code));
    expect(wrong.map((file) => file.path)).toEqual([]);
  });
});
