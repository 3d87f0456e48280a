/** Labelled candidates to a dataset: what every category has in common. */
import type { Aggregation } from "../backends/backend.ts";
import { Pacer } from "../backends/cpu/pacer.ts";
import { assertAggregation } from "../backends/row-segments.ts";
import { LabelMatrix, UNLABELLED } from "../data/labels.ts";
import { EmptyDataError, LabelError, OptionError, ShapeError } from "../errors.ts";
import type { Tokenizer } from "../model/tokenizer.ts";
import type {
  DatasetReport,
  DatasetRows,
  FeatureCategory,
  FeatureCounts,
  FeatureDataset,
  Passage,
} from "./feature-dataset.ts";
import { evenShares, keptSizes, Priorities, type Sampling, type SamplingOptions } from "./sample-rows.ts";

/** Tokens that may become a row. */
export interface CandidateRow {
  /** Index of a passage. */
  readonly passage: number;
  /** Tokens of the passage, rising; one of them where rows are single tokens. */
  readonly positions: readonly number[];
}

export interface DatasetParts {
  readonly name: string;
  readonly category: FeatureCategory;
  readonly tokenizer: Tokenizer;
  readonly aggregation: Aggregation;
  readonly passages: readonly Passage[];
  /** In the order of the passages; a list of rows, or the same packed. */
  readonly candidates: readonly CandidateRow[] | DatasetRows;
  /** By feature, a byte per candidate: 1, 0 or `UNLABELLED`. */
  readonly labels: ReadonlyMap<string, Uint8Array>;
  /**
   * By feature, a byte per candidate that tells kinds of negatives apart (whatever the byte). A feature takes as many of each
   * kind as of any other, as far as they reach. Default: negatives are of one kind.
   */
  readonly negativeKinds?: ReadonlyMap<string, Uint8Array> | undefined;
  readonly sampling?: SamplingOptions | undefined;
  /** What was left out on the way here, by reason. */
  readonly dropped?: Readonly<Record<string, number>> | undefined;
  /** Features that were looked for and have no labels, with the reason. */
  readonly missing?: DatasetReport["missing"] | undefined;
}

/**
 * Samples the rows of every feature and keeps those that some feature uses.
 *
 * A feature keeps as many rows as its options allow (`keptSizes`). Which ones is said by one seeded random number per
 * candidate, the same for all features: the negatives of one feature are mostly those of the next, so that a set of features
 * needs little more activations than one. It depends on the seed and the candidate's number alone, not on the other features.
 * A row that a feature did not draw is unlabelled for it. Passages without a row are left out.
 *
 * A feature with fewer than `leastRows` rows of a class is reported as missing, not an error.
 *
 * @param options with `onProgress`: called with features sampled so far and in all
 * @returns the dataset, frozen
 * @throws EmptyDataError when every feature is missing, or there is no feature, passage or candidate
 * @throws ShapeError when candidates are out of order, name tokens that do not exist, or labels do not match them
 * @throws LabelError when a label is none of 1, 0 and `UNLABELLED`
 * @throws OptionError when a sampling option is out of its range, or the aggregation is unknown
 */
export async function assembleDataset(
  parts: DatasetParts,
  options: {
    readonly signal?: AbortSignal | undefined;
    readonly onProgress?: ((done: number, total: number) => void) | undefined;
  } = {},
): Promise<FeatureDataset> {
  const { name, category, tokenizer, aggregation, passages, labels } = parts;
  const sampling = readSampling(parts.sampling);
  assertAggregation(aggregation);
  if (typeof name !== "string" || name === "") {
    throw new OptionError("The dataset has no name.", "Give one that is unique in your study.");
  }
  if (labels.size === 0) throw new EmptyDataError("There are no features.", "Give at least one.");
  const pacer = new Pacer(options.signal);
  const candidates = await packed(parts.candidates, pacer);
  await assertRows(candidates, passages, aggregation, pacer);
  const count = candidates.passage.length;
  const priorities = new Priorities(count, sampling.seed);
  while (!priorities.complete) {
    priorities.draw(50_000);
    if (pacer.due) await pacer.turn();
  }

  const counts: FeatureCounts[] = [];
  const missing = [...(parts.missing ?? [])];
  const kept: Uint32Array[] = [];
  const used = new Uint8Array(count);
  for (const [feature, own] of labels) {
    if (feature === "") throw new OptionError("A feature has no name.", "Name every feature.");
    if (own.length !== count) {
      throw new ShapeError(
        `Feature "${feature}" has ${own.length} labels for ${count} candidates.`,
        "Give one label per candidate; UNLABELLED for those that take no part.",
      );
    }
    const [negatives, positives] = byClass(feature, own);
    const offered = { positives: positives.length, negatives: negatives.length };
    const sizes = keptSizes(offered, sampling);
    const short = tooFew(offered, sizes, sampling.leastRows);
    if (short === undefined) {
      const rows = [
        priorities.first(positives, sizes.positives),
        ...drawKinds(negatives, parts.negativeKinds?.get(feature), sizes.negatives, priorities),
      ];
      for (const list of rows) for (const candidate of list) used[candidate] = 1;
      kept.push(concatenated(rows));
      counts.push({ feature, ...sizes, offered });
    } else missing.push({ feature, reason: short });
    options.onProgress?.(counts.length + missing.length, labels.size);
    if (pacer.due) await pacer.turn();
  }
  if (counts.length === 0) {
    throw new EmptyDataError(
      `No feature of "${name}" has enough rows: ${missing
        .slice(0, 5)
        .map(({ feature, reason }) => `${feature}: ${reason}`)
        .join("; ")}${missing.length > 5 ? "; …" : ""}.`,
      "Give more text, or lower leastRows.",
    );
  }

  const chosen = await keepRows(candidates, passages, used, pacer);
  const values = new Uint8Array(counts.length * chosen.count).fill(UNLABELLED);
  for (const [f, { feature }] of counts.entries()) {
    const own = labels.get(feature)!;
    for (const candidate of kept[f]) values[f * chosen.count + chosen.newRow[candidate]] = own[candidate];
    if (pacer.due) await pacer.turn();
  }
  const matrix = new LabelMatrix(Object.freeze(counts.map(({ feature }) => feature)), chosen.count, values);
  const dropped: Record<string, number> = { ...parts.dropped };
  if (count > chosen.count) dropped["rows not drawn"] = count - chosen.count;
  return frozenDataset({
    name,
    category,
    tokenizer: tokenizer.digest,
    aggregation,
    passages: chosen.passages,
    rows: chosen.rows,
    labels: matrix,
    report: { features: counts, dropped, missing },
  });
}

