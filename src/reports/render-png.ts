/** Pictures as PNG: the same pixels everywhere, since fonts are given and text becomes paths. */
import type * as ResvgModule from "@resvg/resvg-wasm";
import { FormatError, OptionError } from "../errors.ts";
import { optionalPackage } from "./optional-package.ts";
import { pageColour } from "./picture-config.ts";
import type { PictureSpec } from "./pictures/picture-spec.ts";
import { renderSvg, type SvgOptions } from "./render-picture.ts";

/** What PNGs are drawn with. In Node `pictureFiles()` of `sparseprobe/node` reads them. */
export interface PngFiles {
  /** `@resvg/resvg-wasm/index_bg.wasm`. The first call's is used from then on. */
  readonly wasm: Uint8Array<ArrayBuffer> | WebAssembly.Module;
  /** TrueType or OpenType fonts. DejaVu Sans, regular and bold, is what layouts are measured by; characters that no font has are boxes. */
  readonly fonts: readonly Uint8Array[];
}

export interface PngOptions extends Omit<SvgOptions, "scheme">, PngFiles {
  /** Default `"light"`. The background is that of a page of this scheme. */
  readonly scheme?: "light" | "dark" | undefined;
  /** Pixels of the PNG for one of the picture, more than 0, at most 8. Default 2. */
  readonly scale?: number | undefined;
}

let started: Promise<Resvg> | undefined;

type Resvg = typeof ResvgModule.Resvg;

/**
 * Draws a picture as PNG, without system fonts: equal specifications and fonts give equal bytes. Loads the optional packages
 * `vega`, `vega-lite` and `@resvg/resvg-wasm`.
 *
 * @throws MissingPackageError when they are not installed
 * @throws OptionError when an option is out of range or there are no fonts
 * @throws FormatError when `wasm` is not resvg's module
 * @example
 * import { pictureFiles } from "sparseprobe/node";
 * const png = await renderPng(metricByKPicture(rows), { ...(await pictureFiles()), scale: 2 });
 */
export async function renderPng(spec: PictureSpec, options: PngOptions): Promise<Uint8Array> {
  const { scheme = "light", width, scale = 2, wasm, fonts } = options;
  if (!(scale > 0 && scale <= 8))
    throw new OptionError(`The scale ${scale} is out of range.`, "Use at most 8.");
  if (fonts.length === 0) throw new OptionError("There are no fonts.", "Give DejaVu Sans, regular and bold.");
  const svg = await renderSvg(spec, { scheme, width });
  started ??= start(wasm);
  let Resvg: Resvg;
  try {
    Resvg = await started;
  } catch (error) {
    started = undefined;
    throw error;
  }
  const drawing = new Resvg(svg, {
    font: { fontBuffers: [...fonts], defaultFontFamily: "DejaVu Sans", sansSerifFamily: "DejaVu Sans" },
    fitTo: { mode: "zoom", value: scale },
    background: pageColour(scheme),
  });
  const image = drawing.render();
  try {
    return image.asPng();
  } finally {
    image.free();
    drawing.free();
  }
}

async function start(wasm: PngFiles["wasm"]): Promise<Resvg> {
  const resvg = await optionalPackage(
    "@resvg/resvg-wasm",
    "Drawing a PNG",
    () => import("@resvg/resvg-wasm"),
  );
  const module = await compiled(wasm);
  try {
    await resvg.initWasm(module);
  } catch (cause) {
    // Whoever else uses the package on this page may have started it.
    if (!(cause instanceof Error && cause.message.includes("Already initialized"))) throw notResvg(cause);
  }
  return resvg.Resvg;
}

/** The module, once it is known to be resvg's: one that is not could not be replaced after it has started. */
async function compiled(wasm: PngFiles["wasm"]): Promise<WebAssembly.Module> {
  let module: WebAssembly.Module;
  try {
    module = wasm instanceof WebAssembly.Module ? wasm : await WebAssembly.compile(wasm);
  } catch (cause) {
    throw notResvg(cause);
  }
  const names = WebAssembly.Module.exports(module).map(({ name }) => name);
  if (!names.includes("resvg_new")) throw notResvg("it does not export resvg_new");
  return module;
}

function notResvg(cause: unknown): FormatError {
  return new FormatError(
    `resvg does not start: ${cause instanceof Error ? cause.message : String(cause)}.`,
    "Give the bytes of @resvg/resvg-wasm/index_bg.wasm.",
    { cause },
  );
}
