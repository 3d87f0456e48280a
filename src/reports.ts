/**
 * Pictures, tables and a page of what was found.
 *
 * @module
 */
export { htmlReport } from "./reports/report.ts";
export type { ReportContent, ReportOptions } from "./reports/report.ts";
export type { NeuronPage } from "./reports/page/neuron-section.ts";
export { renderSvg } from "./reports/render-picture.ts";
export type { SvgOptions } from "./reports/render-picture.ts";
export type { PictureScheme } from "./reports/picture-config.ts";
export type { Json, JsonObject, PictureSpec } from "./reports/pictures/picture-spec.ts";
export { metricByKPicture } from "./reports/pictures/metric-by-k.ts";
export type { RowPictureOptions } from "./reports/pictures/probe-points.ts";