/** Freezes a dataset all the way down; typed arrays cannot be. */
export function frozenDataset(dataset: FeatureDataset): FeatureDataset {
  const { passages, rows, labels, report } = dataset;
  for (const passage of passages) Object.freeze(passage);
  for (const counts of report.features) {
    Object.freeze(counts.offered);
    Object.freeze(counts);
  }
  for (const feature of report.missing) Object.freeze(feature);
  for (const part of [passages, rows, labels, report.features, report.missing, report.dropped, report]) {
    Object.freeze(part);
  }
  return Object.freeze(dataset);
}

/**
 * Rows must be in the order of the passages, their positions exist and rise; rows of single tokens must rise, too.
 * @throws ShapeError | EmptyDataError
 */
export async function assertRows(
  { passage, positions, offsets }: DatasetRows,
  passages: readonly Passage[],
  aggregation: Aggregation,
  pacer: Pacer,
): Promise<void> {
  if (passages.length === 0) throw new EmptyDataError("There are no passages.", "Give at least one.");
  if (passage.length === 0) throw new EmptyDataError("There are no rows.", "Give at least one.");
  if (
    offsets.length !== passage.length + 1 ||
    offsets[0] !== 0 ||
    offsets[passage.length] !== positions.length
  ) {
    throw new ShapeError(
      `${offsets.length} offsets do not divide ${positions.length} positions among ${passage.length} rows.`,
      "Give one offset per row, from 0, and the number of positions as the last.",
    );
  }
  for (let row = 0; row < passage.length; row++) {
    const p = passage[row];
    if (p >= passages.length || (row > 0 && p < passage[row - 1])) {
      throw new ShapeError(
        `Row ${row} is of passage ${p}, which does not exist or comes before that of the row before.`,
        `Give rows in the order of the ${passages.length} passages.`,
      );
    }
    const { length } = passages[p].tokens;
    const start = offsets[row];
    const end = offsets[row + 1];
    if (!(end > start) || (aggregation === "token" && end !== start + 1)) {
      throw new ShapeError(
        `Row ${row} has ${end - start} positions.`,
        aggregation === "token" ? "A row is one token here." : "Give at least one.",
      );
    }
    for (let i = start; i < end; i++) {
      const rises = i === start || positions[i] > positions[i - 1];
      if (positions[i] < length && rises) continue;
      throw new ShapeError(
        `Position ${positions[i]} of row ${row} does not exist or does not rise.`,
        `Passage ${p} has positions 0 to ${length - 1}.`,
      );
    }
    if (
      aggregation === "token" &&
      row > 0 &&
      p === passage[row - 1] &&
      positions[start] <= positions[start - 1]
    ) {
      throw new ShapeError(
        `Rows ${row - 1} and ${row} are tokens ${positions[start - 1]} and ${positions[start]} of passage ${p}.`,
        "Give each token once, in rising order.",
      );
    }
    if (row % 4096 === 0 && pacer.due) await pacer.turn();
  }
}

