/** Models that come and go leave nothing behind: the memory of a software GPU is the process's own, so that it shows there. */
import { fileURLToPath } from "node:url";
import { expect, it } from "vitest";
import { loadModelFolder } from "../../src/node/model.ts";
import { openTestBackend } from "../support/gpu.ts";

const FOLDER = fileURLToPath(new URL("../../examples/model/haystack-4m", import.meta.url));

it("does not grow over 20 models that come and go", async () => {
  const backend = await openTestBackend();
  const resident: number[] = [];
  let bytes = 0;
  for (let i = 0; i < 20; i++) {
    const model = await loadModelFolder(FOLDER, backend);
    const { dModel, dMlp, layers, vocabulary } = model.spec;
    bytes = 4 * (2 * vocabulary * dModel + layers * (4 * dModel ** 2 + 2 * dModel * dMlp));
    model.dispose();
    await new Promise((resolve) => setTimeout(resolve, 5));
    resident.push(process.memoryUsage().rss);
  }
  backend.dispose();
  // A model kept in each of 14 rounds would be 14 models; allocators and what is yet to be collected take the room of some.
  expect(resident.at(-1)! - resident[5]).toBeLessThan(7 * bytes);
});
