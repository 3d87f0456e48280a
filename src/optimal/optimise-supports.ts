/** From activations and labels to certified supports: candidates, starts, one search per k, and records. */
import type { Backend } from "../backends/backend.ts";
import { createCpuBackend } from "../backends/cpu/cpu-backend.ts";
import { Pacer } from "../backends/cpu/pacer.ts";
import type { Activations } from "../data/activations.ts";
import { UNLABELLED, type ClassValue, type LabelMatrix } from "../data/labels.ts";
import { standardisation, STANDARDISATIONS, type ColumnTransform } from "../data/standardisation.ts";
import { OptionError, ShapeError } from "../errors.ts";
import {
  openActivations,
  type ActivationSource,
  type FitColumns,
  type OpenActivations,
} from "../probes/activation-source.ts";
import { thresholdSupports } from "../probes/adaptive-thresholding.ts";
import { selectSupports, type ProbeFailure } from "../probes/fit-supports.ts";
import type { ProbeProvenance, ProbeRecord } from "../probes/probe-record.ts";
import { oneFeature, originOf, type ProbeLabels } from "../probes/one-feature.ts";
import { K_SCHEDULE } from "../probes/sparse-probe.ts";
import { meanDifference } from "../ranking/mean-difference.ts";
import { assertSupportSizes, strongest, strongestOf } from "../ranking/ranking.ts";
import { boundsBeyond, lookAt, widen } from "./beyond-candidates.ts";
import { chooseCandidates, readStarts } from "./choose-candidates.ts";
import type { HeuristicSupport, OptimalSupport, OptimalSupportsOptions } from "./optimal-support.ts";
import { eliminateNeurons } from "./eliminate-neurons.ts";
import { MARGIN_LOSSES, type OptimalLoss } from "./margin-loss.ts";
import { search, SearchState, type DualPoint, type FittedSupport, type SearchReport } from "./search.ts";
import { swapNeurons } from "./swap-neurons.ts";
import { supportProblem, type SupportProblem } from "./support-problem.ts";

/** Options with their defaults, checked. */
interface Settings {
  readonly loss: OptimalLoss;
  readonly gamma: number | undefined;
  readonly balanced: boolean;
  readonly standardise: NonNullable<OptimalSupportsOptions["standardise"]>;
  readonly relativeGap: number;
  readonly timeLimit: number;
}

/** See `findOptimalSupports`. */
export async function optimiseSupports(
  acts: ActivationSource,
  labels: ProbeLabels,
  ks: readonly number[],
  options: OptimalSupportsOptions,
): Promise<OptimalSupport[]> {
  const settings = readSettings(options);
  const { signal, backend = createCpuBackend() } = options;
  signal?.throwIfAborted();
  const began = performance.now();
  const { matrix, positive } = oneFeature(labels, options);
  const source = await openActivations(acts, backend, { signal });
  try {
    assertSupportSizes(ks, source.neurons);
    if (matrix.rows !== source.rows) {
      throw new ShapeError(
        `There are ${matrix.rows} labels for ${source.rows} rows.`,
        "Give one label per row.",
      );
    }
    const chosen = options.rows ? matrix.restrictedTo(options.rows) : matrix;
    const moments = await source.classMoments(chosen, { signal, squares: "within" });
    const [failure] = selectSupports(moments, chosen, [1]).failures;
    if (failure as ProbeFailure | undefined) throw failure.error;
    const transform = standardisation(settings.standardise, moments, 0);
    const raw = meanDifference(moments, 0);
    const scores = raw.map((score, j) => score / transform.scale[j]);
    const starts = readStarts(options.starts ?? [], ks, source.neurons);
    const { candidates: choice = 50 } = options;
    const given = chooseCandidates(choice, Math.max(...ks), scores, raw, starts);
    const pool = poolOf(choice, given, raw, Math.max(...ks), source.rows);
    const columns = await source.columns(joined(given, pool), { signal });
    const thresholded = await thresholdSupports(
      {
        backend,
        labels: chosen,
        ranked: pool,
        host: await gatherNeurons(backend, columns, pool, signal),
        transform,
        settings: { classWeight: settings.balanced ? "balanced" : "none" },
      },
      ks,
      K_SCHEDULE,
      { signal, expired: timeShare(settings, ks, began, 1) },
    );
    // A list is the caller's word, and the pool was taken from it.
    const candidates = typeof choice === "number" ? joined(given, ...thresholded.values()) : given;
    const pacer = new Pacer(signal);
    const y = labelledRows(chosen);
    const values = await gather(backend, columns, candidates, y.rows, transform, pacer, signal);
    const [negatives, positives] = chosen.counts(0);
    const n = negatives + positives;
    const weights = Float64Array.from(y.labels, (label) =>
      settings.balanced ? n / (2 * (label === 1 ? positives : negatives)) : 1,
    );
    const gamma = settings.gamma ?? n ** -0.5;
    const problem = await drive(supportProblem(values, y.labels, weights, gamma, settings.loss), pacer);
    const study: Study = {
      problem,
      candidates,
      neurons: source.neurons,
      scores,
      raw,
      thresholded: new Map(Array.from(thresholded, ([k, support]) => [k, placesIn(candidates, support)])),
      starts: starts.map((start) => placesIn(candidates, start)),
      transform,
      settings,
      gamma,
      feature: chosen.features[0],
      positive,
      provenance: {
        backend: backend.info.kind,
        ...originOf({ ...source.provenance, ...options.provenance }),
      },
    };
    const found = await searchSizes(study, ks, began, pacer, options);
    const beyond = await lookBeyond(study, found, source, backend, y, pacer, options);
    const results = new Map(
      found.map((size) => [size.k, resultOf(study, size, beyond.get(size.k)!)] as const),
    );
    return ks.map((k) => results.get(k)!);
  } finally {
    source.close();
  }
}

