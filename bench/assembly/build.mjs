/**
 * Compiles limits.ts. Plain JavaScript, since AssemblyScript's own types redefine globals such as `Array.prototype.at`
 * for every TypeScript program that imports its compiler.
 */
import { fileURLToPath } from "node:url";
import asc from "assemblyscript/asc";

/** @returns {Promise<Uint8Array>} the WebAssembly module */
export async function compileLimits() {
  let binary;
  const { error } = await asc.main(
    [
      "limits.ts",
      "--baseDir",
      fileURLToPath(new URL(".", import.meta.url)),
      "--outFile",
      "limits.wasm",
      ..."--runtime stub --importMemory --enable simd -O3 --noAssert --use abort=".split(" "),
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
