/**
 * Compiles the kernels twice, with and without relaxed SIMD (fused multiply–add), to kernels-*.generated.ts.
 * `buildKernels(variant)` returns the text; run as a program, it writes the files.
 */
import { writeFile } from "node:fs/promises";
import { fileURLToPath } from "node:url";
import asc from "assemblyscript/asc";

const here = new URL(".", import.meta.url);

/** Variants by name, with the features that they need. */
export const VARIANTS = { simd: ["simd"], "relaxed-simd": ["simd", "relaxed-simd"] };

export async function buildKernels(variant) {
  let wasm;
  const { error, stderr } = await asc.main(
    [
      "index.ts",
      "--baseDir",
      fileURLToPath(here),
      "--outFile",
      "kernels.wasm",
      ..."--runtime stub --importMemory --initialMemory 1 --maximumMemory 65536".split(" "),
      ...VARIANTS[variant].flatMap((feature) => ["--enable", feature]),
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
  for (const variant of Object.keys(VARIANTS)) {
    const text = await buildKernels(variant);
    await writeFile(new URL(`../kernels-${variant}.generated.ts`, here), text);
    console.log(`kernels-${variant}.generated.ts: ${text.length} characters`);
  }
}