/** Everything that the searches of one call share. */
interface Study {
  readonly problem: SupportProblem;
  /** Neuron by candidate, ascending. */
  readonly candidates: Uint32Array;
  readonly neurons: number;
  /** Mean differences of preprocessed and of raw columns, by neuron. */
  readonly scores: Float64Array;
  readonly raw: Float64Array;
  /** Supports of adaptive thresholding by size, as candidates. */
  readonly thresholded: ReadonlyMap<number, readonly number[]>;
  /** The caller's supports, as candidates. */
  readonly starts: readonly (readonly number[])[];
  readonly transform: ColumnTransform;
  readonly settings: Settings;
  readonly gamma: number;
  readonly feature: string;
  readonly positive: ClassValue;
  readonly provenance: ProbeProvenance;
}

/** What the search for one size came to. */
interface Searched {
  readonly k: number;
  readonly report: SearchReport;
  readonly heuristics: readonly HeuristicSupport[];
  /** Dual points that bound supports of this size well. */
  readonly duals: readonly DualPoint[];
  readonly work: Pick<OptimalSupport, "nodes" | "cuts" | "evaluations" | "seconds" | "history">;
}

/** Bytes of columns outside of the candidates that are held at once, and columns copied in one go. */
const OUTSIDE_BYTES = 256 * 2 ** 20;
const GATHERED = 64;

/** Values of the neurons that adaptive thresholding starts from. */
const POOL_VALUES = 2 ** 27;

/** Milliseconds between calls of `onProgress` while nothing improves. */
const SHOWN_EVERY = 300;

