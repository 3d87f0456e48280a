/**
 * Compiles limits.ts. Plain JavaScript, since AssemblyScript's own types redefine globals such as `Array.prototype.at`
 * for every TypeScript program that imports its compiler.
 */
import { fileURLToPath } from "node:url";
import asc from "assemblyscript/asc";

/** What files that hold a module are called, and engine features by name. */
export const LIMITS = { "limits.wasm": ["simd"], "limits-relaxed.wasm": ["simd", "relaxed-simd"] };

/** @returns {Promise<Uint8Array>} the WebAssembly module of that name */
export async function compileLimits(name) {
  let binary;
  const { error } = await asc.main(
    [
      "limits.ts",
      "--baseDir",
      fileURLToPath(new URL(".", import.meta.url)),
      "--outFile",
      "limits.wasm",
      ...LIMITS[name].flatMap((feature) => ["--enable", feature]),
      ..."--runtime stub --importMemory -O3 --noAssert --use abort=".split(" "),
    ],
    {
      writeFile: (name, contents) => {
        if (name === "limits.wasm") binary = contents;
      },
    },
  );
  if (error || !binary) throw new Error(`limits.ts did not compile: ${error?.message ?? "no output"}`);
  return binary;
}
