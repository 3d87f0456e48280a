/**
 * Labelled rows of a corpus for the ten categories of features, and for labels of your own.
 *
 * @module
 */
export { assembleDataset } from "./datasets/assemble-dataset.ts";
export type { CandidateRow, DatasetParts } from "./datasets/assemble-dataset.ts";
export type {
  DatasetReport,
  DatasetRows,
  FeatureCategory,
  FeatureCounts,
  FeatureDataset,
  Passage,
} from "./datasets/feature-dataset.ts";
export type { SamplingOptions } from "./datasets/sample-rows.ts";
export { COMPOUND_WORDS, compoundWordDataset } from "./datasets/compound-words.ts";
export type { CompoundWordOptions } from "./datasets/compound-words.ts";
export { factDataset } from "./datasets/facts.ts";
export type { FactOptions } from "./datasets/facts.ts";
export { latexDataset } from "./datasets/latex.ts";
export type { LatexOptions } from "./datasets/latex.ts";
export { LATEX_FEATURES, scanLatex } from "./datasets/latex-scanner.ts";
export type { LatexFeature, LatexSpan, LatexSpanKind } from "./datasets/latex-scanner.ts";
export { readPeople } from "./datasets/people.ts";
export type { Person } from "./datasets/people.ts";
export { TEXT_FEATURES } from "./datasets/text-feature-predicates.ts";
export type { TextPredicate } from "./datasets/text-feature-predicates.ts";
export { textFeatureDataset } from "./datasets/text-features.ts";
export type { TextFeatureOptions } from "./datasets/text-features.ts";