/** One search per size, smallest first: cuts and incumbents of a size serve the next. */
async function searchSizes(
  study: Study,
  ks: readonly number[],
  began: number,
  pacer: Pacer,
  options: OptimalSupportsOptions,
): Promise<Searched[]> {
  const { problem, settings } = study;
  const shared = new SearchState(problem);
  const sizes = [...new Set(ks)].sort((a, b) => a - b);
  const end = began + 1000 * settings.timeLimit;
  const found: Searched[] = [];
  let previous: FittedSupport | undefined;
  const order = topCandidates(study, study.scores, study.candidates.length);
  const eliminated = await drive(
    eliminateNeurons(shared, order, sizes.at(-1)!, timeShare(settings, ks, began, 2)),
    pacer,
  );
  for (const [at, k] of sizes.entries()) {
    const started = performance.now();
    const deadline = started + Math.max(0, end - started) / (sizes.length - at);
    const before = { evaluations: shared.evaluations, cuts: shared.cutCount };
    const history: { seconds: number; incumbent: number; lowerBound: number }[] = [];
    let shown = -Infinity;
    const show = (incumbent: number, lowerBound: number, nodes: number): void => {
      shown = performance.now();
      options.onProgress?.({
        k,
        incumbent,
        lowerBound,
        gap: (incumbent - lowerBound) / incumbent,
        nodes,
        seconds: (shown - began) / 1000,
      });
    };
    const note = (incumbent: number, bound: number, nodes: number): void => {
      const last = history.at(-1);
      const now = performance.now();
      const lowerBound = Math.max(0, bound);
      const gain = last ? lowerBound - last.lowerBound : Infinity;
      const better = !last || incumbent < last.incumbent;
      // A bound that creeps is noted when it has closed a hundredth of the gap.
      if (!better && !(gain > 0.01 * (incumbent - last.lowerBound))) return;
      history.push({ seconds: (now - started) / 1000, incumbent, lowerBound });
      show(incumbent, lowerBound, nodes);
    };
    const heuristics: HeuristicSupport[] = [];
    let best: FittedSupport | undefined;
    const attempt = async (name: HeuristicSupport["name"], support: readonly number[]): Promise<void> => {
      record(name, await drive(shared.fit(support, previous?.point), pacer));
    };
    const record = (name: HeuristicSupport["name"], fit: FittedSupport): void => {
      heuristics.push(
        Object.freeze({
          name,
          support: Object.freeze(fit.support.map((c) => study.candidates[c])),
          objective: fit.objective,
        }),
      );
      if (!best || fit.objective < best.objective) best = fit;
    };
    await attempt("mean-difference", topCandidates(study, study.scores, k));
    await attempt("raw-mean-difference", topCandidates(study, study.raw, k));
    const thresholded = study.thresholded.get(k);
    if (thresholded) await attempt("adaptive-thresholding", thresholded);
    for (const start of study.starts) if (start.length === k) await attempt("start", start);
    if (previous) await attempt("extended", extend(previous, k));
    const expired = (): boolean => performance.now() > deadline;
    const last = eliminated.get(k);
    if (last) {
      await attempt("elimination", last);
      record("swaps", await drive(swapNeurons(shared, await drive(shared.fit(last), pacer), expired), pacer));
    }
    record("swaps", await drive(swapNeurons(shared, best!, expired), pacer));
    note(best!.objective, 0, 0);
    let latest: Readonly<SearchReport> | undefined;
    const report = await drive(
      search(shared, k, best!, {
        relativeGap: settings.relativeGap,
        expired,
        onImprovement: (improved) => {
          latest = improved;
          note(improved.incumbent.objective, improved.bound, improved.nodes);
        },
      }),
      pacer,
      () => {
        if (!latest || performance.now() - shown < SHOWN_EVERY) return;
        show(latest.incumbent.objective, Math.max(0, latest.bound), latest.nodes);
      },
    );
    previous = report.incumbent;
    found.push({
      k,
      report,
      heuristics: Object.freeze(heuristics),
      duals: [...(report.root ? [report.root] : []), { cut: report.incumbent.cut, v: report.incumbent.dual }],
      work: {
        nodes: report.nodes,
        cuts: shared.cutCount - before.cuts,
        evaluations: shared.evaluations - before.evaluations,
        seconds: (performance.now() - started) / 1000,
        history: Object.freeze(history.map((entry) => Object.freeze(entry))),
      },
    });
  }
  return found;
}

/** True once so many shares of the time are gone: one is for each size, and one each for thresholding and elimination. */
function timeShare(
  { timeLimit }: Settings,
  ks: readonly number[],
  began: number,
  shares: number,
): () => boolean {
  const end = began + (1000 * timeLimit * shares) / (new Set(ks).size + 2);
  return () => performance.now() > end;
}

/**
 * Neurons that adaptive thresholding starts from, strongest first: those that `SparseProbe.adaptive` takes, fewer where the rows are
 * so many that they would not fit, or the caller's list.
 */
function poolOf(
  choice: NonNullable<OptimalSupportsOptions["candidates"]>,
  given: Uint32Array,
  raw: Float64Array,
  largest: number,
  rows: number,
): Uint32Array {
  const most = Math.max(largest, Math.min(K_SCHEDULE.at(-1)!, Math.floor(POOL_VALUES / rows)));
  const among = typeof choice === "object" ? given : undefined;
  return strongestOf(raw, Math.min(most, among?.length ?? raw.length), among);
}

function joined(...lists: readonly ArrayLike<number>[]): Uint32Array {
  return Uint32Array.from(new Set(lists.flatMap((list) => Array.from(list)))).sort();
}

function placesIn(candidates: Uint32Array, neurons: readonly number[]): number[] {
  return neurons.map((j) => candidates.indexOf(j));
}

/** The k candidates that rank first by |score|. */
function topCandidates({ candidates }: Study, scores: Float64Array, k: number): number[] {
  return Array.from(
    strongest(
      Float64Array.from(candidates, (j) => scores[j]),
      k,
    ),
  );
}

/** A smaller size's incumbent and the candidates that its own cut ranks next. */
function extend(previous: FittedSupport, k: number): number[] {
  const q = previous.cut.q;
  const others = [...q.keys()]
    .filter((j) => !previous.support.includes(j))
    .sort((a, b) => q[b] - q[a] || a - b);
  return [...previous.support, ...others.slice(0, k - previous.support.length)];
}

