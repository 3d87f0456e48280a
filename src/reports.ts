/**
 * Pictures, tables and a page of what was found.
 *
 * @module
 */
export { htmlReport } from "./reports/report.ts";
export type { ReportContent, ReportOptions } from "./reports/report.ts";
