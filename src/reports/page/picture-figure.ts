/** A picture in the page: an image, which can neither run nor load anything, for wide and narrow pages and both colour schemes. */
import type { PictureSpec } from "../pictures/picture-spec.ts";
import { renderSvg } from "../render-picture.ts";
import { bothSchemes } from "./both-schemes.ts";
import { html, Html } from "./html.ts";

/** Pixels; the narrow one fits a page of 360. */
const WIDE = 860;
const NARROW = 328;
/** Where the page's margins are narrow. */
const NARROW_PAGE = "(max-width: 40rem)";
const DARK = "screen and (prefers-color-scheme: dark)";

export async function pictureFigure(spec: PictureSpec): Promise<Html> {
  const wide = await drawings(spec, WIDE);
  const narrow = await drawings(spec, NARROW);
  // The first source whose condition holds is taken.
  const sources: [media: string, svg: string][] = [];
  if (narrow.dark) sources.push([`${NARROW_PAGE} and ${DARK.replace("screen and ", "")}`, narrow.dark]);
  sources.push([NARROW_PAGE, narrow.light]);
  if (wide.dark) sources.push([DARK, wide.dark]);
  return html`<figure>
    <picture
      >${sources.map(
        ([media, svg]) => html`<source media="${media}" srcset="${dataUrl(svg)}" ${size(svg)} />`,
      )}<img src="${dataUrl(wide.light)}" alt="${spec.description}" ${size(wide.light)}
    /></picture>
  </figure>`;
}

/** `light` serves both schemes where there is no `dark`. */
async function drawings(spec: PictureSpec, width: number): Promise<{ light: string; dark: string | null }> {
  const light = await renderSvg(spec, { scheme: "light", width });
  const dark = await renderSvg(spec, { scheme: "dark", width });
  const both = bothSchemes(light, dark);
  return both === null ? { light, dark } : { light: both, dark: null };
}

function size(svg: string): Html | null {
  const found = /^<svg[^>]*? width="([\d.]+)" height="([\d.]+)"/.exec(svg);
  return found && html` width="${Math.round(Number(found[1]))}" height="${Math.round(Number(found[2]))}"`;
}

/** As short as it gets: signs that end an attribute, a URL or a candidate of a source set are escaped, and no others. */
function dataUrl(svg: string): Html {
  const quoted = svg.replaceAll("'", "&#39;").replaceAll('"', "'");
  const escaped = quoted.replaceAll(/[%#<>&\s]/g, (sign) => encodeURIComponent(sign));
  return new Html(`data:image/svg+xml;charset=utf-8,${escaped}`);
}
