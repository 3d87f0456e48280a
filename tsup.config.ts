import { defineConfig } from "tsup";

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
  dts: { compilerOptions: { ignoreDeprecations: "6.0" } },
});
