/** How pictures look: one Vega-Lite configuration with two sets of colours. */
import type { JsonObject } from "./pictures/picture-spec.ts";

/** Colours for a light or a dark page. */
export type PictureScheme = "light" | "dark";

interface Colours {
  readonly page: string;
  readonly text: string;
  readonly faint: string;
  readonly grid: string;
  /** Distinct also to colour-blind readers (after Okabe and Ito 2008), made lighter for dark pages. */
  readonly category: readonly string[];
  /** For lines and points in an order: the part of viridis that stands out from the page. */
  readonly ramp: JsonObject;
  /** For areas, from next to the page's colour on; lightness alone tells the values, as in grey print. */
  readonly heat: readonly string[];
  /** Behind a line in the colour of text. */
  readonly box: string;
}

const COLOURS: Readonly<Record<PictureScheme, Colours>> = {
  light: {
    page: "#ffffff",
    text: "#1f2328",
    faint: "#59636e",
    grid: "#e4e7eb",
    category: [
      "#0072b2",
      "#d55e00",
      "#009e73",
      "#b0588f",
      "#b87d00",
      "#3a94c9",
      "#6a51a3",
      "#7f6000",
      "#4d4d4d",
      "#8c2d04",
    ],
    ramp: { scheme: "viridis", extent: [0, 0.75] },
    heat: ["#f2f6fa", "#c6dbef", "#6baed6", "#2171b5", "#08306b"],
    box: "#9cc7e4",
  },
  dark: {
    page: "#14181d",
    text: "#e6e9ed",
    faint: "#a3adb8",
    grid: "#2d343c",
    category: [
      "#56b4e9",
      "#ff9452",
      "#35c99a",
      "#eba0cc",
      "#f0c04a",
      "#a6d8f5",
      "#b9a3ea",
      "#d9c07a",
      "#c4c9cf",
      "#f08a78",
    ],
    ramp: { scheme: "viridis", extent: [0.42, 1] },
    heat: ["#1c242d", "#173f63", "#2a75ad", "#77b8e6", "#e3f2fd"],
    box: "#2b6a94",
  },
};

/** DejaVu Sans is what PNGs are drawn with; Verdana has its proportions. */
export const PICTURE_FONT = "DejaVu Sans, Verdana, sans-serif";
export const TITLE_SIZE = 14;
export const TEXT_SIZE = 12;

/** Colour of the page that a scheme is made for. */
export function pageColour(scheme: PictureScheme): string {
  return COLOURS[scheme].page;
}

/**
 * The `config` that `renderSvg` puts into a specification, for those who show specifications with other tools. The page shows
 * through: there is no background.
 *
 * @param legendColumns of narrow pictures, as on a phone, whose legends stand below the plot; null: it stands on the right
 */
export function pictureConfig(scheme: PictureScheme, legendColumns: number | null = null): JsonObject {
  const narrow = legendColumns !== null;
  const { page, text, faint, grid, category, ramp, heat, box } = COLOURS[scheme];
  return {
    background: null,
    font: PICTURE_FONT,
    aria: false,
    padding: 4,
    view: { stroke: null },
    title: {
      anchor: "start",
      frame: "bounds",
      offset: 14,
      color: text,
      fontSize: TITLE_SIZE,
      fontWeight: "bold",
      lineHeight: TITLE_SIZE + 4,
      subtitleColor: faint,
      subtitleFontSize: TEXT_SIZE,
      subtitleLineHeight: TEXT_SIZE + 4,
      subtitlePadding: 4,
    },
    axis: {
      labelColor: text,
      labelFontSize: TEXT_SIZE,
      labelLimit: narrow ? 110 : 220,
      titleColor: text,
      titleFontSize: TEXT_SIZE,
      titleFontWeight: "normal",
      titlePadding: 10,
      domainColor: faint,
      tickColor: faint,
      gridColor: grid,
      tickSize: 4,
    },
    axisY: { domain: false, ticks: false, labelPadding: 6 },
    legend: {
      orient: narrow ? "bottom" : "right",
      ...(narrow && { columns: legendColumns }),
      offset: narrow ? 8 : 16,
      labelColor: text,
      labelFontSize: TEXT_SIZE,
      labelLimit: narrow ? 300 : 270,
      titleColor: text,
      titleFontSize: TEXT_SIZE,
      titleFontWeight: "normal",
      symbolSize: 70,
      rowPadding: 4,
    },
    range: { category, ordinal: ramp, ramp, heatmap: heat },
    style: {
      series: { strokeWidth: 2 },
      "series-point": { filled: true, size: 42, opacity: 1 },
      interval: { strokeWidth: 1.5, opacity: 0.5 },
      frame: { filled: false, color: text, strokeWidth: 2 },
      "on-pale": { color: text, fontSize: TEXT_SIZE - 1 },
      "on-strong": { color: page, fontSize: TEXT_SIZE - 1 },
      label: { color: text, fontSize: TEXT_SIZE },
      heading: { color: text, fontSize: TEXT_SIZE, fontWeight: "bold" },
      note: { color: faint, fontSize: TEXT_SIZE },
      zero: { color: faint, strokeWidth: 1 },
      histogram: { opacity: 0.2 },
      outline: { strokeWidth: 1.75 },
      spread: { color: category[0], strokeWidth: 2 },
      box: { color: box },
      median: { color: text, thickness: 2.5 },
      extreme: { filled: true, color: category[0], size: 18, opacity: 1 },
      marked: { filled: true, color: category[1], shape: "diamond", size: 90, opacity: 1 },
      control: { color: faint, opacity: 0.55, thickness: 1.5 },
      effect: { filled: true, color: category[1], size: 70, opacity: 1 },
      "effect-interval": { color: category[1], strokeWidth: 2 },
      strip: { color: grid, strokeWidth: 1 },
      "strip-own": { filled: true, shape: "circle", color: category[1], size: 46, opacity: 0.75 },
      "strip-other": { filled: true, shape: "square", color: faint, size: 36, opacity: 0.4 },
    },
  };
}
