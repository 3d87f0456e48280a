/**
 * Pictures, tables and a page of what was found.
 *
 * @module
 */
export type {} from "./sweeps/sweep-row.ts";
