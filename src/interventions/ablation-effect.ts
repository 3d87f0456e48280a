/** The effect of an ablation on losses and chosen logits; the work of `measureAblation`. */
import type { ActivationChange, HookPoint } from "../backends/backend.ts";
import { hookWidth } from "../backends/hook-points.ts";
import { chosenTokens, resolveInterventions } from "../backends/interventions.ts";
import { Pacer } from "../backends/cpu/pacer.ts";
import type { PassOptions } from "../capture/visit-batches.ts";
import type { GroupId } from "../data/activations.ts";
import { emptyClassMoments, mergeClassMoments } from "../data/class-moments.ts";
import { LabelMatrix, type ClassValue } from "../data/labels.ts";
import { EmptyDataError, OptionError, ShapeError } from "../errors.ts";
import type { LanguageModel } from "../model/language-model.ts";
import { assertBootstrap, type MetricInterval } from "../statistics/bootstrap.ts";
import { mean, sampleDeviation } from "../statistics/compare-metrics.ts";
import { deepFreeze } from "../statistics/deep-freeze.ts";
import { assertCount, groupNumbers } from "../statistics/study.ts";
import { intervalsOf, meanOf, type Contrast, type TextSet, type TextSums } from "./grouped-means.ts";
import { drawMatched } from "./matched-neurons.ts";
import {
  layOutTexts,
  tokensAt,
  type LossTextsOptions,
  type TextBatch,
  type TextPositions,
} from "./text-passes.ts";

/**
 * - `"zero"`: activations become 0
 * - `"mean"`: each neuron becomes its mean over the positions that are changed
 * - `{ value }`: they become this value, or one value for each neuron
 * - `{ scale }`: they are multiplied
 */
export type AblationKind =
  "zero" | "mean" | { readonly value: number | readonly number[] } | { readonly scale: number };

export interface AblationControlOptions {
  /** Sets of random neurons; each takes one more pass over the texts. Default 20. */
  readonly draws?: number | undefined;
  /** Neurons of nearest scale that each control is drawn from. Default 50. */
  readonly candidates?: number | undefined;
}

export interface AblationOptions extends LossTextsOptions, PassOptions {
  /** Where the neurons are, e.g. `blocks.3.mlp.hook_post`. */
  readonly hookPoint: HookPoint;
  /** Ablated together, each once. */
  readonly neurons: ArrayLike<number>;
  /** Default `"zero"`. */
  readonly how?: AblationKind | undefined;
  /** Positions of a text that are changed, in rising order. Default: all. Which losses count say `skipFirst` and `positions`. */
  readonly at?: TextPositions | undefined;
  /** Class of each text. Default: no classes. */
  readonly classes?: ArrayLike<ClassValue> | undefined;
  /** Document of each text: whole documents are resampled. Default: each text is its own. */
  readonly groups?: ArrayLike<GroupId> | undefined;
  /** Bootstrap resamples. Default 1000. */
  readonly resamples?: number | undefined;
  /** Share of the distribution that an interval covers. Default 0.95. */
  readonly level?: number | undefined;
  /** Of resamples and controls. Default 0. */
  readonly seed?: number | undefined;
  /** Default: no controls. */
  readonly controls?: AblationControlOptions | undefined;
  /** Entries of the vocabulary whose logits are compared too, at the positions before the tokens that count. */
  readonly logitsOf?: ArrayLike<number> | undefined;
}

/** An effect beside those of random neurons. */
export interface ControlComparison {
  /** Mean effect of the draws. */
  readonly mean: number | null;
  /** Standard deviation of these effects (n − 1). */
  readonly deviation: number | null;
  /** (1 + #{draws with an effect at least as large})/(1 + draws). */
  readonly pValue: number | null;
}

/** What happens to the logit of one entry of the vocabulary. */
export interface LogitChange {
  readonly token: number;
  readonly before: number | null;
  readonly after: number | null;
  readonly effect: MetricInterval;
}

