/** A study with its defaults filled in, checked before anything is loaded. */
import type { HookName, HookPoint } from "../backends/backend.ts";
import { THREE_PARTS } from "../data/splits.ts";
import { OptionError } from "../errors.ts";
import { METRIC_NAMES, type MetricName } from "../metrics/evaluate.ts";
import { momentSquares, probeSettings, type ProbeSettings } from "../probes/probe-options.ts";
import { K_SCHEDULE } from "../probes/sparse-probe.ts";
import { COLUMN_RANKINGS, isMomentRanking, MOMENT_RANKINGS, type RankingChoice } from "../ranking/ranking.ts";
import type { MomentSquares } from "../data/class-moments.ts";
import { Random } from "../random.ts";
import type {
  NamedSweepMethod,
  SweepIntervals,
  SweepMethod,
  SweepMethodOptions,
  SweepOptions,
  SweepStudy,
} from "./sweep-study.ts";

/** Largest k of `"optimal"` unless it is told its sizes: its work grows fastest. */
const OPTIMAL_UP_TO = 8;

/** Seconds of `"optimal"` for all k of a feature, unless it is told. */
const OPTIMAL_SECONDS = 20;

const GIBIBYTE = 2 ** 30;

interface MethodBase {
  readonly name: string;
  /** It probes rotated activations, too. */
  readonly rotated: boolean;
  readonly options: SweepMethodOptions;
}

/** A way of choosing supports, resolved. */
export type PlannedMethod = MethodBase &
  (
    | {
        readonly kind: "ranking";
        readonly ranking: RankingChoice;
        /** It reads the neurons' values, not their moments alone. */
        readonly readsValues: boolean;
      }
    | { readonly kind: "adaptive"; readonly schedule: readonly number[] }
    | { readonly kind: "optimal"; readonly timeLimit: number }
    | { readonly kind: "dense" }
  );

/** Names of hook points without their layer. */
const HOOK_NAMES: readonly HookName[] = [
  "mlp.hook_pre",
  "mlp.hook_pre_linear",
  "mlp.hook_post",
  "hook_resid_pre",
  "hook_resid_mid",
  "hook_resid_post",
  "hook_attn_out",
];

interface PlannedIntervals {
  readonly metrics: readonly MetricName[];
  readonly draws: number;
  /** Undefined: all of them. */
  readonly ks: ReadonlySet<number> | undefined;
}

export interface StudyPlan {
  readonly study: SweepStudy;
  readonly features: ReadonlySet<string> | undefined;
  readonly methods: readonly PlannedMethod[];
  readonly seeds: readonly number[];
  /** Null first: the neurons as they are. */
  readonly rotations: readonly (number | null)[];
  readonly fractions: Readonly<Record<"train" | "validation" | "test", number>>;
  readonly leastPerClass: number;
  readonly probe: NonNullable<SweepStudy["probe"]>;
  readonly settings: ProbeSettings;
  /** Sums of squares that some method or the standardisation reads. */
  readonly squares: MomentSquares;
  readonly intervals: PlannedIntervals | undefined;
  readonly memoryBytes: number;
}

/** @throws OptionError when the study has nothing to probe, or a part of it has a value outside of its range */
export function planStudy(study: SweepStudy, options: SweepOptions): StudyPlan {
  const { models = [], datasets = [], activations = [], seeds = [0], rotations = [] } = study;
  if (activations.length === 0 && (models.length === 0 || datasets.length === 0)) {
    throw new OptionError(
      models.length === 0 && datasets.length === 0
        ? "The study has nothing to probe."
        : `The study has ${models.length === 0 ? "datasets but no models" : "models but no datasets"}.`,
      "Give models and datasets, or activations with labels.",
    );
  }
  assertNames(
    "model",
    models.map((model) => model.name ?? ""),
  );
  assertNames("dataset", [...datasets.map(({ name }) => name), ...activations.map(({ name }) => name)]);
  assertNames("feature", study.features ?? [], study.features !== undefined);
  const empty = activations.find((own) => own.activations.size === 0);
  if (empty)
    throw new OptionError(`"${empty.name}" has no activations.`, "Give those of at least one hook point.");
  assertHookPoints(study.hookPoints);
  assertNumbers("layers", study.layers, 0);
  assertNumbers("ks", study.ks, 1);
  assertNumbers("seeds", seeds, 0);
  assertNumbers("rotations", rotations, 0, true);
  for (const seed of [...seeds, ...rotations]) new Random(seed);
  const methods = (study.methods ?? ["mean-difference"]).map(planMethod);
  if (methods.length === 0)
    throw new OptionError("There are no methods.", "Name at least one, or leave them out.");
  assertNames(
    "method",
    methods.map(({ name }) => name),
  );
  const { fractions = THREE_PARTS, leastPerClass = 1, probe = {}, intervals } = study;
  assertFractions(fractions);
  if (!Number.isInteger(leastPerClass) || leastPerClass < 1) {
    throw new OptionError(`leastPerClass is ${leastPerClass}.`, "Give a whole number of at least 1.");
  }
  const { memoryBytes = GIBIBYTE } = options;
  if (!(memoryBytes > 0)) throw new OptionError(`memoryBytes is ${memoryBytes}.`, "Give a number above 0.");
  return {
    study,
    features: study.features && new Set(study.features),
    methods,
    seeds,
    rotations: [null, ...rotations],
    fractions,
    leastPerClass,
    probe,
    settings: probeSettings(probe),
    squares: squaresOf(methods, probe),
    intervals: intervals && planIntervals(intervals),
    memoryBytes,
  };
}

