/** Digests that a journal recognises a study and its datasets by. */
import type { CallOptions } from "../backends/backend.ts";
import { Pacer } from "../backends/cpu/pacer.ts";
import { Activations } from "../data/activations.ts";
import type { FeatureDataset } from "../datasets/feature-dataset.ts";
import { streamingDigest } from "../hub/digests.ts";
import type { JournalHeader } from "./journal.ts";
import type { StudyPlan } from "./plan-study.ts";
import type { SweepActivations } from "./sweep-study.ts";

/** Bytes between two turns of the event loop. */
const PIECE = 2 ** 20;

/** Collects what a digest is of; names and lengths go in with the values, so that nothing runs into its neighbour. */
class Digester {
  readonly #digest = streamingDigest("sha256");
  readonly #pacer: Pacer;

  constructor(options: CallOptions) {
    this.#pacer = new Pacer(options.signal);
  }

  json(value: unknown): void {
    const bytes = new TextEncoder().encode(JSON.stringify(value));
    this.#digest.update(new TextEncoder().encode(`${bytes.length}:`));
    this.#digest.update(bytes);
  }

  async bytes(array: ArrayBufferView): Promise<void> {
    this.json(array.byteLength);
    const bytes = new Uint8Array(array.buffer, array.byteOffset, array.byteLength);
    for (let at = 0; at < bytes.length; at += PIECE) {
      this.#digest.update(bytes.subarray(at, at + PIECE));
      if (this.#pacer.due) await this.#pacer.turn();
    }
  }

  hex(): string {
    return this.#digest.hex();
  }
}

/** Everything that decides what the rows are, but for what datasets are built from. */
export async function digestOfStudy(plan: StudyPlan, options: CallOptions): Promise<JournalHeader> {
  const { study, methods, seeds, rotations, fractions, leastPerClass, settings, intervals } = plan;
  const described = {
    version: 1,
    models: (study.models ?? []).map(({ name, ...model }) => [
      name,
      "revision" in model ? (model.revision ?? null) : null,
    ]),
    datasets: await Promise.all(
      (study.datasets ?? []).map(async (dataset) => [
        dataset.name,
        "build" in dataset ? (dataset.digest ?? null) : await digestOfDataset(dataset, options),
      ]),
    ),
    activations: await Promise.all(
      (study.activations ?? []).map(async (own) => [
        own.name,
        own.model ?? null,
        await digestOfActivations(own, options),
      ]),
    ),
    features: study.features ?? null,
    hookPoints: study.hookPoints ?? null,
    layers: study.layers ?? null,
    ks: study.ks ?? null,
    methods: methods.map((method) => ({
      name: method.name,
      kind: method.kind,
      ...(method.kind === "ranking" && { ranking: rankingName(method.ranking) }),
      options: method.options,
      rotated: method.rotated,
    })),
    rotations,
    seeds,
    fractions: [fractions.train, fractions.validation, fractions.test],
    leastPerClass,
    probe: settings,
    intervals: intervals ? { ...intervals, ks: intervals.ks ? [...intervals.ks] : null } : null,
  };
  const digest = new Digester(options);
  digest.json(described);
  return { digest: digest.hex(), study: described };
}

function rankingName(ranking: unknown): unknown {
  if (typeof ranking === "function") return ranking.name;
  return typeof ranking === "object" && ranking !== null && "score" in ranking
    ? (ranking as { readonly name?: unknown }).name
    : ranking;
}

/** Digest of a dataset's passages, rows and labels. */
export async function digestOfDataset(dataset: FeatureDataset, options: CallOptions): Promise<string> {
  const { name, category, tokenizer, aggregation, passages, rows, labels, report } = dataset;
  const digest = new Digester(options);
  digest.json({ name, category, tokenizer, aggregation, features: labels.features, missing: report.missing });
  digest.json(passages.map(({ group }) => group));
  for (const { tokens } of passages) await digest.bytes(tokens);
  for (const part of [rows.passage, rows.positions, rows.offsets, labels.values]) await digest.bytes(part);
  return digest.hex();
}

/** Digest of labels and values; of activations in blocks that of their shape. */
export async function digestOfActivations(own: SweepActivations, options: CallOptions): Promise<string> {
  const digest = new Digester(options);
  digest.json({ features: own.labels.features, groups: own.groups ?? null, digest: own.digest ?? null });
  await digest.bytes(own.labels.values);
  for (const [point, given] of own.activations) {
    digest.json([point, given.rows, given.neurons]);
    if (own.digest !== undefined || !(given instanceof Activations)) continue;
    digest.json([given.dtype, given.groups ?? null]);
    await digest.bytes(given.data);
    if (given.code) for (const part of [given.code.scale, given.code.offset]) await digest.bytes(part);
  }
  return digest.hex();
}