/** Texts of one class, or all of them. Losses are means over tokens, in nats. */
export interface AblationRow {
  /** Null: all texts. */
  readonly class: ClassValue | null;
  readonly texts: number;
  readonly tokens: number;
  readonly before: number | null;
  readonly after: number | null;
  /** After less before. */
  readonly effect: MetricInterval;
  /** The effect on this class less that on all others; null where there are no others. */
  readonly contrast: MetricInterval | null;
  readonly logits: readonly LogitChange[];
  /** Null without controls. */
  readonly controls: {
    readonly effect: ControlComparison;
    readonly contrast: ControlComparison | null;
  } | null;
}

/** One set of random neurons. */
export interface AblationDraw {
  readonly neurons: readonly number[];
  /** Root mean square of what ablating each takes away, as a multiple of that of the neuron it stands for. */
  readonly scaleRatios: readonly (number | null)[];
  /** Overall effect, and by class in the order of the rows. */
  readonly effect: number | null;
  readonly classes: readonly (number | null)[];
}

export interface AblationEffect {
  readonly hookPoint: HookPoint;
  readonly neurons: readonly number[];
  readonly how: AblationKind;
  /** Values that the neurons became; null for a scale. */
  readonly values: readonly number[] | null;
  readonly resamples: number;
  readonly level: number;
  readonly seed: number;
  /** What was drawn with replacement, and how many of them there are. */
  readonly unit: "text" | "group";
  readonly units: number;
  readonly overall: AblationRow;
  /** By class, in order of appearance. */
  readonly classes: readonly AblationRow[];
  /** Empty without controls. */
  readonly draws: readonly AblationDraw[];
}

