/** A fitted probe as plain data, and its JSON form. */
import type { Convergence } from "../backends/backend.ts";
import type { ClassValue } from "../data/labels.ts";
import { STANDARDISATIONS } from "../data/standardisation.ts";
import { above, bad, finite, flag, list, object, oneOf, share, text, whole } from "./json-fields.ts";
import type { ProbeSettings } from "./probe-options.ts";

/** Where a probe came from. */
export interface ProbeProvenance {
  /** The backend that fitted it. */
  readonly backend: "cpu" | "webgpu" | "gpujs";
  readonly model?: string;
  readonly hookPoint?: string;
  readonly aggregation?: string;
}

/** Everything there is to know about a fitted probe. Lists are in support order, strongest neuron first. */
export interface ProbeRecord {
  readonly feature: string;
  /** The class that label 1 stands for. */
  readonly positive: ClassValue;
  /** Columns of the activations that the probe was fitted to. */
  readonly neurons: number;
  /** The k chosen neurons. */
  readonly support: readonly number[];
  /** Signed ranking scores of the support. */
  readonly scores: readonly number[];
  /** On preprocessed columns, x̃ = (x − center)/scale. */
  readonly coefficients: readonly number[];
  readonly intercept: number;
  readonly center: readonly number[];
  readonly scale: readonly number[];
  readonly convergence: Convergence;
  readonly options: ProbeSettings;
  readonly provenance: ProbeProvenance;
}

const SCHEMA = "sparseprobe/probe";
const VERSION = 1;

/** The JSON form: the record under a schema name and version. Numbers that overflowed are null there. */
export interface ProbeJson extends ProbeRecord {
  readonly schema: typeof SCHEMA;
  readonly version: typeof VERSION;
}

export function recordToJson(record: ProbeRecord): ProbeJson {
  return { schema: SCHEMA, version: VERSION, ...record };
}

/**
 * Reads and checks the JSON form.
 * @throws FormatError naming the first field that is missing, of another type, out of range or inconsistent
 */
export function recordFromJson(json: unknown): ProbeRecord {
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
  const positive = top["positive"];
  if (typeof positive !== "string" && typeof positive !== "boolean") finite(positive, "positive");
  return {
    feature: text(top["feature"], "feature"),
    positive: positive as ClassValue,
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

function convergence(json: unknown): Convergence {
  const c = object(json, "convergence");
  const measure = (name: string) => (c[name] === null ? NaN : finite(c[name], `convergence.${name}`));
  return {
    converged: flag(c["converged"], "convergence.converged"),
    iterations: whole(c["iterations"], "convergence.iterations", 0),
    gradientNorm: measure("gradientNorm"),
    newtonDecrement: measure("newtonDecrement"),
    objective: measure("objective"),
    separated: flag(c["separated"], "convergence.separated"),
  };
}

function settings(json: unknown): ProbeSettings {
  const o = object(json, "options");
  return {
    C: above(o["C"], "options.C"),
    classWeight: oneOf(o["classWeight"], "options.classWeight", ["balanced", "none"] as const),
    standardise: oneOf(o["standardise"], "options.standardise", STANDARDISATIONS),
    ranking: text(o["ranking"], "options.ranking"),
    ...(o["prefilter"] !== undefined && { prefilter: whole(o["prefilter"], "options.prefilter", 1) }),
    ...(o["seed"] !== undefined && { seed: whole(o["seed"], "options.seed", 0) }),
    ...(o["penalty"] !== undefined && {
      penalty: oneOf(o["penalty"], "options.penalty", ["l1", "elastic-net"] as const),
    }),
    ...(o["l1Ratio"] !== undefined && { l1Ratio: share(o["l1Ratio"], "options.l1Ratio") }),
    ...(o["loss"] !== undefined && { loss: oneOf(o["loss"], "options.loss", ["hinge"] as const) }),
    tolerance: above(o["tolerance"], "options.tolerance"),
    maxIterations: whole(o["maxIterations"], "options.maxIterations", 1),
  };
}

/** Reads the provenance of a record. */
export function provenanceFromJson(json: unknown): ProbeProvenance {
  const p = object(json, "provenance");
  const optional = (name: "model" | "hookPoint" | "aggregation") =>
    p[name] === undefined ? {} : { [name]: text(p[name], `provenance.${name}`) };
  return {
    backend: oneOf(p["backend"], "provenance.backend", ["cpu", "webgpu", "gpujs"] as const),
    ...optional("model"),
    ...optional("hookPoint"),
    ...optional("aggregation"),
  };
}
