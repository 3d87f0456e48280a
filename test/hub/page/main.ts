/** Loads a model from a hub in a page and leaves the function that does so in a global. */
import { createBackend, loadModelFromHub } from "../../../src/index.ts";

async function logitsFromHub(name: string, endpoint: string, token: string): Promise<number[]> {
  const backend = await createBackend("cpu", { threads: 1 });
  const model = await loadModelFromHub(name, backend, { endpoint, token });
  const tokens = Uint32Array.of(5, 100, 42, 7);
  const { logits } = await model.transformer.forward(
    { tokens, offsets: Uint32Array.of(0, tokens.length) },
    { hookPoints: [], logits: "last" },
  );
  model.dispose();
  backend.dispose();
  return Array.from(logits!);
}

declare global {
  var fromHub: typeof logitsFromHub;
}
globalThis.fromHub = logitsFromHub;
