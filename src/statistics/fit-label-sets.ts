/**
 * Probes of many label sets over the same rows: folds, permuted labels, resamples. Selection and standardisation read no
 * row that is unlabelled in the set.
 */
import { LabelMatrix, UNLABELLED } from "../data/labels.ts";
import type { SparseProbeError } from "../errors.ts";
import { evaluateBinary, type Metrics } from "../metrics/evaluate.ts";
import { Pacer } from "../backends/cpu/pacer.ts";
import {
  candidateNeurons,
  selectSupports,
  type ProbeOrigin,
  type SelectedSupport,
} from "../probes/fit-supports.ts";
import { momentSquares, type ProbeOptions } from "../probes/probe-options.ts";
import { SparseProbe } from "../probes/sparse-probe.ts";
import { HostColumns, probabilities } from "./host-columns.ts";
import type { Study } from "./study.ts";

/** Bytes of class moments that are held at once. */
const MOMENT_BYTES = 64 * 2 ** 20;

/** Label sets that one pass over the activations takes: the kernels are at their best from here on. */
const SETS_PER_PASS = 64;

/** How many label sets share a pass over d neurons. */
export function setsPerPass(neurons: number): number {
  return Math.max(8, Math.min(SETS_PER_PASS, Math.floor(MOMENT_BYTES / (8 * 4 * neurons))));
}

/** A probe of one label set. */
export interface SetProbe {
  /** Number of the label set. */
  readonly set: number;
  readonly k: number;
  readonly C: number;
  readonly probe: SparseProbe;
}

/** What a label set gave no probe for. */
export interface SetFailure {
  readonly set: number;
  readonly k: number;
  readonly error: SparseProbeError;
}

/** Probes, and how they do on any rows. Valid until the study is closed. */
export interface SetProbes {
  /** Label sets first, then supports in the order given, then Cs. */
  readonly probes: readonly SetProbe[];
  readonly failures: readonly SetFailure[];
  /** Decision values of a probe on some rows. */
  readonly decide: (probe: SparseProbe, rows: Uint32Array) => Float64Array;
}

/** Supports that were not chosen by a ranking. */
export type GivenSupports = (neurons: number) => readonly SelectedSupport[];

/**
 * Ranks, selects and fits every label set at every k and C; `given` puts its own supports in the place of the ranking's.
 *
 * @param done called with the number of fits that are finished
 * @throws SupportSizeError | OptionError
 */
export async function fitLabelSets(
  study: Study,
  labels: LabelMatrix,
  ks: readonly number[],
  Cs: readonly number[],
  options: Omit<ProbeOptions, "C">,
  done?: (fits: number) => void,
  given?: GivenSupports,
): Promise<SetProbes> {
  const { source, backend } = study;
  const { signal } = options;
  const moments = await source.classMoments(labels, { signal, squares: momentSquares(options) });
  const { supports, failures } = given
    ? { supports: given(source.neurons), failures: [] }
    : await Promise.resolve(selectSupports(moments, labels, ks, options));
  const failed = failures.map(({ feature, k, error }) => ({ set: Number(feature), k, error }));
  if (supports.length === 0) {
    return { probes: [], failures: failed, decide: () => new Float64Array(0) };
  }
  const neurons = candidateNeurons(supports);
  const { columns, host } = await HostColumns.gather(source, backend, neurons, { signal });
  const { model, hookPoint, aggregation } = source.provenance;
  const origin: ProbeOrigin = {
    backend: backend.info.kind,
    neurons: source.neurons,
    positives: labels.features.map(() => study.positive),
    ...(model !== undefined && { model }),
    ...(hookPoint !== undefined && { hookPoint }),
    ...(aggregation !== undefined && { aggregation }),
  };
  const named = new LabelMatrix(
    labels.features.map(() => study.feature),
    labels.rows,
    labels.values,
  );
  const probes: SetProbe[] = [];
  for (const [c, C] of Cs.entries()) {
    const fitted = await SparseProbe.fitSupports(backend, columns, named, supports, moments, origin, {
      ...options,
      C,
      onProgress: (fits) => done?.(c * supports.length + fits),
    });
    for (const [s, probe] of fitted.entries()) {
      probes.push({ set: supports[s].feature, k: probe.k, C, probe });
    }
  }
  return { probes, failures: failed, decide: (probe, rows) => host.decide(probe, rows) };
}

/** Metrics of decision values against labels. */
export function evaluateDecisions(y: Uint8Array, rows: Uint32Array, decisions: Float64Array): Metrics {
  return evaluateBinary(
    Uint8Array.from(rows, (i) => y[i]),
    decisions,
    probabilities(decisions),
  );
}

/** Evaluates probes one by one on rows and labels of their own, with turns for the event loop in between. */
export async function evaluateProbes<T>(
  { probes, decide }: SetProbes,
  rowsOf: (probe: SetProbe) => { rows: Uint32Array; y: Uint8Array },
  signal: AbortSignal | undefined,
  use: (probe: SetProbe, metrics: Metrics) => T,
): Promise<T[]> {
  const pacer = new Pacer(signal);
  const out: T[] = [];
  for (const fitted of probes) {
    const { rows, y } = rowsOf(fitted);
    out.push(use(fitted, evaluateDecisions(y, rows, decide(fitted.probe, rows))));
    if (pacer.due) await pacer.turn();
  }
  return out;
}

/** True where a label set has rows of both classes. */
export function hasTwoClasses(set: Uint8Array): boolean {
  let seen = 0;
  for (const label of set) if (label !== UNLABELLED) seen |= 1 << label;
  return seen === 3;
}
