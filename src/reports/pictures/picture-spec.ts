/** A picture as data: a Vega-Lite specification, and what every picture of this library says about itself. */
/** What JSON keeps. */
export type Json = string | number | boolean | null | readonly Json[] | JsonObject;

export interface JsonObject {
  readonly [property: string]: Json;
}

/**
 * A Vega-Lite 6 specification as plain JSON: to render here, to keep in a file, or to show with another tool. Colours are
 * left to the colour scheme: see `pictureConfig`. Not frozen, since vega marks the rows that it is given.
 */
export interface PictureSpec extends JsonObject {
  readonly $schema: string;
  /** What is shown, and on what rows. */
  readonly title: { readonly text: string; readonly subtitle: readonly string[] };
  /** The picture in words, with its key numbers, for those who cannot see it. */
  readonly description: string;
  /** Of the plot itself, without axes and legends, in pixels. */
  readonly width: number;
  readonly height: number;
  /** What is drawn. */
  readonly data: { readonly values: readonly JsonObject[] };
}

/** What a picture shows, before the fields that all pictures share are put around it. */
export interface PictureBody {
  readonly title: string;
  /** Lines below the title; empty ones are left out. */
  readonly subtitle: readonly string[];
  readonly description: string;
  readonly height: number;
  readonly values: readonly JsonObject[];
  readonly layer: readonly Json[];
  readonly encoding?: JsonObject;
  readonly resolve?: JsonObject;
}

/** Width of a plot before it is fitted to a page. */
const PLOT_WIDTH = 460;

export function pictureSpec({
  title,
  subtitle,
  values,
  height,
  description,
  ...body
}: PictureBody): PictureSpec {
  return {
    $schema: "https://vega.github.io/schema/vega-lite/v6.json",
    title: { text: title, subtitle: subtitle.filter((line) => line !== "") },
    description,
    width: PLOT_WIDTH,
    height,
    data: { values },
    ...body,
  };
}
