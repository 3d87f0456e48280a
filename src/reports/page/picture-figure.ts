/** A picture in the page: an image, which can neither run nor load anything, for wide and narrow pages and both colour schemes. */
import type { PictureSpec } from "../pictures/picture-spec.ts";
import { renderSvg } from "../render-picture.ts";
import { html, Html } from "./html.ts";

/** Pixels; the narrow one fits a page of 360. */
const WIDE = 860;
const NARROW = 328;
/** Where the page's margins are narrow. */
const NARROW_PAGE = "(max-width: 40rem)";

export async function pictureFigure(spec: PictureSpec): Promise<Html> {
  const wide = await renderSvg(spec, { width: WIDE });
  const narrow = await renderSvg(spec, { width: NARROW });
  return html`<figure>
    <picture
      ><source media="${NARROW_PAGE}" srcset="${dataUrl(narrow)}" ${size(narrow)} />
      <img src="${dataUrl(wide)}" alt="${spec.description}" ${size(wide)}
    /></picture>
  </figure>`;
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
