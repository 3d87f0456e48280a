/** Pictures as SVG, without a browser, a canvas, system fonts or the network. */
import type { Loader } from "vega";
import type { TopLevelSpec } from "vega-lite";
import { OptionError } from "../errors.ts";
import { optionalPackage } from "./optional-package.ts";
import { pictureConfig, TEXT_SIZE, TITLE_SIZE, type PictureScheme } from "./picture-config.ts";
import type { Json, JsonObject, PictureSpec } from "./pictures/picture-spec.ts";
import { compactSvg, describeSvg, mergeSchemes, scopeIds } from "./svg-markup.ts";
import { textWidth, wrapText } from "./text-width.ts";

export interface SvgOptions {
  /**
   * Colours for a light or a dark page, or `"auto"`: light ones, and dark ones where the reader prefers a dark scheme (a `<style>`
   * with a media query). Default `"auto"`.
   */
  readonly scheme?: PictureScheme | "auto" | undefined;
  /** Of the whole picture in pixels, 240 to 4000. Default 720. Below 520 legends stand below the plot. */
  readonly width?: number | undefined;
}

const NARROW = 520;
/** Lines that a title, or a line of a subtitle, may take. */
const MOST_LINES = 3;
/** Beside the plot, and beside an entry of a legend. */
const MARGIN = 56;
const SYMBOL = 32;
const LEAST_PLOT = 80;
const MOST_PASSES = 4;

/**
 * Draws a picture as SVG, with its title and its description for screen readers. Equal specifications give equal text, in Node and in
 * browsers. Loads the optional packages `vega` and `vega-lite`; nothing else is loaded, whatever the specification names.
 *
 * @throws MissingPackageError when they are not installed
 * @throws OptionError when an option is out of range
 * @example
 * const svg = await renderSvg(metricByKPicture(rows), { scheme: "dark", width: 640 });
 */
export async function renderSvg(spec: PictureSpec, options: SvgOptions = {}): Promise<string> {
  const { scheme = "auto", width = 720 } = options;
  if (!(width >= 240 && width <= 4000)) {
    throw new OptionError(`The width ${width} is out of range.`, "Use 240 to 4000 pixels.");
  }
  const vega = await optionalPackage("vega", "Drawing a picture", () => import("vega"));
  const vegaLite = await optionalPackage("vega-lite", "Drawing a picture", () => import("vega-lite"));
  const clean = wellFormed(spec);
  const schemes: readonly PictureScheme[] = scheme === "auto" ? ["light", "dark"] : [scheme];
  const drawn = last.then(async () => {
    const svgs: string[] = [];
    for (const one of schemes) svgs.push(compactSvg(await draw(vega, vegaLite, clean, one, width)));
    return svgs;
  });
  last = drawn.catch(() => undefined);
  const { text, subtitle } = clean.title;
  const [first, second] = (await drawn).map((svg) =>
    describeSvg(svg, [text, ...subtitle].join(". "), clean.description),
  );
  return scopeIds(schemes.length === 1 ? first : mergeSchemes(first, second));
}

/** A vega whose measuring of text is ours for a while must not lay out two pictures at once. */
let last: Promise<unknown> = Promise.resolve();

type Vega = typeof import("vega");
type VegaLite = typeof import("vega-lite");

async function draw(
  vega: Vega,
  vegaLite: VegaLite,
  spec: PictureSpec,
  scheme: PictureScheme,
  width: number,
): Promise<string> {
  const { text, subtitle } = spec.title;
  const inner = width - 12;
  const fitted = {
    ...spec,
    config: pictureConfig(scheme, width < NARROW ? legendColumns(spec, width) : null),
    title: {
      text: wrapText(text, inner, TITLE_SIZE, true, MOST_LINES),
      subtitle: subtitle.flatMap((line) => wrapText(line, inner, TEXT_SIZE, false, MOST_LINES)),
    },
  };
  // Axes and legends take what they need; the plot gets the rest. What they need may change a little with it.
  let plot = spec.width;
  let svg = await layOut(vega, vegaLite, fitted, plot);
  for (let pass = 0; pass < MOST_PASSES; pass++) {
    const missing = Math.floor(width - Number(/^<svg[^>]* width="([\d.]+)"/.exec(svg)![1]));
    if (missing === 0 || plot + missing < LEAST_PLOT) break;
    plot += missing;
    svg = await layOut(vega, vegaLite, fitted, plot);
  }
  return svg;
}

/** How many entries of a legend stand side by side. */
function legendColumns({ data }: PictureSpec, width: number): number {
  const entries = data.values.map(({ series }) =>
    typeof series === "string" ? textWidth(series, TEXT_SIZE) : 0,
  );
  const widest = entries.reduce((a, b) => Math.max(a, b), 20);
  return Math.max(1, Math.floor((width - MARGIN) / (widest + SYMBOL)));
}

/** What vega lays text out by. Its types leave it out. */
interface TextMetrics {
  width: (
    item: { readonly fontSize?: number; readonly fontWeight?: string | number },
    value: unknown,
  ) => number;
}

async function layOut(vega: Vega, vegaLite: VegaLite, spec: JsonObject, width: number): Promise<string> {
  const compiled = vegaLite.compile({ ...spec, width } as unknown as TopLevelSpec).spec;
  const { textMetrics } = vega as unknown as { textMetrics: TextMetrics };
  const { width: measured } = textMetrics;
  textMetrics.width = ({ fontSize = TEXT_SIZE, fontWeight }, value) =>
    textWidth(String(value ?? ""), fontSize, fontWeight === "bold");
  const view = new vega.View(vega.parse(compiled), { renderer: "none", loader: offline(vega) });
  try {
    return await view.toSVG();
  } finally {
    textMetrics.width = measured;
    view.finalize();
  }
}

/** A loader that refuses every address: a picture holds all that it shows. */
function offline(vega: Vega): Loader {
  const refuse = (uri: string): Promise<never> =>
    Promise.reject(
      new OptionError(`The picture names ${uri}.`, "Put the data into the specification: nothing is loaded."),
    );
  return { ...vega.loader(), load: refuse, sanitize: refuse, http: refuse, file: refuse };
}

/** Strings without what XML cannot hold: control characters and halves of characters. */
function wellFormed<T extends Json>(value: T): T;
function wellFormed(value: Json): Json {
  if (typeof value === "string") {
    return value.replace(/[\0-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ufffe\uffff]|\p{Cs}/gu, "\ufffd");
  }
  if (typeof value !== "object" || value === null) return value;
  if (Array.isArray(value)) return (value as readonly Json[]).map((item) => wellFormed(item));
  return Object.fromEntries(Object.entries(value).map(([name, item]) => [name, wellFormed(item)]));
}
