/** Labelled rows of a tokenised corpus: which tokens of which passage make a row, and what every feature says of it. */
import type { Aggregation } from "../backends/backend.ts";
import type { GroupId } from "../data/activations.ts";
import type { LabelMatrix } from "../data/labels.ts";

/** The ten categories of Gurnee et al. (2023), and the users' own. */
export type FeatureCategory =
  | "part-of-speech"
  | "dependencies"
  | "morphology"
  | "code-language"
  | "natural-language"
  | "data-subset"
  | "text-features"
  | "compound-words"
  | "latex"
  | "facts"
  | "own";

/** What a model reads in one go: one sequence of tokens. */
export interface Passage {
  readonly tokens: Uint32Array;
  /** The text that the tokens spell. */
  readonly text: string;
  /** Document: rows of one document stay on one side of a split. */
  readonly group: GroupId;
}

/**
 * Rows of activations: row r combines the tokens `positions[offsets[r] … offsets[r + 1])` of passage `passage[r]`, as the
 * dataset's aggregation says; with `"token"` there is one position a row. Rows are in the order of the passages.
 */
export interface DatasetRows {
  readonly passage: Uint32Array;
  readonly positions: Uint32Array;
  /** Length rows + 1. */
  readonly offsets: Uint32Array;
}

/** What a feature has in the dataset. */
export interface FeatureCounts {
  readonly feature: string;
  readonly positives: number;
  readonly negatives: number;
  /** Positives and negatives that the corpus offered, before sampling. */
  readonly offered: { readonly positives: number; readonly negatives: number };
}

/** How a dataset came about. Plain data. */
export interface DatasetReport {
  readonly features: readonly FeatureCounts[];
  /** What was left out, by reason, in rows or passages as the reason says. */
  readonly dropped: Readonly<Record<string, number>>;
  /** Features that the corpus has too few rows of, with the reason. */
  readonly missing: readonly { readonly feature: string; readonly reason: string }[];
}

/** Rows of a tokenised corpus with labels for one or more features. Plain data, frozen. */
export interface FeatureDataset {
  /** Unique within a study, e.g. `"part-of-speech"`. */
  readonly name: string;
  readonly category: FeatureCategory;
  /** Digest of the tokenizer: only models that tokenise alike can read the passages. */
  readonly tokenizer: string;
  readonly aggregation: Aggregation;
  readonly passages: readonly Passage[];
  readonly rows: DatasetRows;
  /** One label set per feature over the rows; rows outside a feature are `UNLABELLED`. */
  readonly labels: LabelMatrix;
  readonly report: DatasetReport;
}
