/** Pictures as SVG, without a browser, a canvas, system fonts or the network. */
import type * as Vega from "vega";
import type * as VegaLite from "vega-lite";
import { OptionError } from "../errors.ts";
import { optionalPackage } from "./optional-package.ts";
import { pictureConfig, TEXT_SIZE, TITLE_SIZE, type PictureScheme } from "./picture-config.ts";
import type { Json, PictureSpec } from "./pictures/picture-spec.ts";
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
const LEAST_PLOT = 60;
const MOST_PASSES = 4;

/**
 * Draws a picture as SVG, with its title and its description for screen readers. Equal specifications give equal text, in Node and in
 * browsers. Loads the optional packages `vega` and `vega-lite`; nothing else is loaded, whatever the specification names.
 *
 * @throws MissingPackageError when they are not installed
 * @throws OptionError when an option is out of range, or the specification names something to load
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
  const drawn = last.then(() => draw({ vega, vegaLite, spec: clean, width }, scheme));
  last = drawn.catch(() => undefined);
  const { text, subtitle } = clean.title;
  const svgs = (await drawn).map((svg) =>
    describeSvg(compactSvg(svg), [text, ...subtitle].join(". "), clean.description),
  );
  return scopeIds(svgs.length === 1 ? svgs[0] : mergeSchemes(svgs[0], svgs[1]));
}

/** A vega whose measuring of text is ours for a while must not lay out two pictures at once. */
let last: Promise<unknown> = Promise.resolve();

interface Drawing {
  readonly vega: typeof Vega;
  readonly vegaLite: typeof VegaLite;
  readonly spec: PictureSpec;
  readonly width: number;
}

/** The picture in one scheme, or in the light and the dark one. */
async function draw(drawing: Drawing, scheme: PictureScheme | "auto"): Promise<string[]> {
  const { spec, width } = drawing;
  const main = scheme === "auto" ? "light" : scheme;
  // Axes and legends take what they need; the plot gets the rest. What they need may change a little with it.
  let plot = spec.width;
  let svg = await layOut(drawing, main, plot);
  for (let pass = 0; pass < MOST_PASSES; pass++) {
    const next = Math.max(LEAST_PLOT, plot + Math.floor(width - widthOf(svg)));
    // Good enough when nothing is cut off and little is left over.
    if (next === plot || (next > plot && pass > 1)) break;
    plot = next;
    svg = await layOut(drawing, main, plot);
  }
  const all = scheme === "auto" ? [svg, await layOut(drawing, "dark", plot)] : [svg];
  return all.map((one) => (widthOf(one) > width ? one : framed(one, width)));
}

const widthOf = (svg: string): number => Number(/^<svg[^>]* width="([\d.]+)"/.exec(svg)![1]);

/** The drawing on a sheet of this width. */
function framed(svg: string, width: number): string {
  return svg.replace(/^<svg[^>]*>/, (tag) =>
    tag
      .replace(/ width="[\d.]+"/, ` width="${width}"`)
      .replace(/ viewBox="0 0 [\d.]+/, ` viewBox="0 0 ${width}`),
  );
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
    item: { readonly fontSize?: number; readonly fontWeight?: string | number; readonly limit?: number },
    value: string | number | null,
  ) => number;
}

async function layOut(
  { vega, vegaLite, spec, width }: Drawing,
  scheme: PictureScheme,
  plot: number,
): Promise<string> {
  const { text, subtitle } = spec.title;
  const inner = width - 12;
  const { spec: compiled } = vegaLite.compile({
    ...spec,
    width: plot,
    config: pictureConfig(scheme, width < NARROW ? legendColumns(spec, width) : null),
    title: {
      text: wrapText(text, inner, TITLE_SIZE, true, MOST_LINES),
      subtitle: subtitle.flatMap((line) => wrapText(line, inner, TEXT_SIZE, false, MOST_LINES)),
    },
  } as unknown as VegaLite.TopLevelSpec);
  const { textMetrics } = vega as unknown as { textMetrics: TextMetrics };
  const { width: measured } = textMetrics;
  textMetrics.width = ({ fontSize = TEXT_SIZE, fontWeight, limit }, value) =>
    // Text that is too long is cut, which vega finds out by this function too.
    Math.min(textWidth(String(value ?? ""), fontSize, fontWeight === "bold"), limit || Infinity);
  const problems: unknown[] = [];
  const view = new vega.View(vega.parse(compiled), {
    renderer: "none",
    loader: offline(vega, problems),
    logger: problemsTo(problems),
  });
  try {
    const svg = await view.toSVG();
    if (problems.length > 0) throw asError(problems[0]);
    // Vega cuts text within characters.
    return svg.replace(/\p{Cs}/gu, "");
  } finally {
    textMetrics.width = measured;
    view.finalize();
  }
}

/** A loader that refuses every address: a picture holds all that it shows. */
function offline(vega: typeof Vega, problems: unknown[]): Vega.Loader {
  const refuse = (uri: string): OptionError => {
    const error = new OptionError(
      `The picture names ${uri}.`,
      "Put the data into the specification: nothing is loaded.",
    );
    problems.push(error);
    return error;
  };
  const load = (uri: string): Promise<never> => Promise.reject(refuse(uri));
  return {
    ...vega.loader(),
    load,
    http: load,
    file: load,
    // Asked for links and images; vega leaves out those without an address.
    sanitize: (uri) => {
      refuse(uri);
      return Promise.resolve({ href: "" });
    },
  };
}

/** Vega logs errors and goes on; here they stop the drawing. */
function problemsTo(problems: unknown[]): Vega.LoggerInterface {
  const logger = {
    level: () => logger,
    error: (...args: readonly unknown[]) => {
      problems.push(args.length === 1 ? args[0] : args.join(" "));
      return logger;
    },
    warn: () => logger,
    info: () => logger,
    debug: () => logger,
  } as unknown as Vega.LoggerInterface;
  return logger;
}

function asError(problem: unknown): Error {
  return problem instanceof Error ? problem : new Error(String(problem));
}

/** Strings without what XML cannot hold: control characters and halves of characters. */
function wellFormed<T extends Json>(value: T): T;
function wellFormed(value: Json): Json {
  if (typeof value === "string") {
    return value.replace(/[^\P{Cc}\t\n\r]|[\ufffe\uffff]|\p{Cs}/gu, "\ufffd");
  }
  if (typeof value !== "object" || value === null) return value;
  if (Array.isArray(value)) return (value as readonly Json[]).map((item) => wellFormed(item));
  return Object.fromEntries(Object.entries(value).map(([name, item]) => [name, wellFormed(item)]));
}
