/** J5: the whole path, from texts to probes: capture, rank, fit at every layer and k, choose, test. */
import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import {
  K_SCHEDULE,
  probeTexts,
  readLabelledTexts,
  type LabelledTexts,
  type ProbeTextsResult,
} from "sparseprobe";
import { loadModelFolder } from "sparseprobe/node";
import { compare, WrongAnswerError } from "./compare.ts";
import { ourContenders, rivalContenders, type JobContext } from "./job.ts";
import type { TaskResult } from "./results.ts";

const EXAMPLES = new URL("../examples/", import.meta.url).pathname;
const MODEL = join(EXAMPLES, "model/haystack-4m");
const PASSAGES = 1000;

/** What a rival of the whole path answers. */
interface Study {
  /** Neurons by "feature k layer". */
  readonly supports: Readonly<Record<string, readonly number[]>>;
  /** By "feature k". */
  readonly chosen: Readonly<Record<string, { readonly layer: number; readonly f1: number }>>;
}

export async function textsToProbes(context: JobContext): Promise<TaskResult[]> {
  const data = await passages();
  const texts = { ...data, labels: data.labels.map(String) };
  const ks = K_SCHEDULE.filter((k) => k <= 256);
  const [{ backend }] = context.ours;
  const model = await loadModelFolder(MODEL, backend);
  const run = (): Promise<ProbeTextsResult> =>
    probeTexts(model, texts, { aggregation: "mean", skipFirst: 1, ks });
  const result = await run();
  const features = [...new Set(texts.labels)].sort();
  const study = {
    texts: texts.texts,
    labels: texts.labels,
    features,
    ks,
    split: {
      train: result.split.train.texts,
      validation: result.split.validation.texts,
      test: result.split.test.texts,
    },
  };
  const { folder } = context.files;
  const path = join(folder, "study.json");
  await writeFile(path, JSON.stringify(study));
  const packages = ["torch", "transformers", "tokenizers", "scikit-learn"];
  for (const process of context.rivals) {
    if (process.unavailable(...packages)) continue;
    await process.load("texts_to_probes", { study: path, model: MODEL, threads: process.threads });
  }
  const task = await compare(
    {
      job: "J5",
      task: "texts to probes",
      size: {
        texts: texts.texts.length,
        tokens: result.tokens,
        features: features.length,
        layers: model.spec.layers,
        neurons: model.spec.dMlp,
        ks: ks.length,
      },
      contenders: [
        ...ourContenders(context, {
          note: "loading the model not included, on both sides",
          // Nothing to hold it against but the rival, which is compared with it below.
          verify: () =>
            Promise.resolve(
              `${result.rows.length} probes, ${result.rows.filter(({ converged }) => !converged).length} not converged`,
            ),
          run,
        }),
        ...rivalContenders(context, {
          name: "transformers + scikit-learn",
          packages,
          note: "one pass, batches of 32 sorted by length; newton-cholesky up to k = 64, lbfgs beyond",
          verify: async (process) => {
            const out = join(folder, `study-${process.threads}.json`);
            await process.run("study", {}, out);
            return sameStudy(result, JSON.parse(await readFile(out, "utf8")) as Study);
          },
          run: (process) => process.run("study", {}),
        }),
      ],
      goals: [
        {
          times: 10,
          rivals: ["transformers + scikit-learn"],
          text: "the same study in PyTorch and scikit-learn",
        },
      ],
      note:
        "The bundled passages cut in pieces, up to 1,000; 13 features, since that is how many classes they have. " +
        "Where the time of ours goes: " +
        Object.entries(result.seconds)
          .filter(([stage]) => stage !== "total")
          .map(([stage, seconds]) => `${stage} ${seconds.toFixed(2)} s`)
          .join(", ") +
        ".",
    },
    { ...context, rounds: Math.min(context.rounds, 3) },
  );
  model.dispose();
  return [task];
}

/** The bundled texts, each in up to three pieces of whole sentences or lines. */
async function passages(): Promise<LabelledTexts & { docs: string[] }> {
  const texts: string[] = [];
  const labels: LabelledTexts["labels"][number][] = [];
  const docs: string[] = [];
  for (const name of ["natural-language", "code-language"]) {
    const data = readLabelledTexts(await readFile(join(EXAMPLES, `data/${name}.jsonl`), "utf8"));
    for (const [t, text] of data.texts.entries()) {
      const parts = text.split(name === "natural-language" ? /(?<=[.!?…]) / : /(?<=\n)/);
      const pieces = Math.min(3, parts.length);
      for (let piece = 0; piece < pieces; piece++) {
        const from = Math.floor((piece * parts.length) / pieces);
        const to = Math.floor(((piece + 1) * parts.length) / pieces);
        texts.push(parts.slice(from, to).join(name === "natural-language" ? " " : ""));
        labels.push(data.labels[t]);
        docs.push(`${name} ${data.docs![t]}`);
      }
    }
  }
  // Every n-th, so that all classes stay.
  const kept = texts
    .map((_, t) => t)
    .filter(
      (t) => Math.floor(((t + 1) * PASSAGES) / texts.length) > Math.floor((t * PASSAGES) / texts.length),
    );
  const chosen = texts.length <= PASSAGES ? texts.map((_, t) => t) : kept;
  return {
    texts: chosen.map((t) => texts[t]),
    labels: chosen.map((t) => labels[t]),
    docs: chosen.map((t) => docs[t]),
  };
}

/**
 * The rival's supports and scores against ours. Forward passes in float32 differ in the last digits, so neurons of nearly
 * equal rank may swap and a text on the border may fall on either side.
 * @throws WrongAnswerError when more than 2 % of the neurons or a mean of 0.01 in F1 differ
 */
function sameStudy(ours: ProbeTextsResult, theirs: Study): string {
  let [neurons, shared, same] = [0, 0, 0];
  for (const row of ours.rows) {
    const other = new Set(theirs.supports[`${row.feature} ${row.k} ${row.layer}`]);
    const common = row.neurons.filter((j) => other.has(j)).length;
    neurons += row.neurons.length;
    shared += common;
    if (common === row.neurons.length) same++;
  }
  let off = 0;
  for (const { feature, k, test } of ours.chosen) {
    off += Math.abs((test.f1 ?? 0) - theirs.chosen[`${feature} ${k}`].f1) / ours.chosen.length;
  }
  const said = `${same} of ${ours.rows.length} supports the same, mean difference in test F1 ${off.toFixed(4)}`;
  if (shared < 0.98 * neurons || !(off <= 0.01)) throw new WrongAnswerError(said);
  return said;
}
