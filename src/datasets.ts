/**
 * Labelled rows of a corpus for the ten categories of features, and for labels of your own.
 *
 * @module
 */
export type { ConlluSource, WordDatasetOptions } from "./datasets/annotated-words.ts";
export { assembleDataset } from "./datasets/assemble-dataset.ts";
export type { CandidateRow, DatasetParts } from "./datasets/assemble-dataset.ts";
export { COMPOUND_WORDS, compoundWordDataset } from "./datasets/compound-words.ts";
export type { CompoundWordOptions } from "./datasets/compound-words.ts";
export { readConllu, UNIVERSAL_TAGS } from "./datasets/conllu.ts";
export type { ConlluSentence, ConlluWord } from "./datasets/conllu.ts";
export { readDataset, writeDataset } from "./datasets/dataset-file.ts";
export { DEPENDENCIES, dependencyDataset } from "./datasets/dependencies.ts";
export { factDataset } from "./datasets/facts.ts";
export type { FactOptions } from "./datasets/facts.ts";
export type {
  DatasetReport,
  DatasetRows,
  FeatureCategory,
  FeatureCounts,
  FeatureDataset,
  Passage,
} from "./datasets/feature-dataset.ts";
export { latexDataset } from "./datasets/latex.ts";
export type { LatexOptions } from "./datasets/latex.ts";
export { LATEX_FEATURES, scanLatex } from "./datasets/latex-scanner.ts";
export type { LatexFeature, LatexSpan, LatexSpanKind } from "./datasets/latex-scanner.ts";
export { MORPHOLOGY, morphologyDataset } from "./datasets/morphology.ts";
export { ownDataset } from "./datasets/own-labels.ts";
export type { LabelledSpan, OwnLabels } from "./datasets/own-labels.ts";
export { PARTS_OF_SPEECH, partOfSpeechDataset } from "./datasets/part-of-speech.ts";
export { readPeople } from "./datasets/people.ts";
export type { Person } from "./datasets/people.ts";
export type { SamplingOptions } from "./datasets/sample-rows.ts";
export {
  CODE_LANGUAGES,
  codeLanguageDataset,
  DATA_SUBSETS,
  dataSubsetDataset,
  NATURAL_LANGUAGES,
  naturalLanguageDataset,
} from "./datasets/text-classes.ts";
export type { TextClassOptions } from "./datasets/text-classes.ts";
export { TEXT_FEATURES } from "./datasets/text-feature-predicates.ts";
export type { TextPredicate } from "./datasets/text-feature-predicates.ts";
export { textFeatureDataset } from "./datasets/text-features.ts";
export type { TextFeatureOptions } from "./datasets/text-features.ts";
export type { TextDatasetOptions } from "./datasets/text-options.ts";
