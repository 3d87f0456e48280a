/** A fitted regression probe as plain data, and its JSON form. */
import { STANDARDISATIONS } from "../data/standardisation.ts";
import { above, bad, finite, flag, list, object, oneOf, text, whole } from "../probes/json-fields.ts";
import { provenanceFromJson, type ProbeProvenance } from "../probes/probe-record.ts";
import { REGRESSION_PENALTIES, type RegressionSettings } from "./regression-options.ts";
import type { RegressionConvergence } from "./solution.ts";

/** Everything there is to know about a fitted regression probe. Lists are in support order, strongest neuron first. */
export interface RegressionRecord {
  /** Name of the target. */
  readonly target: string;
  /** Columns of the activations that the probe was fitted to. */
  readonly neurons: number;
  /** The k chosen neurons. */
  readonly support: readonly number[];
  /** Signed ranking scores of the support. */
  readonly scores: readonly number[];
  /** On preprocessed columns, x̃ = (x − center)/scale, in units of the target. */
  readonly coefficients: readonly number[];
  readonly intercept: number;
  readonly center: readonly number[];
  readonly scale: readonly number[];
  readonly convergence: RegressionConvergence;
  readonly options: RegressionSettings;
  readonly provenance: ProbeProvenance;
}

const SCHEMA = "sparseprobe/regression-probe";
const VERSION = 1;

/** The JSON form: the record under a schema name and version. */
export interface RegressionJson extends RegressionRecord {
  readonly schema: typeof SCHEMA;
  readonly version: typeof VERSION;
}

export function regressionToJson(record: RegressionRecord): RegressionJson {
  return { schema: SCHEMA, version: VERSION, ...record };
}

/**
 * Reads and checks the JSON form.
 * @throws FormatError naming the first field that is missing, of another type, out of range or inconsistent
 */
export function regressionFromJson(json: unknown): RegressionRecord {
  const top = object(json, "the probe");
  if (top["schema"] !== SCHEMA) throw bad("schema", `is not "${SCHEMA}"`);
  if (top["version"] !== VERSION) throw bad("version", `is not ${VERSION}`);
  const neurons = whole(top["neurons"], "neurons", 1);
  const support = list(top["support"], "support", (value, name) => whole(value, name, 0, neurons - 1));
  const k = support.length;
  if (k === 0) throw bad("support", "is empty");
  if (new Set(support).size !== k) throw bad("support", "names a neuron twice");
  const numbers = (name: string) => {
    const values = list(top[name], name, finite);
    if (values.length !== k) throw bad(name, `does not have ${k} values`);
    return values;
  };
  const scale = numbers("scale");
  if (scale.includes(0)) throw bad("scale", "holds a zero");
  return {
    target: text(top["target"], "target"),
    neurons,
    support,
    scores: numbers("scores"),
    coefficients: numbers("coefficients"),
    intercept: finite(top["intercept"], "intercept"),
    center: numbers("center"),
    scale,
    convergence: convergence(top["convergence"]),
    options: settings(top["options"]),
    provenance: provenanceFromJson(top["provenance"]),
  };
}

function convergence(json: unknown): RegressionConvergence {
  const c = object(json, "convergence");
  return {
    converged: flag(c["converged"], "convergence.converged"),
    iterations: whole(c["iterations"], "convergence.iterations", 0),
    objective: finite(c["objective"], "convergence.objective"),
    dualityGap: finite(c["dualityGap"], "convergence.dualityGap"),
  };
}

function settings(json: unknown): RegressionSettings {
  const o = object(json, "options");
  const penalty = oneOf(o["penalty"], "options.penalty", REGRESSION_PENALTIES);
  const ranking = text(o["ranking"], "options.ranking");
  const l1Ratio = () => {
    const value = finite(o["l1Ratio"], "options.l1Ratio");
    if (value < 0 || value > 1) throw bad("options.l1Ratio", "is not from 0 to 1");
    return value;
  };
  return {
    penalty,
    alpha: above(o["alpha"], "options.alpha"),
    ...(penalty === "elastic-net" && { l1Ratio: l1Ratio() }),
    standardise: oneOf(o["standardise"], "options.standardise", STANDARDISATIONS),
    ranking,
    ...((ranking === "mutual-information" || o["prefilter"] !== undefined) && {
      prefilter: whole(o["prefilter"], "options.prefilter", 1),
    }),
    ...(ranking === "mutual-information" && {
      neighbours: whole(o["neighbours"], "options.neighbours", 1),
      seed: whole(o["seed"], "options.seed", 0),
    }),
    tolerance: above(o["tolerance"], "options.tolerance"),
    maxIterations: whole(o["maxIterations"], "options.maxIterations", 1),
  };
}
