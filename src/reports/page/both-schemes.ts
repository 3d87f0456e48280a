/** Two drawings of one picture, for light and for dark pages, as one file that follows the reader's colour scheme. */

const COLOURED = /\b(fill|stroke|stop-color)="([^"]*)"/g;

/** One SVG whose colours depend on the scheme; null where the two differ in more than colours. */
export function bothSchemes(light: string, dark: string): string | null {
  const skeleton = (svg: string): string => svg.replaceAll(COLOURED, "$1");
  if (skeleton(light) !== skeleton(dark)) return null;
  const pairs = new Map<string, number>();
  const inDark = dark.matchAll(COLOURED);
  const drawn = light.replaceAll(COLOURED, (whole, property: string, colour: string) => {
    const other = inDark.next().value![2];
    if (other === colour) return whole;
    const pair = `${colour} ${other}`;
    if (!pairs.has(pair)) pairs.set(pair, pairs.size);
    return `${property}="var(--c${pairs.get(pair)})"`;
  });
  const rules = (which: 0 | 1): string =>
    [...pairs].map(([pair, i]) => `--c${i}:${pair.split(" ")[which]}`).join(";");
  const style = `<style>:root{${rules(0)}}@media screen and (prefers-color-scheme:dark){:root{${rules(1)}}}</style>`;
  return drawn.replace(/^<svg[^>]*>/, `$&${style}`);
}
