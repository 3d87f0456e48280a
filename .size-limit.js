/**
 * Limits on what users load, minified and gzipped; `npm run size` checks the built package.
 *
 * What the core loads only when it is wanted (the GPU's code, the CPU's kernels, the tokeniser, the study of texts, L1 probes) is not part of it: a
 * dynamic import stays outside the bundle.
 */
const lazyChunks = {
  name: "lazy-chunks",
  setup(build) {
    build.onResolve({ filter: /./ }, ({ kind, path }) =>
      kind === "dynamic-import" ? { path, external: true } : undefined,
    );
  },
};

const bundle = (config) => ({ ...config, format: "esm", plugins: [lazyChunks] });

export default [
  {
    name: "everything of `sparseprobe` before a backend is made",
    path: "dist/index.js",
    import: "*",
    limit: "30 kB",
    gzip: true,
    modifyEsbuildConfig: bundle,
  },
  // An engine loads one of the two.
  ...["simd", "relaxed-simd"].map((variant) => ({
    name: `the CPU's WebAssembly kernels, ${variant}`,
    path: `src/backends/cpu/wasm/kernels-${variant}.generated.ts`,
    limit: "40 kB",
    gzip: true,
    modifyEsbuildConfig: bundle,
  })),
];
