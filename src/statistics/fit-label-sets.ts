/**
 * Probes of many label sets over the same rows: folds, permuted labels, resamples. Selection and standardisation read no
 * row that is unlabelled in the set.
 */
import { Pacer } from "../backends/cpu/pacer.ts";
import { LabelMatrix } from "../data/labels.ts";
import type { SparseProbeError } from "../errors.ts";
import { evaluateBinary, type Metrics } from "../metrics/evaluate.ts";
import { candidateNeurons, type ProbeOrigin, type SelectedSupport } from "../probes/fit-supports.ts";
import { momentSquares, type ProbeOptions } from "../probes/probe-options.ts";
import { selectFromSource } from "../probes/select-from-source.ts";
import { SparseProbe } from "../probes/sparse-probe.ts";
import { HostColumns, probabilities } from "./host-columns.ts";
import type { Study } from "./study.ts";

/** Bytes of class moments that are held at once. */
const MOMENT_BYTES = 64 * 2 ** 20;

/** Bytes of the supports' columns that are held at once. */
const COLUMN_BYTES = 256 * 2 ** 20;

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
  /** Number of the support: by label set and then by k, or of those given. */
  readonly at: number;
  readonly k: number;
  readonly C: number;
  readonly probe: SparseProbe;
  /** Decision values on some rows. Valid while the probe is visited. */
  readonly decide: (rows: Uint32Array) => Float64Array;
}

/** What a label set gave no probe for. */
export interface SetFailure {
  readonly set: number;
  readonly k: number;
  readonly error: SparseProbeError;
}

export interface LabelSetFits {
  /** Rows labelled 0 or 1 that choose and fit; all others `UNLABELLED`. */
  readonly sets: readonly Uint8Array[];
  /** Number of the first of them among all that a call looks at: rankings that draw are keyed by it. Default 0. */
  readonly first?: number | undefined;
  readonly ks: readonly number[];
  readonly Cs: readonly number[];
  /** Supports to fit in place of those that a ranking chooses. */
  readonly supports?: readonly SelectedSupport[] | undefined;
  readonly options: Omit<ProbeOptions, "C" | "onProgress">;
  /** Called with each probe, and between turns of the event loop. */
  readonly visit: (fitted: SetProbe) => void;
  /** Called with the number of fits that are finished. */
  readonly done?: ((fits: number) => void) | undefined;
}

/**
 * Ranks, selects and fits every label set at every k and C. Columns are held for as many supports as fit in memory.
 *
 * @returns the label sets that cannot be fitted
 * @throws SupportSizeError | OptionError
 */
export async function fitLabelSets(study: Study, fits: LabelSetFits): Promise<SetFailure[]> {
  const { source, backend } = study;
  const { sets, first: number = 0, ks, Cs, options, visit, done } = fits;
  const { signal } = options;
  const labels = labelSets(study, sets, number);
  const { moments, supports, failures } = fits.supports
    ? {
        moments: await source.classMoments(labels, { signal, squares: momentSquares(options) }),
        supports: fits.supports,
        failures: [],
      }
    : await selectFromSource(backend, source, labels, ks, options);
  const { model, hookPoint, aggregation } = source.provenance;
  const origin: ProbeOrigin = {
    backend: backend.info.kind,
    neurons: source.neurons,
    positives: sets.map(() => study.positive),
    ...(model !== undefined && { model }),
    ...(hookPoint !== undefined && { hookPoint }),
    ...(aggregation !== undefined && { aggregation }),
  };
  const named = new LabelMatrix(
    sets.map(() => study.feature),
    source.rows,
    labels.values,
  );
  const pacer = new Pacer(signal);
  let first = 0;
  let finished = 0;
  for (const chunk of supportChunks(supports, source.rows)) {
    const neurons = candidateNeurons(chunk);
    const { columns, host } = await HostColumns.gather(source, backend, neurons, { signal });
    for (const C of Cs) {
      if (pacer.due) await pacer.turn();
      const before = finished;
      const probes = await SparseProbe.fitSupports(backend, columns, named, chunk, moments, origin, {
        ...options,
        C,
        onProgress: (count) => done?.(before + count),
      });
      finished += chunk.length;
      for (const [s, probe] of probes.entries()) {
        const decide = (rows: Uint32Array): Float64Array => host.decide(probe, rows);
        visit({ set: chunk[s].feature, at: first + s, k: probe.k, C, probe, decide });
        if (pacer.due) await pacer.turn();
      }
    }
    first += chunk.length;
    // What a streaming source gathered is held no longer than it is read.
    if (columns.neurons) columns.x.dispose();
    signal?.throwIfAborted();
  }
  const setOf = new Map(labels.features.map((name, s) => [name, s]));
  return failures.map(({ feature, k, error }) => ({ set: setOf.get(feature)!, k, error }));
}

/** Supports in order, as many at a time as have columns that fit in memory. */
function* supportChunks(supports: readonly SelectedSupport[], rows: number): Generator<SelectedSupport[]> {
  const most = Math.max(1, Math.floor(COLUMN_BYTES / (4 * rows)));
  let chunk: SelectedSupport[] = [];
  let held = new Set<number>();
  for (const support of supports) {
    const more = support.neurons.reduce((count, j) => count + (held.has(j) ? 0 : 1), 0);
    if (chunk.length > 0 && held.size + more > most) {
      yield chunk;
      chunk = [];
      held = new Set();
    }
    chunk.push(support);
    for (const j of support.neurons) held.add(j);
  }
  if (chunk.length > 0) yield chunk;
}

/**
 * Label sets under one matrix. Number 0 has the feature's name, so that what is drawn for it is what `SparseProbe` draws; the
 * others are numbered.
 */
export function labelSets(study: Study, sets: readonly Uint8Array[], first = 0): LabelMatrix {
  const { feature, labels } = study;
  const values = new Uint8Array(sets.length * labels.rows);
  for (const [s, set] of sets.entries()) values.set(set, s * labels.rows);
  return new LabelMatrix(
    sets.map((_, s) => (first + s === 0 ? feature : `${feature}, label set ${first + s}`)),
    labels.rows,
    values,
  );
}

/** Metrics of a probe on some rows. */
export function evaluateOn({ decide }: SetProbe, rows: Uint32Array, y: Uint8Array): Metrics {
  const decisions = decide(rows);
  return evaluateBinary(
    Uint8Array.from(rows, (i) => y[i]),
    decisions,
    probabilities(decisions),
  );
}
