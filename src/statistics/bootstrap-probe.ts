/** Bootstrap intervals of a probe's metrics; the work of `bootstrapProbe`. */
import type { Backend } from "../backends/backend.ts";
import { createCpuBackend } from "../backends/cpu/cpu-backend.ts";
import { Activations } from "../data/activations.ts";
import { LabelMatrix, readLabelsLike, UNLABELLED, type RowSelection } from "../data/labels.ts";
import { ShapeError } from "../errors.ts";
import { openActivations, type ActivationSource } from "../probes/activation-source.ts";
import type { ProbeLabels, SparseProbe } from "../probes/sparse-probe.ts";
import { runBootstrap, type BootstrapOptions, type FullBootstrapResult } from "./bootstrap.ts";
import { HostColumns, probabilities } from "./host-columns.ts";

/** What `bootstrapProbe` takes beside the options of the bootstrap. */
export interface BootstrapProbeOptions extends Omit<BootstrapOptions, "probabilities" | "metrics"> {
  /** Rows to score, each once. Default: every labelled row. */
  readonly rows?: RowSelection | undefined;
  /** Needed for activations on a device. */
  readonly backend?: Backend | undefined;
}

export async function runProbeBootstrap(
  probe: SparseProbe,
  acts: ActivationSource,
  labels: ProbeLabels,
  options: BootstrapProbeOptions,
): Promise<FullBootstrapResult> {
  const { backend = createCpuBackend(), rows: asked, ...bootstrap } = options;
  const { signal } = options;
  const y = labelsLike(labels, probe);
  const taking = asked ? new LabelMatrix(["rows"], y.length, y).restrictedTo(asked).of(0) : y;
  const rows = Uint32Array.from(y.keys()).filter((i) => taking[i] !== UNLABELLED);
  const groups = options.groups ?? (acts instanceof Activations ? acts.groups : undefined);
  const source = await openActivations(acts, backend, { signal });
  try {
    if (source.rows !== y.length || source.neurons !== probe.neurons) {
      throw new ShapeError(
        `The activations are ${source.rows} × ${source.neurons}, for ${y.length} labels and a probe of ${probe.neurons} neurons.`,
        "Give one label per row, and activations of the probe's hook point.",
      );
    }
    if (groups && groups.length !== y.length) {
      throw new ShapeError(
        `There are ${groups.length} groups for ${y.length} rows.`,
        "Give one group per row.",
      );
    }
    const neurons = Uint32Array.from(probe.support).sort();
    const { host } = await HostColumns.gather(source, backend, neurons, { signal });
    const decisions = host.decide(probe, rows);
    const result = await runBootstrap(
      Uint8Array.from(rows, (i) => y[i]),
      decisions,
      {
        ...bootstrap,
        probabilities: probabilities(decisions),
        ...(groups && { groups: Array.from(rows, (i) => groups[i]) }),
      },
    );
    return result as FullBootstrapResult;
  } finally {
    source.close();
  }
}

/** Labels as the probe's `evaluate` reads them. */
function labelsLike(labels: ProbeLabels, probe: SparseProbe): Uint8Array {
  if (!(labels instanceof LabelMatrix)) return readLabelsLike(labels, probe.positive);
  if (labels.features.length === 1) return labels.of(0);
  throw new ShapeError(
    `The label matrix has ${labels.features.length} features.`,
    "Give a matrix of the probe's own labels.",
  );
}
