// What a user's compiler must accept: no option but `strict`, no types package but those of the DOM.
import { SparseProbe, createBackend, type ActivationBlocks, type Backend, type Metrics } from "sparseprobe";
import { createGpuJsBackend, type CreateGpuJsOptions } from "sparseprobe/gpujs";
import { fileSource, loadModelFolder } from "sparseprobe/node";

const backend: Backend = await createBackend("auto");
const blocks: ActivationBlocks = { rows: 2, neurons: 1, blocks: () => [] };
const transformersJsTensor = { data: new Float32Array(2), dims: [2, 1] };
for (const activations of [blocks, transformersJsTensor, [[1], [2]]]) {
  const probe: SparseProbe = await SparseProbe.fit(activations, ["en", "fr"], 1, { backend, positive: "fr" });
  console.log(probe.support.length, probe.convergence.newtonDecrement);
}
const inWebGl2: (options?: CreateGpuJsOptions) => Promise<Backend> = createGpuJsBackend;
const metrics: Metrics | undefined = undefined;
export { fileSource, inWebGl2, loadModelFolder, metrics };
