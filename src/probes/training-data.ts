/** One feature's training rows, opened on a backend: what fits to all neurons start from. */
import type { Backend } from "../backends/backend.ts";
import { createCpuBackend } from "../backends/cpu/cpu-backend.ts";
import type { ClassMoments, MomentSquares } from "../data/class-moments.ts";
import type { LabelMatrix } from "../data/labels.ts";
import { openActivations, type ActivationSource, type OpenActivations } from "./activation-source.ts";
import { assertUsable, type ProbeOrigin } from "./fit-supports.ts";
import { assertLabelled, oneFeature, originOf, type FitOptions, type ProbeLabels } from "./one-feature.ts";

export interface TrainingData {
  readonly backend: Backend;
  readonly source: OpenActivations;
  /** Of every row. */
  readonly allLabels: LabelMatrix;
  /** Of the training rows. */
  readonly labels: LabelMatrix;
  /** Of the training rows; every neuron is finite there. */
  readonly moments: ClassMoments;
  readonly origin: ProbeOrigin;
}

/**
 * Opens activations and labels for `use`, and closes them when it is done.
 *
 * @param squares that the moments shall have. Default `"within"`
 * @throws what `SparseProbe.fit` throws about activations and labels
 */
export async function withTrainingData<T>(
  acts: ActivationSource,
  labels: ProbeLabels,
  options: FitOptions,
  use: (data: TrainingData) => Promise<T>,
  squares: MomentSquares = "within",
): Promise<T> {
  const { matrix, positive } = oneFeature(labels, options);
  const { signal, rows, backend = createCpuBackend() } = options;
  signal?.throwIfAborted();
  const source = await openActivations(acts, backend, { signal });
  try {
    assertLabelled(matrix.rows, source.rows);
    const chosen = rows ? matrix.restrictedTo(rows) : matrix;
    const moments = await source.classMoments(chosen, { signal, squares });
    assertUsable(moments, 0, chosen.features[0]);
    const origin: ProbeOrigin = {
      backend: backend.info.kind,
      neurons: source.neurons,
      ...originOf({ ...source.provenance, ...options.provenance }),
      positives: [positive],
    };
    return await use({ backend, source, allLabels: matrix, labels: chosen, moments, origin });
  } finally {
    source.close();
  }
}