/**
 * Support sizes of a method where there are d neurons.
 * @param study sizes of the study, or undefined for the schedule
 * @param d undefined where that is not known
 */
export function sizesOf(method: PlannedMethod, study: readonly number[] | undefined, d: number): number[];
export function sizesOf(
  method: PlannedMethod,
  study: readonly number[] | undefined,
  d: number | undefined,
): (number | null)[];
export function sizesOf(
  method: PlannedMethod,
  study: readonly number[] | undefined,
  d: number = Infinity,
): (number | null)[] {
  if (method.kind === "dense") return [d === Infinity ? null : d];
  const { ks, prefilter = Infinity } = method.options;
  const own = ks ?? study;
  const most = method.kind === "optimal" ? OPTIMAL_UP_TO : Infinity;
  // What was asked for by number fails where it does not fit; the schedule ends there.
  const sizes = own ?? K_SCHEDULE.filter((k) => k <= Math.min(d, prefilter));
  return [...new Set(ks ?? sizes.filter((k) => k <= most))];
}

function planMethod(given: SweepMethod): PlannedMethod {
  const {
    name,
    method,
    options = {},
    rotated = true,
  }: NamedSweepMethod = typeof given === "string" ? { name: given, method: given } : given;
  const base = { name, options, rotated };
  const refuse = (...known: (keyof SweepMethodOptions)[]): void => {
    const unknown = Object.keys(options).find((key) => !(known as string[]).includes(key));
    if (unknown === undefined) return;
    throw new OptionError(
      `The method "${name}" has no option ${JSON.stringify(unknown)}.`,
      known.length > 0 ? `Its options are ${known.join(", ")}.` : "It has none.",
    );
  };
  assertNumbers(`ks of ${name}`, options.ks, 1);
  if (method === "adaptive") {
    refuse("ks", "schedule");
    assertNumbers(`schedule of ${name}`, options.schedule, 1);
    return { ...base, kind: "adaptive", schedule: options.schedule ?? K_SCHEDULE };
  }
  if (method === "dense") {
    refuse();
    return { ...base, kind: "dense" };
  }
  if (method === "optimal") {
    refuse("ks", "loss", "gamma", "candidates", "relativeGap", "timeLimit");
    const { timeLimit = OPTIMAL_SECONDS } = options;
    if (!(timeLimit > 0))
      throw new OptionError(`The time limit of ${name} is ${timeLimit}.`, "Give seconds above 0.");
    return { ...base, kind: "optimal", timeLimit };
  }
  const { prefilter, C, neighbours } = options;
  if (typeof method !== "string") {
    refuse("ks", "prefilter");
    const ranking = typeof method === "function" ? method : method;
    probeSettings({ ranking, ...(prefilter !== undefined && { prefilter }) });
    return { ...base, kind: "ranking", ranking, readsValues: true };
  }
  if (!isMomentRanking(method) && !COLUMN_RANKINGS.includes(method)) {
    throw new OptionError(
      `The method ${JSON.stringify(method)} is not known.`,
      `Use one of ${[...Object.keys(MOMENT_RANKINGS), ...COLUMN_RANKINGS, "adaptive", "optimal", "dense"].join(", ")}.`,
    );
  }
  const strength = method === "l1-logistic" || method === "linear-svm";
  if (strength) refuse("ks", "prefilter", "C");
  else if (method === "mutual-information") refuse("ks", "prefilter", "neighbours");
  else refuse("ks", "prefilter");
  const ranking = {
    name: method,
    ...(C !== undefined && { C }),
    ...(neighbours !== undefined && { neighbours }),
  };
  probeSettings({ ranking, prefilter });
  return { ...base, kind: "ranking", ranking, readsValues: !isMomentRanking(method) };
}

/** The methods that probe activations in this basis. */
export function methodsIn({ methods }: StudyPlan, rotation: number | null): readonly PlannedMethod[] {
  return rotation === null ? methods : methods.filter(({ rotated }) => rotated);
}

