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