function readSampling(options: SamplingOptions = {}): Sampling {
  const { seed = 0, maxRows = 20_000, positiveShare = 0.2, leastPositiveShare = 0, leastRows = 10 } = options;
  if (!Number.isSafeInteger(maxRows) || maxRows < 2) {
    throw new OptionError(`maxRows is ${maxRows}.`, "Give a whole number from 2.");
  }
  if (!Number.isSafeInteger(leastRows) || leastRows < 1) {
    throw new OptionError(`leastRows is ${leastRows}.`, "Give a whole number from 1.");
  }
  if (!(positiveShare > 0 && positiveShare < 1)) {
    throw new OptionError(`positiveShare is ${positiveShare}.`, "Give a share between 0 and 1.");
  }
  if (!(leastPositiveShare >= 0 && leastPositiveShare <= positiveShare)) {
    throw new OptionError(
      `leastPositiveShare is ${leastPositiveShare}.`,
      `Give a share from 0 to positiveShare (${positiveShare}).`,
    );
  }
  return { seed, maxRows, positiveShare, leastPositiveShare, leastRows };
}

async function packed(candidates: readonly CandidateRow[] | DatasetRows, pacer: Pacer): Promise<DatasetRows> {
  if (!Array.isArray(candidates)) return candidates as DatasetRows;
  const list = candidates as readonly CandidateRow[];
  const passage = new Uint32Array(list.length);
  const offsets = new Uint32Array(list.length + 1);
  for (const [row, candidate] of list.entries()) {
    passage[row] = candidate.passage;
    offsets[row + 1] = offsets[row] + candidate.positions.length;
  }
  const positions = new Uint32Array(offsets[list.length]);
  for (const [row, candidate] of list.entries()) {
    positions.set(candidate.positions, offsets[row]);
    if (row % 4096 === 0 && pacer.due) await pacer.turn();
  }
  return { passage, positions, offsets };
}

/** Candidates of each class. */
function byClass(feature: string, labels: Uint8Array): [negatives: Uint32Array, positives: Uint32Array] {
  const lists = [new Uint32Array(labels.length), new Uint32Array(labels.length)];
  const sizes = [0, 0];
  for (let i = 0; i < labels.length; i++) {
    const label = labels[i];
    if (label <= 1) lists[label][sizes[label]++] = i;
    else if (label !== UNLABELLED) {
      throw new LabelError(
        `The label of candidate ${i} of feature "${feature}" is ${label}.`,
        "Use 1 for positive, 0 for negative and UNLABELLED (255) for rows that take no part.",
      );
    }
  }
  return [lists[0].slice(0, sizes[0]), lists[1].slice(0, sizes[1])];
}

/** Why a feature cannot be probed; undefined when it can. */
function tooFew(
  offered: { readonly positives: number; readonly negatives: number },
  kept: { readonly positives: number; readonly negatives: number },
  least: number,
): string | undefined {
  for (const side of ["positives", "negatives"] as const) {
    if (kept[side] >= least) continue;
    const rest =
      kept[side] < offered[side]
        ? `${offered[side]}, of which ${kept[side]} can be kept`
        : `${offered[side]}`;
    return `${rest} ${side}; at least ${least} are needed`;
  }
  return undefined;
}

function drawKinds(
  negatives: Uint32Array,
  kinds: Uint8Array | undefined,
  count: number,
  priorities: Priorities,
): Uint32Array[] {
  if (!kinds) return [priorities.first(negatives, count)];
  const present = [...new Set(Array.from(negatives, (candidate) => kinds[candidate]))].sort((a, b) => a - b);
  const lists = present.map((kind) => negatives.filter((candidate) => kinds[candidate] === kind));
  const shares = evenShares(
    lists.map(({ length }) => length),
    count,
  );
  return lists.map((list, k) => priorities.first(list, shares[k]));
}

function concatenated(lists: readonly Uint32Array[]): Uint32Array {
  const out = new Uint32Array(lists.reduce((sum, { length }) => sum + length, 0));
  let at = 0;
  for (const list of lists) {
    out.set(list, at);
    at += list.length;
  }
  return out;
}

/** The used candidates and their passages, renumbered. */
async function keepRows(
  { passage, positions, offsets }: DatasetRows,
  passages: readonly Passage[],
  used: Uint8Array,
  pacer: Pacer,
): Promise<{ count: number; rows: DatasetRows; newRow: Uint32Array; passages: Passage[] }> {
  const newRow = new Uint32Array(used.length);
  let count = 0;
  let length = 0;
  for (let i = 0; i < used.length; i++) {
    if (!used[i]) continue;
    newRow[i] = count++;
    length += offsets[i + 1] - offsets[i];
  }
  const rows = {
    passage: new Uint32Array(count),
    positions: new Uint32Array(length),
    offsets: new Uint32Array(count + 1),
  };
  const keptPassages: Passage[] = [];
  let last = -1;
  for (let i = 0, row = 0; i < used.length; i++) {
    if (i % 4096 === 0 && pacer.due) await pacer.turn();
    if (!used[i]) continue;
    if (passage[i] !== last) {
      last = passage[i];
      keptPassages.push(passages[last]);
    }
    rows.passage[row] = keptPassages.length - 1;
    rows.positions.set(positions.subarray(offsets[i], offsets[i + 1]), rows.offsets[row]);
    rows.offsets[row + 1] = rows.offsets[row] + offsets[i + 1] - offsets[i];
    row++;
  }
  return { count, rows, newRow, passages: keptPassages };
}