/** Looks at the neurons outside of the candidates from the dual points of every size. */
async function lookBeyond(
  study: Study,
  found: readonly Searched[],
  source: OpenActivations,
  backend: Backend,
  { rows, labels }: LabelledRows,
  pacer: Pacer,
  { signal }: OptimalSupportsOptions,
): Promise<Map<number, { undecided: readonly number[]; lowest: number }>> {
  const { problem, candidates, neurons, transform, settings, gamma } = study;
  const inside = new Set(candidates);
  const outside = Uint32Array.from({ length: neurons }, (_, j) => j).filter((j) => !inside.has(j));
  const cuts = found.map(({ duals }) => duals.map((dual) => widen(dual, neurons)));
  if (outside.length > 0) await drive(lookAt(cuts.flat(), problem, candidates), pacer);
  const width = Math.max(1, Math.floor(OUTSIDE_BYTES / (8 * source.rows)));
  for (let first = 0; first < outside.length; first += width) {
    const part = outside.subarray(first, first + width);
    const columns = await source.columns(part, { signal });
    for (let at = 0; at < part.length; at += GATHERED) {
      const asked = part.subarray(at, at + GATHERED);
      const values = await gather(backend, columns, asked, rows, transform, pacer, signal);
      const prepared = await drive(
        supportProblem(values, labels, problem.weights, gamma, settings.loss),
        pacer,
      );
      await drive(lookAt(cuts.flat(), prepared, asked), pacer);
    }
    if (columns.neurons) columns.x.dispose();
  }
  return new Map(
    found.map(({ k, report: { incumbent } }, at) => {
      const least = incumbent.objective * (1 - settings.relativeGap);
      return [k, boundsBeyond(cuts[at], outside, k, gamma, least)];
    }),
  );
}

function resultOf(
  study: Study,
  { k, report, heuristics, work }: Searched,
  beyond: { undecided: readonly number[]; lowest: number },
): OptimalSupport {
  const { incumbent, proved, expired } = report;
  const probe = probeOf(study, incumbent);
  const lowerBound = Math.max(0, Math.min(report.bound, incumbent.objective));
  const gap = incumbent.objective - lowerBound;
  return Object.freeze({
    k,
    support: probe.support,
    probe,
    objective: incumbent.objective,
    lowerBound,
    gap,
    relativeGap: gap / incumbent.objective,
    proved,
    status: proved ? "optimal" : expired ? "time-limit" : "gap",
    scope: Object.freeze({
      candidates: Object.freeze(Array.from(study.candidates)),
      neurons: study.neurons,
      undecided: Object.freeze(beyond.undecided),
      lowerBound: Math.max(0, Math.min(lowerBound, beyond.lowest)),
    }),
    ...work,
    heuristics,
    atMeanDifferenceLimit: atMeanDifferenceLimit(study, incumbent),
  });
}

/** Whether the support is the top k by mean difference and its objective what first order in γ promises. */
function atMeanDifferenceLimit(study: Study, { support, objective }: FittedSupport): boolean {
  const { scores, candidates, gamma, problem, settings } = study;
  const { positive, negative } = problem.mass;
  const total = positive + negative;
  // Without any neuron: Σ ω·λ of a class, and the objective.
  const least = Math.min(positive, negative);
  const hinge = settings.loss === "hinge";
  const mass = hinge ? least : (positive * negative) / total;
  const empty = hinge
    ? 2 * least
    : -positive * Math.log(positive / total) - negative * Math.log(negative / total);
  const inSupport = new Set(support.map((c) => candidates[c]));
  if (strongest(scores, support.length).some((j) => !inSupport.has(j))) return false;
  const squares = support.reduce((sum, c) => sum + scores[candidates[c]] ** 2, 0);
  return empty - objective >= 0.99 * 0.5 * gamma * mass * mass * squares;
}

