/**
 * The study of Gurnee et al. (2023) in small: every category of features that the bundled model can show, all layers, all k, mean
 * difference and adaptive thresholding, and randomly rotated activations as a baseline. `npm run study`; `-- --help` lists the options.
 *
 * The study itself is described in `study.json`, which `npx sparseprobe sweep examples/study.json` runs as well.
 */
import { mkdir, readFile, rm } from "node:fs/promises";
import { dirname, join, resolve } from "node:path";
import { parseArgs } from "node:util";
import {
  logitEffects,
  measureAblation,
  neuronEvidence,
  readLabelledTexts,
  SparseProbeError,
  weightStatistics,
  type Backend,
} from "sparseprobe";
import {
  createBackend,
  loadModelFolder,
  openStudy,
  openSweepJournal,
  writeFileAtomically,
} from "sparseprobe/node";
import { chooseBest, htmlReport, studyPictures, type NeuronPage } from "sparseprobe/reports";
import {
  isFitted,
  readStudy,
  rowsToCsv,
  rowsToJsonLines,
  rowsToParquet,
  sweep,
  type SweepRow,
} from "sparseprobe/sweeps";
import { Progress } from "./support/progress.ts";

const HELP = `Probes every category of features on the bundled model, and writes a report.

  npm run study -- [options]

  --study FILE.json    description of the study (default examples/study.json)
  --out FOLDER         report.html, rows.jsonl, rows.csv, rows.parquet (default out/study)
  --datasets a,b       only these datasets
  --layers 0,3         only these layers
  --ks 1,4,16          only these sizes
  --neurons N          features whose best neuron gets a page of its own (default 7)
  --threads N          threads of the CPU backend (default: all cores)
  --fresh              begin anew instead of going on where an earlier run stopped
  --help               this text
`;

const { values } = parseArgs({
  options: {
    study: { type: "string", default: resolve(import.meta.dirname, "study.json") },
    out: { type: "string", default: "out/study" },
    datasets: { type: "string" },
    layers: { type: "string" },
    ks: { type: "string" },
    neurons: { type: "string", default: "7" },
    threads: { type: "string" },
    fresh: { type: "boolean", default: false },
    help: { type: "boolean", default: false },
  },
});

async function main(signal: AbortSignal): Promise<void> {
  const started = performance.now();
  const progress = new Progress();
  const numbers = (list: string): number[] => list.split(",").map(Number);
  const described = readStudy({
    ...(JSON.parse(await readFile(values.study, "utf8")) as object),
    ...(values.layers && { layers: numbers(values.layers) }),
    ...(values.ks && { ks: numbers(values.ks) }),
  });
  const wanted = values.datasets?.split(",");
  const description = {
    ...described,
    datasets: described.datasets.filter(({ name, builder }) => wanted?.includes(name ?? builder) ?? true),
  };
  await mkdir(values.out, { recursive: true });
  const journalPath = join(values.out, "journal.jsonl");
  if (values.fresh) await rm(journalPath, { force: true });

  const backend = await createBackend("cpu", { ...(values.threads && { threads: Number(values.threads) }) });
  try {
    const study = await openStudy(description, backend, { folder: dirname(values.study), signal });
    const journal = await openSweepJournal(journalPath);
    const rows: SweepRow[] = [];
    try {
      const results = sweep(study, {
        journal,
        signal,
        onProgress: ({ done, total, unit }) => progress.show(unit.dataset ?? "study", done, total),
      });
      for await (const row of results) rows.push(row);
    } finally {
      await journal.close();
    }
    progress.clear();
    describe(rows);

    await writeFileAtomically(join(values.out, "rows.jsonl"), Buffer.from(rowsToJsonLines(rows)));
    await writeFileAtomically(join(values.out, "rows.csv"), Buffer.from(rowsToCsv(rows)));
    await writeFileAtomically(join(values.out, "rows.parquet"), await rowsToParquet(rows));
    const report = await htmlReport(
      {
        title: "Finding neurons in a haystack, in small",
        notes: [
          "Every category of features that a model of 4 million parameters can show, on texts written for this project.",
        ],
        rows,
        neurons: await neuronPages(rows, backend, signal, progress),
        pictures: studyPictures(rows),
      },
      { signal, onProgress: (done, total) => progress.show("pictures", done, total) },
    );
    progress.clear();
    await writeFileAtomically(join(values.out, "report.html"), Buffer.from(report));
    console.log(
      `Written: ${["report.html", "rows.jsonl", "rows.csv", "rows.parquet"].map((name) => join(values.out, name)).join(", ")}`,
    );
  } finally {
    backend.dispose();
  }
  console.log(`All of it: ${((performance.now() - started) / 1000).toFixed(1)} s.`);
}

