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
  return inheritedOnce(numberIds(out.join("")), "font-family");
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
  return svg.replace(/( id="|url\(#)def-/g, `$1${scopeOf(svg)}-`);
}

function scopeOf(svg: string): string {
  let hash = 0x811c9dc5;
  for (let i = 0; i < svg.length; i++) hash = Math.imul(hash ^ svg.charCodeAt(i), 0x01000193) >>> 0;
  return `p${hash.toString(36)}`;
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
    if ((key === "text-anchor" && value === "start") || (key === "font-weight" && value === "normal"))
      return [];
    if (key === "transform" && value === "translate(0,0)") return [];
    return [` ${key}="${shortValue(key, value)}"`];
  });
  return { tag: `<${name}${kept.join("")}${single ? "/>" : ">"}`, name, single, drawn };
}

function shortValue(key: string, value: string): string {
  if (key === "transform" || key === "d") {
    return value.replace(/-?\d+\.\d{3,}/g, (n) => String(Number(Number(n).toFixed(2))));
  }
  const rgb = /^rgb\((\d+), (\d+), (\d+)\)$/.exec(value);
  return rgb
    ? `#${rgb
        .slice(1)
        .map((part) => Number(part).toString(16).padStart(2, "0"))
        .join("")}`
    : value;
}

/** Attributes that texts inherit: one value for all of them stands at the root. */
function inheritedOnce(svg: string, attribute: string): string {
  const values = new Set(Array.from(svg.matchAll(new RegExp(` ${attribute}="[^"]*"`, "g")), ([all]) => all));
  if (values.size !== 1) return svg;
  const [only] = values;
  return svg.replaceAll(only, "").replace("<svg", `<svg${only}`);
}

/** The drawing as an image with a name and a description. */
export function describeSvg(svg: string, name: string, description: string): string {
  return svg.replace(
    ">",
    ` role="img"><title>${escapeText(name)}</title><desc>${escapeText(description)}</desc>`,
  );
}

/**
 * One drawing out of two that differ in colours alone: the first, and the second's colours on screens of readers who prefer a dark
 * scheme. Classes have names that no other picture has, so that several drawings may stand in one document.
 */
export function mergeSchemes(light: string, dark: string): string {
  const [first, second] = [light.match(TOKEN) ?? [], dark.match(TOKEN) ?? []];
  const scope = scopeOf(light + dark);
  const classes = new Map<string, string>();
  const merged = first.map((token, i) => {
    if (token === second[i]) return token;
    const other = new Map(Array.from(second[i].matchAll(ATTRIBUTE), ([, key, value]) => [key, value]));
    const changed = Array.from(token.matchAll(ATTRIBUTE)).flatMap(([, key, value]) => {
      const inDark = other.get(key);
      return inDark === undefined || inDark === value ? [] : [`${key}:${inDark}`];
    });
    const rule = changed.join(";");
    const name = classes.get(rule) ?? `${scope}-${classes.size}`;
    classes.set(rule, name);
    return token.replace(/\/?>$/, (end) => ` class="${name}"${end}`);
  });
  const rules = Array.from(classes, ([rule, name]) => `.${name}{${rule}}`).join("");
  const style = `<style>@media screen and (prefers-color-scheme:dark){${rules}}</style>`;
  return merged.join("").replace("</desc>", `</desc>${style}`);
}

function escapeText(text: string): string {
  return text.replace(/&/g, "&amp;").replace(/</g, "&lt;").replace(/>/g, "&gt;");
}
