/** Interventions as every backend carries them out: checked, and freed of what changes nothing. */
import { NonFiniteError, OptionError, ShapeError } from "../errors.ts";
import type {
  ActivationChange,
  ForwardRequest,
  HookPoint,
  Intervention,
  TransformerSpec,
} from "./backend.ts";
import { hookWidth } from "./hook-points.ts";

/** How kernels number the kinds of change. */
export const CHANGE_CODE = { set: 0, scale: 1, add: 2 } as const;

/** One change of some columns of some rows. */
export interface ColumnChange {
  /** Value v and activation x give v, v·x, or x + v. */
  readonly kind: ActivationChange["kind"];
  readonly columns: Uint32Array;
  /** By column. */
  readonly values: Float32Array;
  /** Rising tokens of the batch; null: all. */
  readonly tokens: Uint32Array | null;
}

/** Changes by hook point, in the order in which they happen. */
export type ChangesByPoint = ReadonlyMap<HookPoint, readonly ColumnChange[]>;

/**
 * What a pass has to change. Factors of 1 and sums of 0 are left out here, and so are changes of no neurons or no tokens: they
 * cannot touch a bit of the result.
 *
 * @param tokens in the batch
 * @throws OptionError when a hook point or a kind of change does not exist
 * @throws ShapeError when a neuron or a token does not exist or is named twice, or there are not as many values as neurons
 * @throws NonFiniteError when a value, a factor or a direction is not finite in float32
 */
export function resolveInterventions(
  spec: TransformerSpec,
  tokens: number,
  interventions: readonly Intervention[] = [],
): ChangesByPoint {
  const changes = new Map<HookPoint, ColumnChange[]>();
  for (const intervention of interventions) {
    const { hookPoint } = intervention;
    const change = columnChange(intervention, hookWidth(spec, hookPoint), tokens);
    if (change.columns.length === 0 || change.tokens?.length === 0) continue;
    const list = changes.get(hookPoint) ?? [];
    list.push(change);
    changes.set(hookPoint, list);
  }
  return changes;
}

/** The tokens of [first, first + count) that a change is of, counted from `first`; null: all of them. */
export function tokensWithin({ tokens }: ColumnChange, first: number, count: number): Uint32Array | null {
  return tokens && tokens.filter((t) => t >= first && t < first + count).map((t) => t - first);
}

/**
 * The vocabulary's entries whose logits are asked for; null for none.
 * @throws ShapeError when there is no such entry
 */
export function chosenTokens(spec: TransformerSpec, { logitsOf }: ForwardRequest): Uint32Array | null {
  if (!logitsOf || logitsOf.length === 0) return null;
  return Uint32Array.from(logitsOf, (token) => {
    if (Number.isInteger(token) && token >= 0 && token < spec.vocabulary) return token;
    throw new ShapeError(
      `There is no token ${token} to give the logits of.`,
      `Tokens run from 0 to ${spec.vocabulary - 1}.`,
    );
  });
}

function columnChange(intervention: Intervention, width: number, tokens: number): ColumnChange {
  const { hookPoint, kind } = intervention;
  const columns = intervention.neurons
    ? distinct(intervention.neurons, width, hookPoint)
    : Uint32Array.from({ length: width }, (_, i) => i);
  const rows = intervention.tokens ? rising(intervention.tokens, tokens) : null;
  const values = float32Values(valuesOf(intervention, columns.length), hookPoint);
  const neutral = kind === "scale" ? 1 : kind === "add" ? 0 : undefined;
  const kept = columns.map((_, i) => i).filter((i) => values[i] !== neutral);
  return {
    kind,
    columns: kept.map((i) => columns[i]),
    values: Float32Array.from(kept, (i) => values[i]),
    tokens: rows,
  };
}

function valuesOf(intervention: Intervention, count: number): ArrayLike<number> {
  const all = (value: number): number[] => new Array<number>(count).fill(value);
  switch (intervention.kind) {
    case "set":
      return typeof intervention.values === "number"
        ? all(intervention.values)
        : matching(intervention.values, count, "values");
    case "scale":
      return all(intervention.factor);
    case "add": {
      const { strength = 1 } = intervention;
      return Array.from(matching(intervention.direction, count, "direction"), (value) => strength * value);
    }
    default:
      // JavaScript callers may write anything.
      throw new OptionError(
        `The change ${JSON.stringify((intervention as { kind: unknown }).kind)} is not known.`,
        'Use "set", "scale" or "add".',
      );
  }
}

function matching(values: ArrayLike<number>, count: number, what: string): ArrayLike<number> {
  // JavaScript callers may leave them out.
  const length = (values as ArrayLike<number> | undefined)?.length;
  if (length === count) return values;
  throw new ShapeError(
    `An intervention's ${what} have ${length ?? "no"} entries for ${count} neurons.`,
    "Give one for each neuron that it changes.",
  );
}

function float32Values(values: ArrayLike<number>, point: HookPoint): Float32Array {
  return Float32Array.from(values, (value) => {
    if (Number.isFinite(Math.fround(value))) return value;
    throw new NonFiniteError(
      `An intervention at ${point} would put in ${value}.`,
      "Give finite numbers within the range of float32.",
    );
  });
}

function distinct(neurons: ArrayLike<number>, width: number, point: HookPoint): Uint32Array {
  const seen = new Uint8Array(width);
  return Uint32Array.from(neurons, (neuron) => {
    if (!Number.isInteger(neuron) || neuron < 0 || neuron >= width) {
      throw new ShapeError(
        `Neuron ${neuron} of ${point} does not exist.`,
        `Neurons run from 0 to ${width - 1}.`,
      );
    }
    if (seen[neuron]) {
      throw new ShapeError(`Neuron ${neuron} of ${point} is named twice.`, "Name each neuron once.");
    }
    seen[neuron] = 1;
    return neuron;
  });
}

function rising(tokens: ArrayLike<number>, count: number): Uint32Array {
  let last = -1;
  return Uint32Array.from(tokens, (token) => {
    if (!Number.isInteger(token) || token <= last || token >= count) {
      throw new ShapeError(
        `Token ${token} of an intervention does not exist in the batch or is out of order.`,
        `Give rising whole numbers from 0 to ${count - 1}.`,
      );
    }
    last = token;
    return token;
  });
}
