/** The names that users import, as a snapshot: a change of the public surface has to be meant. */
import { describe, expect, it } from "vitest";
import * as core from "../../src/index.ts";
import * as gpujs from "../../src/gpujs.ts";
import * as node from "../../src/node.ts";

const kinds = (module: object): string[] =>
  Object.entries(module)
    .map(([name, value]) => `${name}: ${typeof value}`)
    .sort();

describe("public surface", () => {
  it("of sparseprobe", () => {
    expect(kinds(core)).toMatchSnapshot();
  });

  it("of sparseprobe/node", () => {
    expect(kinds(node)).toMatchSnapshot();
  });

  it("of sparseprobe/gpujs", () => {
    expect(kinds(gpujs)).toMatchSnapshot();
  });

  it("is the built package's too", async () => {
    const built = new URL("../../dist/", import.meta.url).href;
    expect(kinds((await import(`${built}index.js`)) as object)).toEqual(kinds(core));
    expect(kinds((await import(`${built}node.js`)) as object)).toEqual(kinds(node));
    expect(kinds((await import(`${built}gpujs.js`)) as object)).toEqual(kinds(gpujs));
  });
});
