/** The compiled kernels are those of the sources, small, and run in both kinds of memory. */
import { readFile } from "node:fs/promises";
import { gzipSync } from "node:zlib";
import { describe, expect, it } from "vitest";
import { supportedVariant } from "../../src/backends/cpu/wasm/kernel-variant.ts";
import { importSharedMemory } from "../../src/backends/cpu/wasm/load-kernels.ts";

const WASM = new URL("../../src/backends/cpu/wasm/", import.meta.url);
const VARIANTS = ["simd", "relaxed-simd"] as const;

const bytesOf = async (variant: string): Promise<Uint8Array<ArrayBuffer>> => {
  const url = new URL(`kernels-${variant}.generated.ts`, WASM).href;
  const { KERNELS_BASE64 } = (await import(url)) as { KERNELS_BASE64: string };
  return Uint8Array.from(Buffer.from(KERNELS_BASE64, "base64"));
};

describe.each(VARIANTS)("kernels for %s", (variant) => {
  it("are what the sources compile to", async () => {
    const { buildKernels } = (await import(new URL("assembly/build.mjs", WASM).href)) as {
      buildKernels: (variant: string) => Promise<string>;
    };
    const committed = new URL(`kernels-${variant}.generated.ts`, WASM);
    // Not toBe(): a difference would print both texts.
    expect((await buildKernels(variant)) === (await readFile(committed, "utf8"))).toBe(true);
  });

  it("are below 40 kB to download", async () => {
    expect(gzipSync(await bytesOf(variant)).length).toBeLessThan(40_000);
  });

  it("import a shared memory after one changed byte", async () => {
    const plain = await bytesOf(variant);
    const shared = plain.slice();
    importSharedMemory(shared);
    expect([...shared.entries()].filter(([at, byte]) => byte !== plain[at])).toHaveLength(1);
    if (variant === "relaxed-simd" && supportedVariant() !== variant) {
      expect(() => new WebAssembly.Module(shared)).toThrow(WebAssembly.CompileError);
      return;
    }
    const link = (bytes: Uint8Array<ArrayBuffer>, isShared: boolean): WebAssembly.Instance =>
      new WebAssembly.Instance(new WebAssembly.Module(bytes), {
        env: { memory: new WebAssembly.Memory({ initial: 1, maximum: 65_536, shared: isShared }) },
      });
    expect(link(plain, false).exports).toHaveProperty("gatherRows");
    expect(link(shared, true).exports).toHaveProperty("gatherRows");
    expect(() => link(plain, true)).toThrow(WebAssembly.LinkError);
  });
});

it("the supported variant is one that compiles here", async () => {
  const variant = supportedVariant();
  expect(VARIANTS).toContain(variant);
  expect(WebAssembly.validate(await bytesOf(variant!))).toBe(true);
  expect(WebAssembly.validate(await bytesOf("relaxed-simd"))).toBe(variant === "relaxed-simd");
});
