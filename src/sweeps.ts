/**
 * Whole studies: models × datasets × features × hook points × methods × k, as tidy rows.
 *
 * @module
 */
export type { ScoredPart, SweepInterval, SweepRow } from "./sweeps/sweep-row.ts";
