/**
 * Pictures, tables and a page of what was found.
 *
 * @module
 */
export { htmlReport } from "./reports/report.ts";
export type { ReportContent, ReportOptions } from "./reports/report.ts";
export type { NeuronPage } from "./reports/page/neuron-section.ts";
export { chooseBest } from "./reports/page/best-probes.ts";
export type { ChosenProbe } from "./reports/page/best-probes.ts";
export { studyPictures } from "./reports/study-pictures.ts";
export type { StudyPicturesOptions } from "./reports/study-pictures.ts";
export { renderSvg } from "./reports/render-picture.ts";
export type { SvgOptions } from "./reports/render-picture.ts";
export { renderPng } from "./reports/render-png.ts";
export type { PngFiles, PngOptions } from "./reports/render-png.ts";
export { pictureConfig } from "./reports/picture-config.ts";
export type { PictureScheme } from "./reports/picture-config.ts";
export type { Json, JsonObject, PictureSpec } from "./reports/pictures/picture-spec.ts";
export { metricByKPicture } from "./reports/pictures/metric-by-k.ts";
export type { RowPictureOptions } from "./reports/pictures/row-points.ts";
export { metricHeatMap } from "./reports/pictures/metric-heat-map.ts";
export { bestNeuronPicture } from "./reports/pictures/best-neurons.ts";
export { selectionPicture } from "./reports/pictures/selections.ts";
export type { SelectionPictureOptions } from "./reports/pictures/selections.ts";
export { classHistogramPicture } from "./reports/pictures/class-histograms.ts";
export type { ClassHistogramOptions } from "./reports/pictures/class-histograms.ts";
export { layerWeightsPicture } from "./reports/pictures/layer-weights.ts";
export type { LayerWeightsOptions, WeightStatistic } from "./reports/pictures/layer-weights.ts";
export { modelSizePicture } from "./reports/pictures/model-size.ts";
export type { ModelSizeOptions } from "./reports/pictures/model-size.ts";
export { ablationPicture } from "./reports/pictures/ablation.ts";
export type { AblationPictureOptions } from "./reports/pictures/ablation.ts";
export { neuronStripsPicture } from "./reports/pictures/neuron-strips.ts";
export type { NeuronStrip, NeuronStripsOptions } from "./reports/pictures/neuron-strips.ts";
