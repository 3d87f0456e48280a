/** Pictures as SVG and PNG, without a browser, a canvas, system fonts or the network. */
import type { Loader } from "vega";
import type { TopLevelSpec } from "vega-lite";
import { OptionError } from "../errors.ts";
import { optionalPackage } from "./optional-package.ts";
import { pictureConfig, TEXT_SIZE, TITLE_SIZE, type PictureScheme } from "./picture-config.ts";
import type { Json, JsonObject, PictureSpec } from "./pictures/picture-spec.ts";
import { textWidth, wrapText } from "./text-width.ts";

export interface SvgOptions {
  /** Default `"light"`. */
  readonly scheme?: PictureScheme | undefined;
  /** Of the whole picture in pixels, 240 to 4000. Default 720. Below 520 legends stand below the plot. */
  readonly width?: number | undefined;
}

const NARROW = 520;
/** Lines that a title, or a line of a subtitle, may take. */
const MOST_LINES = 3;
const LEAST_PLOT = 80;

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
  const { scheme = "light", width = 720 } = options;
  if (!(width >= 240 && width <= 4000)) {
    throw new OptionError(`The width ${width} is out of range.`, "Use 240 to 4000 pixels.");
  }
  const vega = await optionalPackage("vega", "Drawing a picture", () => import("vega"));
  const vegaLite = await optionalPackage("vega-lite", "Drawing a picture", () => import("vega-lite"));
  const clean = wellFormed(spec);
  const drawn = last.then(() => draw(vega, vegaLite, clean, scheme, width));
  last = drawn.catch(() => undefined);
  return labelled(await drawn, clean);
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
    config: pictureConfig(scheme, width < NARROW),
    title: {
      text: wrapText(text, inner, TITLE_SIZE, true, MOST_LINES),
      subtitle: subtitle.flatMap((line) => wrapText(line, inner, TEXT_SIZE, false, MOST_LINES)),
    },
  };
  // Axes and legends take what they need; the second pass gives the plot the rest.
  const first = await layOut(vega, vegaLite, fitted, spec.width);
  const taken = Number(/^<svg[^>]* width="([\d.]+)"/.exec(first)![1]) - spec.width;
  return layOut(vega, vegaLite, fitted, Math.max(LEAST_PLOT, Math.floor(width - taken)));
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

/** The picture as an image with a name and a description. */
function labelled(svg: string, { title, description }: PictureSpec): string {
  const name = [title.text, ...title.subtitle].join(". ");
  return svg.replace(
    />/,
    ` role="img"><title>${escapeText(name)}</title><desc>${escapeText(description)}</desc>`,
  );
}

function escapeText(text: string): string {
  return text.replace(/&/g, "&amp;").replace(/</g, "&lt;").replace(/>/g, "&gt;");
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
