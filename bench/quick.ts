/**
 * Quick mode: small sizes, no Python. Each case measures how many times faster the library is than a plain loop of this folder in
 * the same process, and fails under a floor. Ratios travel between machines; times do not.
 */
import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import {
  Activations,
  probeTexts,
  readLabelledTexts,
  type Backend,
  type DeviceActivations,
} from "sparseprobe";
import { createBackend, loadModelFolder } from "sparseprobe/node";
import { assertClose, assertOptimal } from "./check.ts";
import { checkMoments } from "./class-moments.bench.ts";
import { generator, labelMatrix, makeActivations, makeLabels } from "./data.ts";
import { ALLOWED, FIT, flatFits } from "./logistic-supports.bench.ts";
import {
  aucLoop,
  bestInformednessLoop,
  columnsLoop,
  momentsLoop,
  newtonLoop,
  optimumLoop,
  productLoop,
} from "./reference-loops.ts";

export interface QuickSizes {
  readonly rows: number;
  readonly neurons: number;
  /** Supports a size. */
  readonly supports: number;
  readonly texts: number;
  readonly rounds: number;
}

export const QUICK_SIZES: QuickSizes = { rows: 2000, neurons: 1024, supports: 8, texts: 12, rounds: 5 };

/** No further rounds after this. */
const CASE_MILLISECONDS = 3000;

/** Least ratio by case. */
export type Floors = Readonly<Partial<Record<string, number>>>;

export interface QuickResult {
  readonly name: string;
  /** Fastest run of the loop over the fastest of ours. */
  readonly ratio: number;
  readonly floor: number | undefined;
  readonly passed: boolean;
}

interface QuickCase {
  readonly name: string;
  /** @throws WrongAnswerError */
  verify(): Promise<void>;
  ours(): Promise<unknown>;
  loop(): void;
  /** Share of ours' work that the loop does; default all. */
  readonly loopShare?: number;
}

const FLOORS = new URL("quick-floors.json", import.meta.url);
const EXAMPLES = new URL("../examples/", import.meta.url).pathname;

export async function readFloors(): Promise<Floors> {
  return JSON.parse(await readFile(FLOORS, "utf8")) as Floors;
}

/**
 * Floors from several runs: half of each case's lowest ratio, to two digits. A busy machine moves even ratios by a factor of two;
 * losing SIMD or a better algorithm moves them by more.
 */
export function floorsFrom(runs: readonly (readonly QuickResult[])[]): Floors {
  const lowest = new Map<string, number>();
  for (const { name, ratio } of runs.flat()) {
    lowest.set(name, Math.min(ratio, lowest.get(name) ?? Infinity));
  }
  return Object.fromEntries([...lowest].map(([name, ratio]) => [name, Number((ratio / 2).toPrecision(2))]));
}

export async function writeFloors(floors: Floors): Promise<void> {
  await writeFile(FLOORS, `${JSON.stringify(floors, null, 2)}\n`);
}

/** Runs all cases; a case without a floor fails. */
export async function runQuick(
  sizes: QuickSizes,
  floors: Floors,
  log: (line: string) => void,
): Promise<QuickResult[]> {
  // One thread on both sides: a second core may be busy with something else.
  const backend = await createBackend("cpu", { threads: 1 });
  const results: QuickResult[] = [];
  for (const one of [...(await matrixCases(backend, sizes)), await textCase(backend, sizes)]) {
    await one.verify();
    let [ours, loop] = [Infinity, Infinity];
    const start = performance.now();
    for (let round = 0; round < sizes.rounds; round++) {
      ours = Math.min(ours, await timed(() => one.ours()));
      loop = Math.min(loop, await timed(() => one.loop()));
      if (round > 0 && performance.now() - start > CASE_MILLISECONDS) break;
    }
    const ratio = loop / (one.loopShare ?? 1) / ours;
    const floor = floors[one.name];
    const passed = floor !== undefined && ratio >= floor;
    results.push({ name: one.name, ratio, floor, passed });
    log(
      `${passed ? "ok  " : "FAIL"} ${one.name}: ${ratio.toFixed(2)} × the plain loop's speed (floor ${floor ?? "missing"})`,
    );
  }
  backend.dispose();
  return results;
}

async function timed(call: () => unknown): Promise<number> {
  const start = performance.now();
  await call();
  return performance.now() - start;
}

