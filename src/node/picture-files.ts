/** What PNGs are drawn with, from the packages that hold it. */
import { readFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { dirname } from "node:path";
import { fileURLToPath } from "node:url";
import { MissingPackageError } from "../errors.ts";
import type { PngFiles } from "../reports/render-png.ts";

/** Of DejaVu Sans: what pictures use. */
const FONTS = ["DejaVuSans.ttf", "DejaVuSans-Bold.ttf"];

let loaded: Promise<PngFiles> | undefined;

/**
 * The fonts and the WebAssembly module that `renderPng` draws with, from the optional packages `dejavu-fonts-ttf` and
 * `@resvg/resvg-wasm`, read once.
 *
 * @throws MissingPackageError when one of them is not installed
 * @example
 * const png = await renderPng(picture, { ...(await pictureFiles()), scale: 2 });
 */
export async function pictureFiles(): Promise<PngFiles> {
  loaded ??= load();
  try {
    return await loaded;
  } catch (error) {
    // Packages may be installed later.
    loaded = undefined;
    throw error;
  }
}

async function load(): Promise<PngFiles> {
  const fonts = FONTS.map((name) => packageFile("dejavu-fonts-ttf", `ttf/${name}`));
  const [wasm, ...rest] = await Promise.all([packageFile("@resvg/resvg-wasm", "index_bg.wasm"), ...fonts]);
  return { wasm, fonts: rest };
}

async function packageFile(name: string, path: string): Promise<Uint8Array<ArrayBuffer>> {
  try {
    // The package may be beside this one, or only where the program runs.
    const here = typeof __filename === "string" ? __filename : fileURLToPath(import.meta.url);
    const paths = [dirname(here), process.cwd()];
    return new Uint8Array(await readFile(createRequire(here).resolve(`${name}/${path}`, { paths })));
  } catch (cause) {
    throw new MissingPackageError(
      `Drawing a PNG needs the package ${name}, which cannot be read: ${(cause as Error).message}`,
      `Install it: npm install ${name}`,
      { cause },
    );
  }
}
