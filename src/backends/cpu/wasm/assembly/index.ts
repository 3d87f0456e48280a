/** Kernels of the CPU backend. Memory is laid out by the caller; every pointer is a multiple of 16 unless said otherwise. */
export { erf } from "./activation";
export { aggregateRows } from "./aggregate-rows";
export { attendHeads } from "./attention";
export { addSlots, sumPatterns } from "./class-moments";
export { sumStreams } from "./class-streams";
export {
  addChunksOfPass, addPanelOfHessian, advance, chunksOfPass, fitStateBytes, fitSupports, fitWorkBytes, mergePass, startFit,
} from "./fit-logistic";
export { denseDouble, denseFloat } from "./dense-logistic";
export { fitSingleNeurons } from "./fit-single-neurons";
export { centreColumns, describeColumns, gatherLogisticColumns } from "./gather-logistic-columns";
export { gatherRows } from "./gather-rows";
export { activateValues, addValues, changeRows } from "./intervene";
export { normRows } from "./layer-norm";
export { linearRows } from "./linear";
export { neuronRoc } from "./neuron-roc";
export { packPanels } from "./pack-panels";
export { gatherPanels, movePanels, panelGram, panelSums } from "./panels";
export { sumExponentials } from "./token-losses";
export { listSubsets, sumSubsets } from "./subset-sums";