export async function runMeasureAblation(
  model: LanguageModel,
  texts: readonly string[],
  options: AblationOptions,
): Promise<AblationEffect> {
  const { hookPoint, how = "zero", signal, controls, groups, classes } = options;
  const { resamples = 1000, level = 0.95, seed = 0 } = options;
  assertBootstrap({ resamples, level });
  const draws = controls ? (controls.draws ?? 20) : 0;
  const candidates = controls?.candidates ?? 50;
  if (controls) {
    assertCount("draws", draws);
    assertCount("candidates", candidates);
  }
  // What does not fit is refused before anything is computed.
  const width = hookWidth(model.spec, hookPoint);
  const trial = changeTo(how === "mean" ? "zero" : how, null);
  resolveInterventions(model.spec, 1, [{ hookPoint, neurons: options.neurons, ...trial }]);
  const neurons = Uint32Array.from(options.neurons);
  const chosen =
    chosenTokens(model.spec, { hookPoints: [], logitsOf: options.logitsOf }) ?? new Uint32Array();
  for (const [what, list] of Object.entries({ classes, groups })) {
    if (list && list.length !== texts.length) {
      throw new ShapeError(
        `There are ${list.length} ${what} for ${texts.length} texts.`,
        "Give one for each text.",
      );
    }
  }
  const batches = await layOutTexts(model, texts, options);
  const changed = batches.map((batch) => tokensAt(batch, options.at));
  const total = batches.reduce((sum, { tokens }) => sum + tokens.tokens.length, 0);
  const moments = how === "mean" || draws > 0;
  const passes = 2 + draws + (moments ? 1 : 0);
  let finished = 0;
  const progress = (tokens: number): void => {
    options.onProgress?.((finished += tokens), passes * total);
  };
  const known = moments ? await momentsAt(model, hookPoint, width, batches, changed, signal, progress) : null;

  /** Sums of losses and chosen logits, by text. */
  const pass = async (ablated: Ablation | null, logits = chosen): Promise<TextSums> => {
    const quantities = 1 + logits.length;
    const tokens = new Float64Array(texts.length);
    const values = new Float64Array(texts.length * quantities);
    for (const [b, batch] of batches.entries()) {
      signal?.throwIfAborted();
      const result = await model.transformer.forward(batch.tokens, {
        hookPoints: [],
        losses: true,
        logitsOf: logits,
        interventions: ablated ? [{ hookPoint, tokens: changed[b], ...ablated }] : [],
        signal,
      });
      for (const [i, token] of batch.counting.entries()) {
        const text = batch.texts[batch.sequences[i]];
        tokens[text]++;
        values[text * quantities] += result.losses![token];
        for (let l = 0; l < logits.length; l++) {
          values[text * quantities + 1 + l] += result.logitsOf![(token - 1) * logits.length + l];
        }
      }
      progress(batch.tokens.tokens.length);
    }
    return { tokens, values, quantities };
  };
  const ablation = (list: ArrayLike<number>): Ablation => {
    const means = known && Array.from(list, (neuron) => known.mean[neuron]);
    return { neurons: list, ...changeTo(how, means) };
  };

  const own = ablation(neurons);
  const before = await pass(null);
  const after = await pass(own);
  const difference = less(after, before);
  const groupOf = groupNumbers(groups ?? Uint32Array.from(texts.keys()));
  const units = groupOf.reduce((most, group) => Math.max(most, group + 1), 0);
  const names = [...new Set(Array.from(classes ?? []))];
  const everything: TextSet = { member: new Uint8Array(texts.length).fill(1) };
  const sets = names.map((name) => ({
    member: Uint8Array.from(classes!, (value) => (value === name ? 1 : 0)),
  }));
  const others = sets.map(({ member }) => ({ member: member.map((inside) => 1 - inside) }));

  const drawn: AblationDraw[] = [];
  const contrasts: (number | null)[][] = [];
  if (known && draws > 0) {
    const unchanged = { ...before, ...lossesAlone(before) };
    const scaleOf = (neuron: number, place: number): number => takenAway(known, how, neuron, place);
    for (let draw = 0; draw < draws; draw++) {
      const { neurons: list, scaleRatios } = drawMatched(width, scaleOf, neurons, candidates, seed, draw);
      const effect = less(await pass(ablation(list), new Uint32Array()), unchanged);
      const at = (set: TextSet): number | null => defined(meanOf(effect, set, 0, groupOf));
      const byClass = sets.map(at);
      drawn.push({ neurons: list, scaleRatios, effect: at(everything), classes: byClass });
      contrasts.push(byClass.map((value, c) => minus(value, at(others[c]))));
    }
  }

  const quantities = Array.from({ length: 1 + chosen.length }, (_, q) => q);
  const wanted: Contrast[] = [everything, ...sets].flatMap((set, i) => [
    ...quantities.map((quantity) => ({ set, quantity })),
    ...(i > 0 && sets.length > 1 ? [{ set, against: others[i - 1], quantity: 0 }] : []),
  ]);
  const pacer = new Pacer(signal);
  const intervals = await intervalsOf(difference, groupOf, units, wanted, { resamples, level, seed }, pacer);
  const intervalOf = (set: TextSet, quantity: number, against?: TextSet): MetricInterval =>
    intervals[wanted.findIndex((c) => c.set === set && c.quantity === quantity && c.against === against)];
  const row = (name: ClassValue | null, set: TextSet, c: number | null): AblationRow => {
    const { member } = set;
    const effect = intervalOf(set, 0);
    const contrast = c === null || sets.length < 2 ? null : intervalOf(set, 0, others[c]);
    const inside = Array.from(member.keys()).filter((t) => member[t] === 1);
    return {
      class: name,
      texts: inside.length,
      tokens: inside.reduce((sum, t) => sum + before.tokens[t], 0),
      before: defined(meanOf(before, set, 0, groupOf)),
      after: defined(meanOf(after, set, 0, groupOf)),
      effect,
      contrast,
      logits: Array.from(chosen, (token, l) => ({
        token,
        before: defined(meanOf(before, set, 1 + l, groupOf)),
        after: defined(meanOf(after, set, 1 + l, groupOf)),
        effect: intervalOf(set, 1 + l),
      })),
      controls:
        draws === 0
          ? null
          : {
              effect: compare(
                effect.estimate,
                drawn.map((one) => (c === null ? one.effect : one.classes[c])),
              ),
              contrast:
                contrast &&
                compare(
                  contrast.estimate,
                  contrasts.map((values) => values[c!]),
                ),
            },
    };
  };
  return deepFreeze({
    hookPoint,
    neurons: Array.from(neurons),
    how,
    values: valuesOf(own, neurons.length),
    resamples,
    level,
    seed,
    unit: groups ? "group" : "text",
    units,
    overall: row(null, everything, null),
    classes: names.map((name, c) => row(name, sets[c], c)),
    draws: drawn,
  });
}

const isValue = (how: AblationKind): how is { readonly value: number | readonly number[] } =>
  typeof how === "object" && "value" in how;

/**
 * The change that an ablation is.
 * @throws OptionError when it is none
 */
