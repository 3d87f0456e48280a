/** Joint label patterns: rows that have the same label in every feature. */
import { UNLABELLED, type LabelMatrix } from "../../../data/labels.ts";
import type { Pacer } from "../pacer.ts";

/** Patterns that are summed one by one; with more of them, tables of subset sums are faster. */
const MOST_PATTERNS = 32;

/** Row of no interest to any feature. */
export const NO_PATTERN = 255;

export interface Patterns {
  /** Each row's pattern, or {@link NO_PATTERN}. */
  readonly ofRow: Uint8Array;
  /** Each pattern's label by feature. */
  readonly labels: readonly (readonly number[])[];
}

export interface UsedRows {
  /** 1 where some feature labels the row. */
  readonly usedRow: Uint8Array;
  readonly used: number;
  /** Absent when there are more than {@link MOST_PATTERNS}. */
  readonly patterns?: Patterns;
}

/** Finds the rows that are used and, when they are few, their joint patterns. */
export async function rowPatterns(labels: LabelMatrix, pacer: Pacer): Promise<UsedRows> {
  const { rows } = labels;
  const features = labels.features.length;
  const ofRow = new Uint8Array(rows).fill(NO_PATTERN);
  let patterns: number[][] | undefined = [];
  const usedRow = new Uint8Array(rows);
  let used = 0;
  for (let f = 0; f < features; f++) {
    const values = labels.of(f);
    patterns = patterns && refine(patterns, ofRow, values, f);
    if (!patterns && used === rows) break;
    for (let i = 0; i < rows; i++) {
      if (values[i] === UNLABELLED || usedRow[i] === 1) continue;
      usedRow[i] = 1;
      used++;
    }
    if (pacer.due) await pacer.turn();
  }
  return { usedRow, used, ...(patterns && { patterns: { ofRow, labels: patterns } }) };
}

/** Splits the patterns by the labels of feature f; undefined when there are too many. */
function refine(
  patterns: readonly number[][],
  ofRow: Uint8Array,
  values: Uint8Array,
  f: number,
): number[][] | undefined {
  const refined: number[][] = [];
  // New pattern by old pattern (the last stands for none) and label (2 stands for none).
  const place = new Int16Array(3 * (patterns.length + 1)).fill(-1);
  for (let i = 0; i < values.length; i++) {
    const old = ofRow[i] === NO_PATTERN ? patterns.length : ofRow[i];
    const label = values[i] === UNLABELLED ? 2 : values[i];
    if (label === 2 && old === patterns.length) continue;
    const key = 3 * old + label;
    let pattern = place[key];
    if (pattern < 0) {
      if (refined.length === MOST_PATTERNS) return undefined;
      pattern = refined.length;
      place[key] = pattern;
      const before = old === patterns.length ? new Array<number>(f).fill(UNLABELLED) : patterns[old];
      refined.push([...before, values[i]]);
    }
    ofRow[i] = pattern;
  }
  return refined;
}

/** Rows of each class of a feature. */
export function classCounts(labels: Uint8Array): [negative: number, positive: number] {
  let positive = 0;
  let unlabelled = 0;
  for (let i = 0; i < labels.length; i++) {
    if (labels[i] === 1) positive++;
    else if (labels[i] === UNLABELLED) unlabelled++;
  }
  return [labels.length - positive - unlabelled, positive];
}
