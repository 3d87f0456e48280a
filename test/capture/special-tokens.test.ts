import { describe, expect, it } from "vitest";
import { captureActivations } from "../../src/capture/capture-activations.ts";
import { createCpuBackend } from "../../src/backends/cpu/cpu-backend.ts";
import { loadModel } from "../../src/model/language-model.ts";
import { openTensorFolder } from "../../src/node/files.ts";
import { fixtureJson, fixturePath } from "../model/fixtures.ts";
import { TEXTS } from "./texts.ts";

describe("special tokens", () => {
  it("are read before each text where they are asked for", async () => {
    const backend = createCpuBackend();
    const begin = "<|endoftext|>";
    const tokenizer = fixtureJson("parallel/tokenizer.json") as { model: { vocab: Record<string, number> } };
    const model = await loadModel(
      {
        json: (name) =>
          Promise.resolve(
            {
              "config.json": fixtureJson("parallel/config.json"),
              "tokenizer.json": {
                ...tokenizer,
                post_processor: {
                  type: "TemplateProcessing",
                  single: [
                    { SpecialToken: { id: begin, type_id: 0 } },
                    { Sequence: { id: "A", type_id: 0 } },
                  ],
                  pair: [],
                  special_tokens: { [begin]: { id: begin, ids: [0], tokens: [begin] } },
                },
              },
            }[name],
          ),
        tensors: () => openTensorFolder(fixturePath("parallel")),
      },
      backend,
    );
    const hookPoints = ["blocks.1.mlp.hook_post"] as const;
    const rows = async (texts: readonly string[], options: object): Promise<Float32Array> => {
      const captured = await captureActivations(model, texts, { hookPoints, ...options });
      return captured.get(hookPoints[0])!.toFloat32();
    };
    const asked = await rows(TEXTS, { specialTokens: true, skipFirst: 1 });
    expect(asked).toEqual(
      await rows(
        TEXTS.map((text) => begin + text),
        { skipFirst: 1 },
      ),
    );
    expect(asked).not.toEqual(await rows(TEXTS, {}));
    expect(asked).toHaveLength((await rows(TEXTS, {})).length);
    model.dispose();
  });
});
