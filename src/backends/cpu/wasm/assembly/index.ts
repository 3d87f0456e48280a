/** Kernels of the CPU backend. Memory is laid out by the caller; every pointer is a multiple of 16 unless said otherwise. */
export { erf } from "./activation";
export { aggregateRows } from "./aggregate-rows";
export { attendHeads } from "./attention";
export { gatherRows } from "./gather-rows";
export { centreColumns, describeColumns, gatherLogisticColumns } from "./gather-logistic-columns";
export { addPass, advance, chunksOfPass, fitStateBytes, fitSupports, fitWorkBytes, startFit } from "./fit-logistic";
export { packPanels } from "./pack-panels";
export { fitSingleNeurons } from "./fit-single-neurons";
export { linearRows } from "./linear";
export { denseDouble, denseFloat } from "./dense-logistic";
export { gatherPanels, panelGram, panelSums } from "./panels";
export {
  addChunksOfPass, addPanelOfHessian, advance, chunksOfPass, fitStateBytes, fitSupports, fitWorkBytes, mergePass, startFit,
} from "./fit-logistic";
export { neuronRoc } from "./neuron-roc";
export { addSlots, sumPatterns } from "./class-moments";
export { listSubsets, sumSubsets } from "./subset-sums";
export { gatherPanels, movePanels, panelGram, panelSums } from "./panels";
