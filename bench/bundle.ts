/**
 * `npm run bench:bundle`: everything that the bench needs, in one folder of plain ES modules, for a machine that has Node,
 * perhaps Python, and no npm. Run `node bench/run.mjs` in it, with the options of `npm run bench`. Holds the GPU package for
 * this machine's own platform only. Out of git: out/bench.
 */
import { execFileSync } from "node:child_process";
import { cpSync, mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join, resolve } from "node:path";
import { build } from "tsup";
import { compileLimits, LIMITS, type LimitsName } from "./assembly/build.mjs";

const ROOT = resolve(import.meta.dirname, "..");
const OUT = join(ROOT, "out/bench");
const require = createRequire(import.meta.url);

interface Manifest {
  readonly name: string;
  readonly version: string;
  readonly type: string;
  readonly exports: object;
  readonly dependencies: Readonly<Record<string, string>>;
}

const manifest = JSON.parse(readFileSync(join(ROOT, "package.json"), "utf8")) as Manifest;

/** Copies an installed package, or the parts of it that are named. */
function copyPackage(name: string, parts: readonly string[] = ["."]): void {
  // The entry point may lie deeper than the package's own folder.
  let from = dirname(require.resolve(name));
  while (!from.endsWith(join("node_modules", name))) from = dirname(from);
  for (const part of parts) {
    cpSync(join(from, part), join(OUT, "node_modules", name, part), { recursive: true, dereference: true });
  }
}

rmSync(OUT, { recursive: true, force: true });
await build({
  config: false,
  silent: true,
  entry: ["run.ts", "run-job.ts"].map((name) => join(import.meta.dirname, name)),
  outDir: join(OUT, "bench"),
  format: "esm",
  outExtension: () => ({ js: ".mjs" }),
  platform: "node",
  target: "node20",
  removeNodeProtocol: false,
  external: ["sparseprobe", "sparseprobe/node", "assemblyscript", "assemblyscript/asc"],
});
for (const name of Object.keys(LIMITS) as LimitsName[]) {
  writeFileSync(join(OUT, "bench", name), await compileLimits(name));
}
for (const name of ["rivals", "quick-floors.json"]) {
  cpSync(join(import.meta.dirname, name), join(OUT, "bench", name), {
    recursive: true,
    filter: (path) => !path.includes("__pycache__"),
  });
}
for (const name of ["model", "data"]) {
  cpSync(join(ROOT, "examples", name), join(OUT, "examples", name), { recursive: true });
}
const library = join(OUT, "node_modules", manifest.name);
mkdirSync(library, { recursive: true });
cpSync(join(ROOT, "package.json"), join(library, "package.json"));
cpSync(join(ROOT, "dist"), join(library, "dist"), {
  recursive: true,
  filter: (path) => !/\.(map|cjs|d\.[cm]?ts)$/.test(path),
});
for (const name of Object.keys(manifest.dependencies)) copyPackage(name);
copyPackage("webgpu", ["index.js", "package.json", `dist/${process.platform}-${process.arch}`]);
const gitHead = execFileSync("git", ["rev-parse", "--short", "HEAD"], { cwd: ROOT, encoding: "utf8" }).trim();
const { version } = manifest;
writeFileSync(
  join(OUT, "package.json"),
  JSON.stringify({ name: "sparseprobe-bench", private: true, type: "module", version, gitHead }),
);
console.log(OUT);
