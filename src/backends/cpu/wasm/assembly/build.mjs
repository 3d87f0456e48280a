/**
 * Compiles the kernels to kernels.generated.ts. `buildKernels()` returns the text; run as a program, it writes the file.
 */
import { writeFile } from "node:fs/promises";
import { fileURLToPath } from "node:url";
import asc from "assemblyscript/asc";

const here = new URL(".", import.meta.url);

export async function buildKernels() {
  let wasm;
  const { error, stderr } = await asc.main(
    [
      "index.ts",
      "--baseDir",
      fileURLToPath(here),
      "--outFile",
      "kernels.wasm",
      ..."--runtime stub --importMemory --initialMemory 1 --maximumMemory 65536 --enable simd".split(" "),
      ..."-O3 --noAssert --converge --use abort=".split(" "),
    ],
    {
      writeFile: (name, contents) => {
        if (name === "kernels.wasm") wasm = contents;
      },
    },
  );
  if (error) throw new Error(`The kernels did not compile: ${error.message}\n${stderr.toString()}`);
  return (
    "/** Compiled from assembly/ by `npm run build:wasm`: do not edit. */\n" +
    `export const KERNELS_BASE64: string =\n  "${Buffer.from(wasm).toString("base64")}";\n`
  );
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const text = await buildKernels();
  await writeFile(new URL("../kernels.generated.ts", here), text);
  console.log(`kernels.generated.ts: ${text.length} characters`);
}
