/** Two drawings of one picture, for light and for dark pages, as one file that follows the reader's colour scheme. */

const COLOURED = /\b(fill|stroke|stop-color)="([^"]*)"/g;

/** One SVG whose colours depend on the scheme; null where the two differ in more than colours. */
export function bothSchemes(light: string, dark: string): string | null {
  const skeleton = (svg: string): string => svg.replaceAll(COLOURED, "$1");
  if (skeleton(light) !== skeleton(dark)) return null;
  const names = new Map<string, string>();
  const rules: Record<"light" | "dark", string[]> = { light: [], dark: [] };
  const inDark = dark.matchAll(COLOURED);
  const drawn = light.replaceAll(COLOURED, (whole, property: string, colour: string) => {
    const other = inDark.next().value![2];
    if (other === colour) return whole;
    const pair = JSON.stringify([colour, other]);
    let name = names.get(pair);
    if (name === undefined) {
      name = `--c${names.size}`;
      names.set(pair, name);
      rules.light.push(`${name}:${colour}`);
      rules.dark.push(`${name}:${other}`);
    }
    return `${property}="var(${name})"`;
  });
  const style =
    `<style>:root{${rules.light.join(";")}}` +
    `@media screen and (prefers-color-scheme:dark){:root{${rules.dark.join(";")}}}</style>`;
  return drawn.replace(/^<svg[^>]*>/, (tag) => tag + style);
}
