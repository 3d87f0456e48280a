/** What goes into a page as text: `import script from "./client/main.ts?page"` is the script bundled and minified, a style sheet alike. */
import { build } from "esbuild";

/** Minified text of a script or a style sheet with all that it imports. */
export async function pageText(path: string): Promise<string> {
  const { outputFiles } = await build({
    entryPoints: [path],
    bundle: true,
    minify: true,
    write: false,
    format: "iife",
    target: ["es2022", "chrome110", "firefox115", "safari16.4"],
    charset: "utf8",
    legalComments: "none",
  });
  return outputFiles[0].text.trim();
}
