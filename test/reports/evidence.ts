/** Evidence of the bundled model's neurons on a few texts, some of them hostile. */
import { readFile } from "node:fs/promises";
import { resolve } from "node:path";
import { createCpuBackend } from "../../src/backends/cpu/cpu-backend.ts";
import { readLabelledTexts } from "../../src/datasets/texts.ts";
import { logitEffects, neuronEvidence, weightStatistics } from "../../src/evidence/evidence.ts";
import { measureAblation } from "../../src/interventions/interventions.ts";
import { loadModelFolder } from "../../src/node/model.ts";
import type { NeuronPage } from "../../src/reports/page/neuron-section.ts";

const ROOT = resolve(import.meta.dirname, "../..");

export const HOSTILE = [
  "</script><script>globalThis.hacked = true</script>",
  `<img src=x onerror="globalThis.hacked = true"> ' " \` & &amp; <!-- -->`,
  "nul \0 bell \u0007 override \u202Etxet\u202C isolate \u2066x\u2069 mark \u200F line \u2028 para \u2029 end",
  "shalom \u05E9\u05DC\u05D5\u05DD, family \u{1F468}\u200D\u{1F469}\u200D\u{1F467}, thumbs \u{1F44D}\u{1F3FD}, \ufeff done",
  "${globalThis.hacked = true} {{7*7}} javascript:alert(1) ]]> </style></title>",
];

/** The neuron of French, with all that can be said of it, and one with examples alone. */
export async function neuronPages(): Promise<NeuronPage[]> {
  const model = await loadModelFolder(resolve(ROOT, "examples/model/haystack-4m"), createCpuBackend());
  try {
    const lines = (await readFile(resolve(ROOT, "examples/data/natural-language.jsonl"), "utf8")).split("\n");
    const { texts, labels, docs } = readLabelledTexts(lines.slice(0, 56).join("\n"));
    const all = [...texts, ...HOSTILE];
    const classes = [...(labels as string[]), ...HOSTILE.map(() => "</script>\u202E<b>")];
    const groups = [...docs!, ...HOSTILE.map((_, i) => `hostile ${i}`)];
    const asked = [
      { layer: 4, neuron: 765, positive: "fr" },
      { layer: 3, neuron: 609, positive: "</script>\u202E<b>" },
    ];
    const evidence = await neuronEvidence(model, all, {
      neurons: asked,
      labels: classes,
      groups,
      top: all.length,
      bottom: 2,
      context: 80,
    });
    const [logits] = await logitEffects(model, asked.slice(0, 1));
    const [weights] = await weightStatistics(model, { layers: [4] });
    const few = [0, 1, 2, 20, 21, 22, 58];
    const ablation = await measureAblation(
      model,
      few.map((i) => all[i]),
      {
        hookPoint: "blocks.4.mlp.hook_post",
        neurons: [765],
        how: "mean",
        classes: few.map((i) => classes[i]),
        resamples: 100,
        controls: { draws: 2 },
        logitsOf: [5],
      },
    );
    return [
      {
        model: "haystack-4m",
        evidence: evidence.neurons[0],
        logits,
        weights,
        ablations: [ablation],
        notes: [HOSTILE[0]],
      },
      { evidence: evidence.neurons[1] },
    ];
  } finally {
    model.dispose();
  }
}