function changeTo(how: AblationKind, means: readonly number[] | null): ActivationChange {
  if (how === "zero") return { kind: "set", values: 0 };
  if (how === "mean") return { kind: "set", values: means! };
  if (isValue(how)) return { kind: "set", values: how.value };
  // JavaScript callers may write anything.
  if (typeof (how as { scale?: unknown } | null)?.scale === "number") {
    return { kind: "scale", factor: how.scale };
  }
  throw new OptionError(
    `The ablation ${JSON.stringify(how)} is not known.`,
    'Use "zero", "mean", { value } or { scale }.',
  );
}

/** Some neurons and what becomes of them. */
type Ablation = ActivationChange & { readonly neurons: ArrayLike<number> };

/** What the neurons became; null for a factor. */
function valuesOf(change: ActivationChange, count: number): number[] | null {
  if (change.kind !== "set") return null;
  const { values } = change;
  return typeof values === "number" ? new Array<number>(count).fill(values) : Array.from(values);
}

/** Mean and variance of every neuron over the positions that are changed. */
interface NeuronMoments {
  readonly mean: Float64Array;
  readonly variance: Float64Array;
}

async function momentsAt(
  model: LanguageModel,
  hookPoint: HookPoint,
  width: number,
  batches: readonly TextBatch[],
  changed: readonly (Uint32Array | undefined)[],
  signal: AbortSignal | undefined,
  progress: (tokens: number) => void,
): Promise<NeuronMoments> {
  const moments = emptyClassMoments(1, width, "within");
  for (const [b, { tokens }] of batches.entries()) {
    signal?.throwIfAborted();
    const rows = changed[b];
    if (rows?.length !== 0) {
      const segments = rows && { rows, offsets: Uint32Array.from({ length: rows.length + 1 }, (_, i) => i) };
      const { activations } = await model.transformer.forward(tokens, {
        hookPoints: [hookPoint],
        signal,
        ...(segments && { aggregate: { aggregation: "token", segments } }),
      });
      const x = activations.get(hookPoint)!;
      try {
        const labels = new LabelMatrix(["all"], x.rows, new Uint8Array(x.rows).fill(1));
        mergeClassMoments(
          moments,
          await model.backend.classMoments(x, labels, { signal, squares: "within" }),
        );
      } finally {
        x.dispose();
      }
    }
    progress(tokens.tokens.length);
  }
  const count = moments.count[1];
  if (count === 0) {
    throw new EmptyDataError("No position is changed.", "Let `at` return positions for some text.");
  }
  return {
    mean: moments.mean.slice(width),
    variance: moments.withinSquares!.map((squares) => squares / count),
  };
}

/** Root mean square of what ablation takes away from a neuron in the place of the i-th one. */
function takenAway(
  { mean: means, variance }: NeuronMoments,
  how: AblationKind,
  neuron: number,
  place: number,
): number {
  if (how === "mean") return Math.sqrt(variance[neuron]);
  const value = !isValue(how) ? 0 : typeof how.value === "number" ? how.value : how.value[place];
  const factor = typeof how === "object" && "scale" in how ? Math.abs(1 - how.scale) : 1;
  return factor * Math.sqrt(variance[neuron] + (means[neuron] - value) ** 2);
}

function less(a: TextSums, b: TextSums): TextSums {
  return { ...a, values: a.values.map((value, i) => value - b.values[i]) };
}

/** The losses among sums of several quantities. */
function lossesAlone({ values, quantities }: TextSums): Pick<TextSums, "values" | "quantities"> {
  const texts = values.length / quantities;
  return { values: Float64Array.from({ length: texts }, (_, t) => values[t * quantities]), quantities: 1 };
}

const defined = (value: number): number | null => (Number.isNaN(value) ? null : value);

const minus = (a: number | null, b: number | null): number | null =>
  a === null || b === null ? null : a - b;

function compare(estimate: number | null, controls: readonly (number | null)[]): ControlComparison {
  const values = controls.filter((value) => value !== null);
  const asLarge = estimate === null ? 0 : values.filter((value) => value >= estimate).length;
  return {
    mean: mean(values),
    deviation: sampleDeviation(values),
    pValue: estimate === null || values.length === 0 ? null : (1 + asLarge) / (1 + values.length),
  };
}
