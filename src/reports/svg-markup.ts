/** Vega's SVG made smaller, named for screen readers, and coloured for two schemes. */

/** A tag or text; vega escapes `<` and `"` within both. */
const TOKEN = /<[^>]*>|[^<]+/g;
const ATTRIBUTE = / ([\w:-]+)="([^"]*)"/g;

/** Attributes that say nothing to readers of a picture that has a name and a description. */
const LEFT_OUT = new Set([
  "class",
  "role",
  "aria-roledescription",
  "aria-hidden",
  "aria-label",
  "pointer-events",
  "version",
  "xmlns:xlink",
]);

/**
 * Leaves out what is not drawn: invisible and empty elements, attributes with their initial values, and groups without attributes.
 * Numbers keep a hundredth of a pixel.
 */
export function compactSvg(svg: string): string {
  const out: string[] = [];
  /** For each open element: where it starts in `out`, whether its own tags are kept, and whether it is drawn. */
  const open: {
    readonly at: number;
    readonly name: string;
    readonly kept: boolean;
    readonly drawn: boolean;
  }[] = [];
  for (const token of svg.match(TOKEN) ?? []) {
    if (token.startsWith("</")) {
      const { at, name, kept, drawn } = open.pop()!;
      const empty = out.length === at + (kept ? 1 : 0);
      if (!drawn || (empty && name === "g")) out.length = at;
      else if (kept) out.push(token);
      continue;
    }
    if (!token.startsWith("<")) {
      out.push(token);
      continue;
    }
    const { tag, name, single, drawn } = compactTag(token);
    if (single) {
      if (drawn) out.push(tag);
      continue;
    }
    const kept = tag !== "<g>";
    open.push({ at: out.length, name, kept, drawn });
    if (kept) out.push(tag);
  }
  return numberIds(out.join(""));
}

/** Names of gradients in order of appearance: vega counts on from picture to picture. */
function numberIds(svg: string): string {
  const ids = [...new Set(Array.from(svg.matchAll(/ id="([^"]*)"/g), ([, id]) => id))];
  return ids.reduce(
    (text, id, i) =>
      text.replaceAll(` id="${id}"`, ` id="def-${i}"`).replaceAll(`url(#${id})`, `url(#def-${i})`),
    svg,
  );
}

/** Names that no other picture of the document has. */
export function scopeIds(svg: string): string {
  let hash = 0x811c9dc5;
  for (let i = 0; i < svg.length; i++) hash = Math.imul(hash ^ svg.charCodeAt(i), 0x01000193) >>> 0;
  return svg.replace(/( id="|url\(#)def-/g, `$1p${hash.toString(36)}-`);
}

function compactTag(token: string): { tag: string; name: string; single: boolean; drawn: boolean } {
  const name = /^<([\w:]+)/.exec(token)![1];
  const single = token.endsWith("/>");
  const attributes = new Map(Array.from(token.matchAll(ATTRIBUTE), ([, key, value]) => [key, value]));
  const drawn =
    attributes.get("opacity") !== "0" &&
    attributes.get("display") !== "none" &&
    !(name === "path" && (attributes.get("d") ?? "") === "") &&
    // Backgrounds of groups without paint.
    !(attributes.get("class") === "background" && !attributes.has("fill") && !attributes.has("stroke"));
  const root = name === "svg";
  const kept = [...attributes].flatMap(([key, value]) => {
    if (LEFT_OUT.has(key)) return [];
    if ((key === "opacity" || (key === "stroke-width" && !root)) && value === "1") return [];
    if (key === "text-anchor" && value === "start") return [];
    if (key === "transform" && value === "translate(0,0)") return [];
    const short =
      key === "transform" || key === "d"
        ? value.replace(/-?\d+\.\d{3,}/g, (n) => String(Number(Number(n).toFixed(2))))
        : value;
    return [` ${key}="${short}"`];
  });
  return { tag: `<${name}${kept.join("")}${single ? "/>" : ">"}`, name, single, drawn };
}

/** The drawing as an image with a name and a description. */
export function describeSvg(svg: string, name: string, description: string): string {
  return svg.replace(
    ">",
    ` role="img"><title>${escapeText(name)}</title><desc>${escapeText(description)}</desc>`,
  );
}

/**
 * One drawing out of two that differ in colours alone: the first, and the second's colours where the reader prefers a dark scheme.
 * Class names say both colours, so that several drawings may stand in one document.
 */
export function mergeSchemes(light: string, dark: string): string {
  const [first, second] = [light.match(TOKEN) ?? [], dark.match(TOKEN) ?? []];
  const rules = new Map<string, string>();
  const merged = first.map((token, i) => {
    if (token === second[i]) return token;
    const other = new Map(Array.from(second[i].matchAll(ATTRIBUTE), ([, key, value]) => [key, value]));
    const classes: string[] = [];
    for (const [, key, value] of token.matchAll(ATTRIBUTE)) {
      const changed = other.get(key);
      if (changed === undefined || changed === value) continue;
      const name = `${key}-${colourName(value)}-${colourName(changed)}`;
      rules.set(name, `.${name}{${key}:${changed}}`);
      classes.push(name);
    }
    return token.replace(/\/?>$/, (end) => ` class="${classes.join(" ")}"${end}`);
  });
  const style = `<style>@media (prefers-color-scheme:dark){${[...rules.values()].join("")}}</style>`;
  return merged.join("").replace("</desc>", `</desc>${style}`);
}

const colourName = (colour: string): string => colour.replace(/[^\w]/g, "");

function escapeText(text: string): string {
  return text.replace(/&/g, "&amp;").replace(/</g, "&lt;").replace(/>/g, "&gt;");
}
