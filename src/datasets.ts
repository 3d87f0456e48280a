/**
 * Labelled rows of a corpus for the ten categories of features, and for labels of your own.
 *
 * @module
 */
export type {
  DatasetReport,
  DatasetRows,
  FeatureCategory,
  FeatureCounts,
  FeatureDataset,
  Passage,
} from "./datasets/feature-dataset.ts";