async function matrixCases(backend: Backend, sizes: QuickSizes): Promise<QuickCase[]> {
  const { rows, neurons: d } = sizes;
  const values = makeLabels(rows, 7);
  const x = makeActivations(sizes, values, 11);
  const cases: QuickCase[] = [];
  for (const [job, dtype, features, squares] of [
    ["J1", "f32", 1, "none"],
    ["J1", "f32", 1, "class"],
    ["J1", "f16", 1, "none"],
    ["J1", "u8", 1, "none"],
    ["J1b", "f32", 13, "none"],
    ["J1b", "f32", 13, "within"],
  ] as const) {
    const labels = labelMatrix(values, rows, features);
    const stored = new Activations(x, [rows, d]).toStorage(dtype);
    const device = await placed(backend, stored);
    const decoded = stored.toFloat32();
    const loop = () =>
      new Map(labels.features.map((_, f) => [f, momentsLoop(decoded, rows, d, labels.of(f))] as const));
    const ours = () => backend.classMoments(device, labels, { squares });
    cases.push({
      name: `${job} class moments, ${features} ${features === 1 ? "feature" : "features"}, ${dtype}, squares: ${squares}`,
      verify: async () => void checkMoments(await ours(), { neurons: d, moments: loop() }),
      ours,
      loop: () => void loop(),
    });
  }
  const labels = labelMatrix(values, rows, 1);
  const y = labels.of(0);
  const device = await placed(backend, new Activations(x, [rows, d]));
  const next = generator(5);
  for (const [job, k, count] of [
    ["J2", 1, 8 * sizes.supports],
    ["J2", 8, sizes.supports],
    ["J2", 64, Math.ceil(sizes.supports / 4)],
    ["J3", 96, 1],
  ] as const) {
    const problems = Array.from({ length: count }, () => ({
      feature: 0,
      support: Uint32Array.from(
        { length: k },
        (_, c) => (next() % Math.floor(d / k)) + c * Math.floor(d / k),
      ),
    }));
    const ours = () => backend.fitLogistic(device, labels, problems, FIT);
    const columns = problems.map(({ support }) => columnsLoop(x, rows, d, support));
    cases.push({
      name: `${job} logistic fits, k = ${k}`,
      verify: async () => {
        const optima = columns.map((one) => optimumLoop(one, y));
        assertOptimal(flatFits(await ours()), optima, ALLOWED);
      },
      ours,
      loop: () => {
        for (const { support } of problems) {
          newtonLoop(columnsLoop(x, rows, d, support), y, 1, FIT.tolerance);
        }
      },
    });
  }
  // Ours do all neurons, the loops an even sample of them.
  const sample = Array.from({ length: Math.min(d, 64) }, (_, i) => Math.floor((i * d) / Math.min(d, 64)));
  const single = (call: (column: Float64Array) => void) => () =>
    columnsLoop(x, rows, d, sample).forEach((column) => call(column));
  const fits = () => backend.fitSingleNeurons(device, labels, FIT);
  cases.push({
    name: "J4 a probe of every neuron",
    verify: async () => {
      const { coefficients, intercepts } = await fits();
      const want = columnsLoop(x, rows, d, sample).map((column) => optimumLoop([column], y));
      const got = sample.flatMap((j) => [coefficients[j], intercepts[j]]);
      assertOptimal(got, want, ALLOWED);
    },
    ours: fits,
    loop: single((column) => newtonLoop([column], y, 1, FIT.tolerance)),
    loopShare: sample.length / d,
  });
  const roc = () => backend.neuronRoc(device, labels);
  cases.push({
    name: "J4 AUC and best threshold of every neuron",
    verify: async () => {
      const { auc, informedness } = await roc();
      const columns = columnsLoop(x, rows, d, sample);
      const areas = columns.map((column) => aucLoop(column, y));
      const best = columns.map((column) => Math.abs(bestInformednessLoop(column, y)));
      const got = [...sample.map((j) => auc[j]), ...sample.map((j) => Math.abs(informedness[j]))];
      assertClose("areas and informedness", got, [...areas, ...best], () => 1, 1e-12);
    },
    ours: roc,
    loop: single((column) => {
      aucLoop(column, y);
      bestInformednessLoop(column, y);
    }),
    loopShare: sample.length / d,
  });
  return cases;
}

/** In the backend's own memory; the process ends with the cases. */
async function placed(backend: Backend, x: Activations): Promise<DeviceActivations> {
  const own = await backend.allocate(x.rows, x.neurons, { dtype: x.dtype, ...(x.code && { code: x.code }) });
  own.data.set(x.data);
  return backend.upload(own);
}

/** The forward pass and all that follows, against the products of a single layer: a plain loop over all of them takes too long. */
async function textCase(backend: Backend, sizes: QuickSizes): Promise<QuickCase> {
  const data = readLabelledTexts(await readFile(join(EXAMPLES, "data/natural-language.jsonl"), "utf8"));
  const chosen = data.texts
    .map((_, t) => t)
    .filter((t) => data.labels[t] === "ru" || data.labels[t] === "fr")
    .slice(0, sizes.texts);
  const texts = {
    texts: chosen.map((t) => data.texts[t]),
    labels: chosen.map((t) => data.labels[t]),
    docs: chosen.map((t) => data.docs![t]),
  };
  const model = await loadModelFolder(join(EXAMPLES, "model/haystack-4m"), backend);
  const ours = () => probeTexts(model, texts, { aggregation: "mean", ks: [1, 4] });
  const { tokens } = await ours();
  const { dModel, dMlp } = model.spec;
  const next = generator(9);
  const random = (length: number) => Float32Array.from({ length }, () => next() / 2 ** 31 - 1);
  const x = random(tokens * dModel);
  const hidden = random(tokens * dMlp);
  const w = random(dModel * dMlp);
  return {
    name: "J5 texts to probes, against one layer of products",
    verify: async () => {
      const { rows } = await ours();
      const converged = rows.filter((row) => row.converged).length;
      assertClose("converged fits", [converged], [rows.length], () => 1, 0);
    },
    ours,
    loop: () => {
      // Queries, keys, values and the attention's output are 4·d² together, as much as one side of the MLP here.
      productLoop(x, w, tokens, dModel, dMlp);
      productLoop(x, w, tokens, dModel, dMlp);
      productLoop(hidden, w, tokens, dMlp, dModel);
    },
  };
}
