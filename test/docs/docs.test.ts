/** Documentation runs: every TypeScript block of README and docs is executed, and every relative link resolves. */
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { dirname, join, relative, resolve } from "node:path";
import { afterAll, describe, expect, it } from "vitest";

const ROOT = resolve(import.meta.dirname, "../..");
const SCRATCH = join(import.meta.dirname, "generated");

const pages = [
  ...readdirSync(ROOT).filter((name) => name.endsWith(".md")),
  ...readdirSync(join(ROOT, "docs"), { recursive: true, encoding: "utf8" })
    .filter((name) => name.endsWith(".md"))
    .map((name) => join("docs", name)),
  "examples/data/README.md",
].map((path) => ({ path, text: readFileSync(join(ROOT, path), "utf8") }));

const blocks = pages.flatMap(({ path, text }) =>
  [...text.matchAll(/^```ts\n([\s\S]*?)^```/gm)].map((match, i) => ({
    name: `${path} block ${i + 1}`,
    code: match[1],
  })),
);

afterAll(() => {
  rmSync(SCRATCH, { recursive: true, force: true });
});

describe("documentation", () => {
  it("has code to run", () => {
    expect(blocks.length).toBeGreaterThan(0);
  });

  it.each(blocks)("$name runs", async ({ name, code }) => {
    mkdirSync(SCRATCH, { recursive: true });
    const file = join(SCRATCH, `${name.replace(/\W+/g, "-")}.ts`);
    writeFileSync(file, `${code}\nexport {};\n`);
    await import(file);
  });

  it("links resolve", () => {
    const broken = pages.flatMap(({ path, text }) =>
      [...text.matchAll(/\]\(([^)\s]+)\)/g)]
        .map((match) => match[1].split("#")[0])
        .filter((link) => link !== "" && !/^[a-z]+:/.test(link))
        .filter((link) => !existsSync(resolve(ROOT, dirname(path), link)))
        .map((link) => `${relative(ROOT, join(ROOT, path))}: ${link}`),
    );
    expect(broken).toEqual([]);
  });
});