/** Prints, by category, the median over features of what validation rows chose and test rows say of it. */
function describe(rows: readonly SweepRow[]): void {
  const failed = rows.filter((row) => !isFitted(row)).length;
  console.log(
    `${rows.length} rows${failed > 0 ? `, ${failed} of them without a probe` : ""}. Median test F1 over features:`,
  );
  console.log("category           features  1 neuron  rotated  8 neurons  64 neurons  64, adaptive");
  const categories = [...new Set(rows.flatMap(({ category }) => category ?? []))];
  for (const category of categories) {
    const of = rows.filter((row) => row.category === category);
    const cell = (k: number, method: string, rotated = false): string => {
      const chosen = chooseBest(
        of.filter((row) => row.k === k && row.method === method && (row.rotation !== null) === rotated),
        "f1",
      );
      const scores = chosen.flatMap(({ test }) => test?.metrics.f1 ?? []).sort((a, b) => a - b);
      const middle = scores.length / 2;
      const median = (scores[Math.ceil(middle) - 1] + scores[Math.floor(middle)]) / 2;
      return scores.length > 0 ? median.toFixed(2) : "–";
    };
    const features = new Set(of.map(({ feature }) => feature)).size;
    console.log(
      [
        category.padEnd(19),
        String(features).padStart(8),
        cell(1, "mean-difference").padStart(10),
        cell(1, "mean-difference", true).padStart(9),
        cell(8, "mean-difference").padStart(11),
        cell(64, "mean-difference").padStart(12),
        cell(64, "adaptive").padStart(14),
      ].join(""),
    );
  }
}

/** What the best neurons of the natural languages respond to, what they write, and what the model loses without them. */
async function neuronPages(
  rows: readonly SweepRow[],
  backend: Backend,
  signal: AbortSignal,
  progress: Progress,
): Promise<NeuronPage[]> {
  const languages = rows.filter(
    ({ category, k, rotation }) => category === "natural-language" && k === 1 && rotation === null,
  );
  const chosen = chooseBest(languages, "f1").slice(0, Number(values.neurons));
  if (chosen.length === 0) return [];
  const here = import.meta.dirname;
  const model = await loadModelFolder(resolve(here, "model/haystack-4m"), backend, { signal });
  try {
    const data = readLabelledTexts(await readFile(resolve(here, "data/natural-language.jsonl"), "utf8"));
    const neurons = chosen.map(({ validation }) => ({
      layer: validation.layer,
      neuron: validation.support[0],
      positive: validation.feature,
    }));
    const { neurons: evidence } = await neuronEvidence(model, data.texts, {
      neurons,
      labels: data.labels,
      groups: data.docs,
      skipFirst: 1,
      top: 12,
      signal,
      onProgress: (done, total) => progress.show("evidence", done, total),
    });
    const weights = await weightStatistics(model, { signal });
    const logits = await logitEffects(model, neurons, { signal });
    // Losses take a pass each with and without the neuron: every fourth topic, in all languages, is enough to see the sign.
    const topics = new Set([...new Set(data.docs)].filter((_, i) => i % 4 === 0));
    const some = data.texts.map((_, i) => i).filter((i) => topics.has(data.docs![i]));
    const pages: NeuronPage[] = [];
    for (const [i, of] of evidence.entries()) {
      const { layer, neuron, positive } = neurons[i];
      const ablation = await measureAblation(
        model,
        some.map((i) => data.texts[i]),
        {
          hookPoint: `blocks.${layer}.mlp.hook_post`,
          neurons: [neuron],
          how: "mean",
          classes: some.map((i) => (data.labels[i] === positive ? positive : "others")),
          groups: some.map((i) => data.docs![i]),
          signal,
          onProgress: (done, total) => progress.show(`ablation of ${positive}`, done, total),
        },
      );
      pages.push({ evidence: of, logits: logits[i], weights: weights[layer], ablations: [ablation] });
    }
    return pages;
  } finally {
    model.dispose();
  }
}

if (values.help) process.stdout.write(HELP);
else {
  const stop = new AbortController();
  process.once("SIGINT", () => stop.abort(new Error("Stopped; run again to go on.")));
  try {
    await main(stop.signal);
  } catch (error) {
    console.error(
      error instanceof SparseProbeError || stop.signal.aborted ? `Error: ${(error as Error).message}` : error,
    );
    process.exitCode = 1;
  }
}
