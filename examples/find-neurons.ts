/**
 * The main job: labelled texts and a model go in; for every feature, the neurons that carry it come out, with probes for
 * each k scored on held-out documents.
 */
import { mkdir, readFile } from "node:fs/promises";
import { basename, dirname, resolve } from "node:path";
import { parseArgs } from "node:util";
import {
  captureColumns,
  probeTexts,
  readLabelledTexts,
  SparseProbeError,
  type BackendKind,
  type HookPoint,
  type LabelledTexts,
  type LanguageModel,
  type ProbeTextsResult,
} from "sparseprobe";
import { createBackend, loadModelFolder, writeFileAtomically } from "sparseprobe/node";
import { neuronStripsPicture, renderSvg, type NeuronStrip } from "sparseprobe/reports";
import { Progress } from "./support/progress.ts";
import { describeResult } from "./support/describe-result.ts";

const HELP = `Finds the neurons of a language model that tell classes of text apart.

  npm start -- [options]

  --backend auto|cpu|webgpu   where to compute (default auto: the GPU if there is one)
  --model DIR                 checkpoint: config.json, model.safetensors, tokenizer.json
  --data FILE.jsonl           lines {"text", "label", "doc"?}; may be given several times
  --ks 1,2,4                  support sizes (default 1…8, 10, 12, 16, 32, 64, 128, 256)
  --skip N                    tokens to leave out at the start of each text (default 1)
  --truncate                  cut texts longer than the model's context instead of stopping
  --seed N                    seed of the split by document (default 0)
  --out FILE                  result as JSON (default out/find-neurons.json)
  --picture FILE.svg          the best neurons on held-out texts (default out/find-neurons.svg)
  --help                      this text
`;

const here = import.meta.dirname;

async function main(signal: AbortSignal): Promise<void> {
  const { values } = parseArgs({
    options: {
      backend: { type: "string", default: "auto" },
      model: { type: "string", default: resolve(here, "model/haystack-4m") },
      data: {
        type: "string",
        multiple: true,
        default: ["natural-language", "code-language"].map((name) => resolve(here, `data/${name}.jsonl`)),
      },
      ks: { type: "string" },
      skip: { type: "string", default: "1" },
      truncate: { type: "boolean", default: false },
      seed: { type: "string", default: "0" },
      out: { type: "string", default: "out/find-neurons.json" },
      picture: { type: "string", default: "out/find-neurons.svg" },
      help: { type: "boolean", default: false },
    },
  });
  if (values.help) {
    process.stdout.write(HELP);
    return;
  }
  const started = performance.now();
  const progress = new Progress();
  const backend = await createBackend(values.backend as BackendKind);
  try {
    const model = await loadModelFolder(values.model, backend, {
      signal,
      onProgress: (done, total) => progress.show("loading tensors", done, total),
    });
    progress.clear();
    const { layers, dMlp } = model.spec;
    console.log(
      `${model.name ?? values.model}: ${layers} layers × ${dMlp} neurons, on ${backend.info.kind} (${backend.info.device})`,
    );
    if (backend.info.fallbackReason) console.log(`No GPU: ${backend.info.fallbackReason}`);

    const results: Record<string, ProbeTextsResult> = {};
    const best: NeuronStrip[] = [];
    for (const path of values.data) {
      const name = basename(path).replace(/\.jsonl$/, "");
      const data = readLabelledTexts(await readFile(path, "utf8"));
      const result = await probeTexts(model, data, {
        aggregation: "mean",
        skipFirst: Number(values.skip),
        truncate: values.truncate,
        ...(values.ks !== undefined && { ks: values.ks.split(",").map(Number) }),
        seed: Number(values.seed),
        signal,
        onProgress: (stage, done, total) => progress.show(`${name}: ${stage}`, done, total),
      });
      progress.clear();
      results[name] = result;
      best.push(...(await bestNeurons(model, name, data, result, Number(values.skip), signal)));
      console.log(`\n${describeResult(name, result)}`);
    }
    const seconds = (performance.now() - started) / 1000;
    console.log(`\nAll of it: ${seconds.toFixed(1)} s.`);
    const report = { model: model.name, backend: backend.info, seed: Number(values.seed), seconds, results };
    await save(values.out, `${JSON.stringify(report, null, 1)}\n`);
    const picture = neuronStripsPicture(best, {
      title: "Mean activation of each feature’s best neuron",
      rows: "held-out texts",
    });
    await save(values.picture, await renderSvg(picture, { width: 700 }));
    console.log(`Written: ${values.out}, ${values.picture}`);
    model.dispose();
  } finally {
    progress.clear();
    backend.dispose();
  }
}

/** The k = 1 probes' neurons on the held-out texts, which the model reads once more. */
async function bestNeurons(
  model: LanguageModel,
  dataset: string,
  { texts, labels }: LabelledTexts,
  { chosen, split }: ProbeTextsResult,
  skipFirst: number,
  signal: AbortSignal,
): Promise<NeuronStrip[]> {
  const single = chosen.filter(({ k }) => k === 1);
  const wanted = new Map<HookPoint, Uint32Array>();
  for (const { hookPoint, neurons } of single) {
    wanted.set(hookPoint, Uint32Array.from(new Set([...(wanted.get(hookPoint) ?? []), neurons[0]])).sort());
  }
  if (wanted.size === 0) return [];
  const held = split.test.texts;
  const columns = await captureColumns(
    model,
    held.map((i) => texts[i]),
    wanted,
    {
      aggregation: "mean",
      skipFirst,
      truncate: true,
      signal,
    },
  );
  return single.map((probe) => {
    const column = wanted.get(probe.hookPoint)!.indexOf(probe.neurons[0]);
    return {
      group: dataset,
      feature: probe.feature,
      layer: probe.layer,
      neuron: probe.neurons[0],
      f1: probe.test.f1,
      activations: [...columns.get(probe.hookPoint)!.gatherColumns([column]).toFloat32()],
      positive: held.map((i) => labels[i] === probe.feature),
    };
  });
}

async function save(path: string, text: string): Promise<void> {
  await mkdir(dirname(resolve(path)), { recursive: true });
  await writeFileAtomically(path, new TextEncoder().encode(text));
}

const interrupt = new AbortController();
process.once("SIGINT", () => interrupt.abort(new Error("Interrupted.")));
try {
  await main(interrupt.signal);
} catch (error) {
  const expected =
    error instanceof SparseProbeError || interrupt.signal.aborted || (error as { code?: string }).code;
  console.error(expected ? `Error: ${(error as Error).message}` : error);
  process.exitCode = 1;
}