function squaresOf(
  methods: readonly PlannedMethod[],
  probe: NonNullable<SweepStudy["probe"]>,
): MomentSquares {
  const read = methods.map((method) =>
    momentSquares({ ...probe, ranking: method.kind === "ranking" ? method.ranking : "mean-difference" }),
  );
  return read.includes("class") ? "class" : read.includes("within") ? "within" : "none";
}

function planIntervals({ metrics, draws = 1000, ks }: SweepIntervals): PlannedIntervals {
  const unknown = metrics.find((name) => !METRIC_NAMES.includes(name));
  if (unknown !== undefined || metrics.length === 0) {
    throw new OptionError(
      unknown === undefined
        ? "There are no metrics to give intervals of."
        : `The metric "${unknown}" is not known.`,
      `Use some of ${METRIC_NAMES.join(", ")}.`,
    );
  }
  if (!Number.isInteger(draws) || draws < 2) {
    throw new OptionError(`The intervals have ${draws} draws.`, "Give a whole number of at least 2.");
  }
  assertNumbers("ks of the intervals", ks, 1);
  return { metrics, draws, ks: ks && new Set(ks) };
}

function assertNames(kind: string, names: readonly string[], needed = false): void {
  if (needed && names.length === 0)
    throw new OptionError(`There are no ${kind}s.`, "Name at least one, or leave them out.");
  if (names.some((name) => typeof name !== "string" || name === "")) {
    throw new OptionError(`A ${kind} has no name.`, "Give it one: rows are told apart by it.");
  }
  const twice = names.find((name, at) => names.indexOf(name) !== at);
  if (twice === undefined) return;
  throw new OptionError(`Two ${kind}s are called ${JSON.stringify(twice)}.`, "Give each a name of its own.");
}

function assertHookPoints(points: SweepStudy["hookPoints"]): void {
  if (points === undefined) return;
  if (points.length === 0)
    throw new OptionError("There are no hook points.", "Give at least one, or leave them out.");
  const wrong = points.find((point) => splitHookPoint(point) === undefined);
  if (wrong === undefined) return;
  throw new OptionError(
    `${JSON.stringify(wrong)} is not a hook point.`,
    `Use names such as "blocks.3.mlp.hook_post", or, for all layers, ${HOOK_NAMES.join(", ")}.`,
  );
}

/** Layer and name; the layer is null for a name that stands for all. */
export function splitHookPoint(point: string): { layer: number | null; name: HookName } | undefined {
  const known = HOOK_NAMES.find((name) => name === point);
  if (known) return { layer: null, name: known };
  const match = /^blocks\.(0|[1-9]\d*)\.(.+)$/.exec(point);
  const name = match && HOOK_NAMES.find((hook) => hook === match[2]);
  return match && name ? { layer: Number(match[1]), name } : undefined;
}

/**
 * Hook points of a model with this many layers, in the order of the study and then by layer.
 * @param layers undefined where the model could not be loaded: only what is named by number is known then
 */
export function hookPointsOf(study: SweepStudy, layers: number | undefined): HookPoint[] {
  const points = new Set<HookPoint>();
  const all =
    study.layers ?? (layers === undefined ? [] : Array.from({ length: layers }, (_, layer) => layer));
  for (const given of study.hookPoints ?? ["mlp.hook_post" as const]) {
    const { layer, name } = splitHookPoint(given)!;
    if (layer === null) for (const each of all) points.add(`blocks.${each}.${name}`);
    else if (study.layers?.includes(layer) !== false) points.add(given as HookPoint);
  }
  return [...points];
}

function assertNumbers(
  name: string,
  values: readonly number[] | undefined,
  least: number,
  empty = false,
): void {
  if (values === undefined) return;
  if (!Array.isArray(values) || (values.length === 0 && !empty)) {
    throw new OptionError(
      `${name} is ${JSON.stringify(values)}.`,
      "Give a list of numbers, or leave it out.",
    );
  }
  for (const [at, value] of (values as number[]).entries()) {
    if (!Number.isSafeInteger(value) || value < least) {
      throw new OptionError(`${name} has ${value} in it.`, `Give whole numbers of at least ${least}.`);
    }
    if (values.indexOf(value) !== at) {
      throw new OptionError(`${name} has ${value} in it twice.`, "Name each once.");
    }
  }
}

function assertFractions(fractions: Readonly<Record<string, number>>): void {
  const parts = Object.keys(THREE_PARTS);
  const given = Object.keys(fractions);
  const sum = Object.values(fractions).reduce((total, fraction) => total + fraction, 0);
  const right = given.length === 3 && parts.every((part) => fractions[part] > 0) && Math.abs(sum - 1) <= 1e-9;
  if (right) return;
  throw new OptionError(
    `The fractions are ${JSON.stringify(fractions)}.`,
    "Give train, validation and test a share above 0 each, with a sum of 1.",
  );
}
