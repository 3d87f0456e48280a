/**
 * Whole studies: models × datasets × features × hook points × methods × k, as tidy rows.
 *
 * @module
 */
export { JournalError, MemoryJournal } from "./sweeps/journal.ts";
export type { JournalFailure, JournalHeader, JournalUnit, SweepJournal } from "./sweeps/journal.ts";
export { rowsToCsv } from "./sweeps/rows-csv.ts";
export { readRows, rowsToJsonLines } from "./sweeps/rows-jsonl.ts";
export { rowsToParquet } from "./sweeps/rows-parquet.ts";
export { DATASET_BUILDERS, readStudy } from "./sweeps/study-description.ts";
export type {
  DatasetBuilderName,
  DescribedDataset,
  DescribedDatasetOptions,
  DescribedFolder,
  DescribedHubModel,
  DescribedModel,
  StudyDescription,
} from "./sweeps/study-description.ts";
export { SWEEP_COLUMNS } from "./sweeps/sweep-columns.ts";
export type { SweepCell, SweepColumn, SweepColumnType } from "./sweeps/sweep-columns.ts";
export { isFitted } from "./sweeps/sweep-row.ts";
export type { FittedSweepRow, ScoredPart, SweepInterval, SweepRow } from "./sweeps/sweep-row.ts";
export type {
  NamedSweepMethod,
  SweepActivations,
  SweepDataset,
  SweepIntervals,
  SweepMethod,
  SweepMethodName,
  SweepMethodOptions,
  SweepModel,
  SweepOptions,
  SweepProgress,
  SweepStage,
  SweepStudy,
  SweepUnit,
} from "./sweeps/sweep-study.ts";
export { sweep } from "./sweeps/sweep.ts";
