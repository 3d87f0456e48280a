/** J5: the whole path, from texts to probes: capture, rank, fit at every layer and k, choose, test. */
import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import {
  K_SCHEDULE,
  probeTexts,
  readLabelledTexts,
  type Backend,
  type LanguageModel,
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
  const texts = await passages();
  const ks = K_SCHEDULE.filter((k) => k <= 256);
  const models = new Map<Backend, LanguageModel>();
  for (const { backend } of context.ours) models.set(backend, await loadModelFolder(MODEL, backend));
  const run = (backend: Backend): Promise<ProbeTextsResult> =>
    probeTexts(models.get(backend)!, texts, { aggregation: "mean", skipFirst: 1, ks });
  // The most threads that there are.
  const { backend } = context.ours.filter(({ unavailable }) => !unavailable).at(-1)!;
  const result = await run(backend);
  const study = {
    texts: texts.texts,
    labels: texts.labels,
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
  const packages = ["torch", "transformers", "tokenizers", "scikit-learn", "threadpoolctl"];
  for (const process of context.rivals) {
    if (process.unavailable(...packages)) continue;
    await process.load("texts_to_probes", { study: path, model: MODEL, threads: process.threads });
  }
  const { spec } = models.get(backend)!;
  const task = await compare(
    {
      job: "J5",
      task: "texts to probes",
      size: {
        texts: texts.texts.length,
        tokens: result.tokens,
        features: Object.keys(texts.labels).length,
        layers: spec.layers,
        neurons: spec.dMlp,
        ks: ks.length,
      },
      contenders: [
        ...ourContenders(context, {
          // Held against the run that the rival is compared with below.
          verify: async (other) => {
            const again = other === backend ? result : await run(other);
            const failed = again.rows.filter(({ converged }) => !converged).length;
            return `${sameStudy(again, studyOf(result))}; ${failed} of ${again.rows.length} probes not converged`;
          },
          run,
        }),
        ...rivalContenders(context, {
          name: "transformers + scikit-learn",
          packages,
          note:
            "one pass, batches of 32 sorted by length; newton-cholesky up to k = 64, lbfgs beyond; at 2 threads the layers are " +
            "fitted in one process per thread, and the peak memory is that of the first alone",
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
        "The bundled passages cut in pieces, up to 1,000; features: the 13 classes that they have, each against the rest, and whether " +
        "a passage is code. Timed, on both sides: tokenising, the forward pass, the mean over tokens, ranking, every fit, the choice of a " +
        "layer on validation rows and the report on test rows. Not timed: starting, importing, and loading the model. " +
        "Where the time of ours goes: " +
        Object.entries(result.seconds)
          .filter(([stage]) => stage !== "total")
          .map(([stage, seconds]) => `${stage} ${seconds.toFixed(2)} s`)
          .join(", ") +
        ".",
    },
    { ...context, rounds: Math.min(context.rounds, 3) },
  );
  for (const model of models.values()) model.dispose();
  return [task];
}

interface Passages {
  readonly texts: string[];
  /** 0 or 1 by feature and text. */
  readonly labels: Readonly<Record<string, number[]>>;
  readonly docs: string[];
}

/** The bundled texts, each in up to three pieces of whole sentences or lines. */
async function passages(): Promise<Passages> {
  const texts: string[] = [];
  const classes: string[] = [];
  const code: boolean[] = [];
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
        classes.push(String(data.labels[t]));
        code.push(name === "code-language");
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
  const labels: Record<string, number[]> = {};
  for (const name of [...new Set(classes)].sort()) {
    labels[name] = chosen.map((t) => (classes[t] === name ? 1 : 0));
  }
  labels["is code"] = chosen.map((t) => (code[t] ? 1 : 0));
  return {
    texts: chosen.map((t) => texts[t]),
    labels,
    docs: chosen.map((t) => docs[t]),
  };
}

function studyOf({ rows, chosen }: ProbeTextsResult): Study {
  return {
    supports: Object.fromEntries(
      rows.map(({ feature, k, layer, neurons }) => [`${feature} ${k} ${layer}`, neurons]),
    ),
    chosen: Object.fromEntries(
      chosen.map(({ feature, k, layer, test }) => [`${feature} ${k}`, { layer, f1: test.f1 ?? 0 }]),
    ),
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