function probeOf(study: Study, fit: FittedSupport): ProbeRecord {
  const { problem, candidates, transform, settings, gamma, raw } = study;
  const order = [...fit.point.candidates.keys()].sort(
    (a, b) => Math.abs(fit.point.beta[b]) - Math.abs(fit.point.beta[a]) || a - b,
  );
  const columns = order.map((a) => fit.point.candidates[a]);
  const coefficients = order.map((a) => fit.point.beta[a]);
  const shift = coefficients.reduce((sum, w, a) => sum + w * problem.means[columns[a]], 0);
  const support = columns.map((c) => candidates[c]);
  const total = problem.mass.positive + problem.mass.negative;
  const gap = fit.objective - fit.bound;
  return Object.freeze({
    feature: study.feature,
    positive: study.positive,
    neurons: study.neurons,
    support: Object.freeze(support),
    scores: Object.freeze(support.map((j) => raw[j])),
    coefficients: Object.freeze(coefficients),
    intercept: fit.point.intercept - shift,
    center: Object.freeze(support.map((j) => transform.center[j])),
    scale: Object.freeze(support.map((j) => transform.scale[j])),
    convergence: Object.freeze({
      converged: gap <= 1e-8 * fit.objective,
      iterations: fit.steps,
      gradientNorm: fit.residual,
      newtonDecrement: gap / total,
      objective: gamma * fit.objective,
      separated: fit.separated,
    }),
    options: Object.freeze({
      C: gamma,
      classWeight: settings.balanced ? "balanced" : "none",
      standardise: settings.standardise,
      ranking: "optimal",
      ...(settings.loss === "hinge" && { loss: "hinge" as const }),
      tolerance: 1e-10,
      maxIterations: 200,
    }),
    provenance: Object.freeze(study.provenance),
  });
}

/** Rows that take part, and their labels. */
interface LabelledRows {
  readonly rows: Uint32Array;
  readonly labels: Uint8Array;
}

function labelledRows(labels: LabelMatrix): LabelledRows {
  const all = labels.of(0);
  const rows = Uint32Array.from([...all.keys()].filter((i) => all[i] !== UNLABELLED));
  return { rows, labels: Uint8Array.from(rows, (i) => all[i]) };
}

/** Preprocessed columns of some neurons in the labelled rows, in float64. */
async function gather(
  backend: Backend,
  columns: FitColumns,
  wanted: Uint32Array,
  rows: Uint32Array,
  { center, scale }: ColumnTransform,
  pacer: Pacer,
  signal: AbortSignal | undefined,
): Promise<Float64Array[]> {
  const out: Float64Array[] = [];
  for (let first = 0; first < wanted.length; first += GATHERED) {
    const part = wanted.subarray(first, first + GATHERED);
    const values = (await gatherNeurons(backend, columns, part, signal)).toFloat32();
    for (const [c, j] of part.entries()) {
      const column = new Float64Array(rows.length);
      for (let r = 0; r < rows.length; r++) {
        column[r] = (values[rows[r] * part.length + c] - center[j]) / scale[j];
      }
      out.push(column);
      if (pacer.due) await pacer.turn();
    }
  }
  return out;
}

/** Columns of some neurons on the host, in the order given. */
function gatherNeurons(
  backend: Backend,
  { x, neurons }: FitColumns,
  wanted: Uint32Array,
  signal: AbortSignal | undefined,
): Promise<Activations> {
  const place = neurons && new Map(Array.from(neurons, (j, c) => [j, c]));
  return backend.gatherColumns(x, place ? wanted.map((j) => place.get(j)!) : wanted, { signal });
}

/** Runs a generator to its end, letting the event loop have its turns. */
async function drive<T>(
  steps: Generator<undefined, T, undefined>,
  pacer: Pacer,
  onTurn?: () => void,
): Promise<T> {
  for (;;) {
    const state = steps.next();
    if (state.done) return state.value;
    if (!pacer.due) continue;
    await pacer.turn();
    onTurn?.();
  }
}

/** @throws OptionError when a value is outside its range */
function readSettings(options: OptimalSupportsOptions): Settings {
  const {
    loss = "logistic",
    gamma,
    standardise = "tenth-deviation",
    classWeight = "balanced",
    relativeGap = 1e-6,
    timeLimit = 60,
  } = options;
  const oneOf = (name: string, value: string, allowed: readonly string[]): void => {
    if (allowed.includes(value)) return;
    throw new OptionError(
      `${name} is ${JSON.stringify(value)}.`,
      `Use one of ${allowed.map((option) => `"${option}"`).join(", ")}.`,
    );
  };
  oneOf("loss", loss, Object.keys(MARGIN_LOSSES));
  oneOf("standardise", standardise, STANDARDISATIONS);
  oneOf("classWeight", classWeight, ["balanced", "none"]);
  if (gamma !== undefined && !(gamma > 0 && Number.isFinite(gamma))) {
    throw new OptionError(`gamma is ${gamma}.`, "Give a finite number above 0.");
  }
  if (!(relativeGap >= 0 && relativeGap < 1)) {
    throw new OptionError(`relativeGap is ${relativeGap}.`, "Give a number from 0 to below 1.");
  }
  if (!(timeLimit >= 0)) {
    throw new OptionError(`timeLimit is ${timeLimit}.`, "Give seconds, 0 or more; Infinity for no limit.");
  }
  return { loss, gamma, balanced: classWeight === "balanced", standardise, relativeGap, timeLimit };
}
