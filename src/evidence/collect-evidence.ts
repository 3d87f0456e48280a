/** One pass over texts that gathers what neurons respond to; the work of `neuronEvidence`. */
import type { Aggregation, DeviceActivations, HookPoint } from "../backends/backend.ts";
import { Pacer } from "../backends/cpu/pacer.ts";
import type { GroupId } from "../data/activations.ts";
import { classesOf, positiveClass, type ClassValue } from "../data/labels.ts";
import { NonFiniteError, OptionError, ShapeError } from "../errors.ts";
import { TokenRows, type RowBatch, type TokenRowsOptions } from "../capture/token-rows.ts";
import type { CaptureInput, PassOptions } from "../capture/visit-batches.ts";
import type { LanguageModel } from "../model/language-model.ts";
import { deepFreeze } from "../statistics/deep-freeze.ts";
import { BestRows } from "./best-rows.ts";
import { ExpandingHistogram } from "./expanding-histogram.ts";
import { resolveNeurons, type NeuronPlace, type ResolvedNeuron } from "./neuron-places.ts";
import { TokenTable, type SharedToken, type WithinTokens } from "./token-table.ts";

export interface NeuronEvidenceOptions extends TokenRowsOptions, PassOptions {
  /**
   * Neurons to look at. `positive` is the class whose tokens are compared with all others'; default: `options.positive`, and
   * without it the later of two classes in sorted order (true, 1), or each of more than two.
   */
  readonly neurons: readonly (NeuronPlace & { readonly positive?: ClassValue })[];
  /** Class of each text; null for texts that take part in no class. Default: no classes. */
  readonly labels?: ArrayLike<ClassValue | null> | undefined;
  /** What `labels` has one entry for. `"row"` is for `TokenRows`, whose rows are known. Default `"text"`. */
  readonly labelsOf?: "text" | "row" | undefined;
  readonly positive?: ClassValue | undefined;
  /** Examples with the largest activations per neuron. Default 20. */
  readonly top?: number | undefined;
  /** Examples with the smallest. Default 0. */
  readonly bottom?: number | undefined;
  /** Examples of one document (of one text without `groups`) at most. Default 1. */
  readonly perGroup?: number | undefined;
  /** Tokens shown on each side of an example's token. Default 8. */
  readonly context?: number | undefined;
  /** Bins of the histograms at most; there are more than half as many. Default 64; 2 to 2048. */
  readonly bins?: number | undefined;
  /** Default 0.05, 0.25, 0.5, 0.75, 0.95. */
  readonly quantiles?: readonly number[] | undefined;
  /** Keep means by token and class. Default true. It takes (neurons + 1)·classes·8 bytes per token that occurs. */
  readonly disambiguate?: boolean | undefined;
  /** Rows in each class that a token needs to count as shared. Default 1. */
  readonly leastCount?: number | undefined;
  /** Shared tokens to list. Default 20. */
  readonly sharedTokens?: number | undefined;
}

/** Where a neuron had one of its largest or smallest activations. */
export interface ActivationExample {
  /** Index of the text. */
  readonly text: number;
  /**
   * Token within the text. Where rows are whole texts: the token with the largest activation (for the bottom the smallest), for
   * `"last"` the last.
   */
  readonly position: number;
  /** Of the row: the token's, or the text's. */
  readonly activation: number;
  readonly label: ClassValue | null;
  readonly group: GroupId;
  /** The token, decoded; part of a character is U+FFFD. */
  readonly token: string;
  /** The tokens around it, itself included, from position `first` of the text on. */
  readonly first: number;
  readonly tokens: readonly string[];
  /** Of each of these tokens. */
  readonly activations: readonly number[];
  /** These tokens decoded together: characters of several tokens are whole. */
  readonly passage: string;
}

/** A neuron's activations on the rows of one class. */
export interface ClassActivations {
  /** null: rows without a class. */
  readonly label: ClassValue | null;
  readonly rows: number;
  readonly mean: number;
  /** Standard deviation with rows − 1; null for a single row. */
  readonly deviation: number | null;
  readonly least: number;
  readonly largest: number;
  /** Read off a histogram: off by less than 1/1000 of the range over all classes. */
  readonly quantiles: readonly { readonly q: number; readonly value: number }[];
  /** Rows in each bin of the neuron's histogram. */
  readonly counts: readonly number[];
}

/** Whether a neuron responds to a class, or to tokens that are frequent in it. */
export interface TokenDisambiguation extends WithinTokens {
  /** The class that is compared with all others. */
  readonly positive: ClassValue;
  /** Shared tokens with the most rows in the class where they are rarer. */
  readonly tokens: readonly SharedToken[];
}

export interface NeuronEvidence extends ResolvedNeuron {
  readonly top: readonly ActivationExample[];
  readonly bottom: readonly ActivationExample[];
  /** Bins [start + i·width, start + (i + 1)·width), the same for all classes; `width` 0 where all values are equal. */
  readonly bins: { readonly start: number; readonly width: number; readonly count: number };
  /** In sorted order, rows without a class last; classes without rows are left out. */
  readonly classes: readonly ClassActivations[];
  /** Empty without labels, of one class alone, where rows are not tokens, and if turned off. */
  readonly disambiguation: readonly TokenDisambiguation[];
}

/** Plain data. */
export interface NeuronEvidenceResult {
  readonly model: string | null;
  readonly aggregation: Aggregation;
  /** Texts that were read. */
  readonly texts: number;
  /** Texts without a token that counts: they are left out. */
  readonly emptyTexts: readonly number[];
  readonly rows: number;
  readonly tokens: number;
  /** In the order asked for. */
  readonly neurons: readonly NeuronEvidence[];
}

const QUANTILES = [0.05, 0.25, 0.5, 0.75, 0.95];

export async function collectEvidence(
  model: LanguageModel,
  texts: CaptureInput,
  options: NeuronEvidenceOptions,
): Promise<NeuronEvidenceResult> {
  const settings = readSettings(options);
  const places = resolveNeurons(model.spec, options.neurons);
  const emptyTexts: number[] = [];
  const rows =
    texts instanceof TokenRows
      ? texts
      : await TokenRows.tokenise(model, texts, { ...options, onEmpty: (text) => emptyTexts.push(text) });
  const labels = readClasses(options, texts instanceof TokenRows ? undefined : texts.length, rows);
  const { classes } = labels;
  const positives = options.neurons.map(({ positive }) =>
    positiveClasses(classes, positive ?? options.positive),
  );
  const single = rows.aggregation === "token";
  const tables = single && classes.length > 1 && settings.disambiguate;

  const points = groupByPoint(places);
  const watched = places.map((place) => new Watched(place, classes.length + 1, settings));
  const tokenTables = new Map<HookPoint, TokenTable>();
  if (tables) {
    for (const [point, { members }] of points) {
      tokenTables.set(point, new TokenTable(members.length, classes.length));
    }
  }
  const { signal, batchTokens = 2048, onProgress } = options;
  const pacer = new Pacer(signal);
  let textsRead = 0;
  for (const batch of rows.batches(batchTokens)) {
    signal?.throwIfAborted();
    const sequences = sequencesOf(batch);
    const slots = labels.slots(batch, sequences);
    const { activations } = await model.transformer.forward(batch.tokens, {
      hookPoints: [...points.keys()],
      signal,
    });
    try {
      for (const [point, x] of activations) {
        const { columns, members } = points.get(point)!;
        const values = await hostColumns(model, x, columns, signal);
        for (const [m, member] of members.entries()) {
          watched[member].read(values, m, members.length, { rows, batch, slots, sequences, classes });
          if (pacer.due) await pacer.turn();
        }
        const table = tokenTables.get(point);
        if (!table) continue;
        const { rows: counting } = batch.segments;
        for (const [r, at] of counting.entries()) {
          if (slots[r] === classes.length) continue;
          table.add(batch.tokens.tokens[at], slots[r], values, at * members.length);
          if (r % 64 === 0 && pacer.due) await pacer.turn();
        }
      }
    } finally {
      for (const x of activations.values()) x.dispose();
    }
    textsRead += batch.texts.length;
    onProgress?.(batch.tokensDone, rows.tokens);
  }

  const neurons: NeuronEvidence[] = [];
  const text = (id: number): string => model.tokenizer.tokenText(id);
  for (const [i, neuron] of watched.entries()) {
    const { hookPoint } = places[i];
    const table = tokenTables.get(hookPoint);
    const member = points.get(hookPoint)!.members.indexOf(i);
    const disambiguation: TokenDisambiguation[] = [];
    for (const positive of table ? positives[i] : []) {
      const { summary, tokens } = table!.compare(
        member,
        classes.indexOf(positive),
        settings.leastCount,
        settings.sharedTokens,
        text,
      );
      disambiguation.push({ positive, ...summary, tokens });
    }
    // One by one: freezing all at the end would take long.
    neurons.push(deepFreeze({ ...neuron.finish(model, classes), disambiguation }));
    if (pacer.due) await pacer.turn();
  }
  return deepFreeze({
    model: model.name ?? null,
    aggregation: rows.aggregation,
    texts: textsRead,
    emptyTexts,
    rows: rows.rows,
    tokens: rows.tokens,
    neurons,
  });
}

type Settings = Required<
  Pick<
    NeuronEvidenceOptions,
    | "top"
    | "bottom"
    | "perGroup"
    | "context"
    | "bins"
    | "quantiles"
    | "leastCount"
    | "sharedTokens"
    | "disambiguate"
  >
>;

type CheckedSettings = { readonly [K in keyof Settings]: NonNullable<Settings[K]> };

function readSettings(options: NeuronEvidenceOptions): CheckedSettings {
  const whole = (
    name: keyof NeuronEvidenceOptions,
    fallback: number,
    least: number,
    most = 2 ** 31,
  ): number => {
    const value = (options[name] as number | undefined) ?? fallback;
    if (Number.isInteger(value) && value >= least && value <= most) return value;
    throw new OptionError(
      `${name} is ${value}.`,
      most === 2 ** 31
        ? `Give a whole number from ${least}.`
        : `Give a whole number from ${least} to ${most}.`,
    );
  };
  const { quantiles = QUANTILES, disambiguate = true, labelsOf = "text" } = options;
  if (quantiles.some((q) => !(q >= 0 && q <= 1))) {
    throw new OptionError(`The quantiles are ${quantiles.join(", ")}.`, "Give shares from 0 to 1.");
  }
  if (!["text", "row"].includes(labelsOf)) {
    throw new OptionError(`labelsOf is ${JSON.stringify(labelsOf)}.`, 'Use "text" or "row".');
  }
  return {
    top: whole("top", 20, 0),
    bottom: whole("bottom", 0, 0),
    perGroup: whole("perGroup", 1, 1),
    context: whole("context", 8, 0),
    bins: whole("bins", 64, 2, 2048),
    quantiles,
    leastCount: whole("leastCount", 1, 1),
    sharedTokens: whole("sharedTokens", 20, 0),
    disambiguate,
  };
}

/** The classes in sorted order, and for every row of a batch its class, or their number for rows without one. */
interface Classes {
  readonly classes: readonly ClassValue[];
  slots(batch: RowBatch, sequences: Uint32Array): Uint32Array;
}

function readClasses(
  { labels, labelsOf = "text" }: NeuronEvidenceOptions,
  texts: number | undefined,
  rows: TokenRows,
): Classes {
  const classes: ClassValue[] = [];
  if (labels !== undefined) {
    const given = Array.from(labels).filter((label): label is ClassValue => label !== null);
    if (given.length > 0) classes.push(...classesOf(given).sort((a, b) => (a < b ? -1 : 1)));
    if (labelsOf === "row" && labels.length !== rows.rows) {
      throw new ShapeError(
        `There are ${labels.length} labels for ${rows.rows} rows.`,
        "Give one label per row.",
      );
    }
    const last = texts ?? 1 + rows.textOfRow().reduce((most, text) => Math.max(most, text), 0);
    if (labelsOf === "text" && (texts === undefined ? labels.length < last : labels.length !== last)) {
      throw new ShapeError(
        `There are ${labels.length} labels for ${last} texts.`,
        'Give one label per text; null for texts without a class. For labels of rows say labelsOf: "row".',
      );
    }
  }
  const slotOf = new Map<ClassValue | null, number>(classes.map((value, slot) => [value, slot]));
  const slot = (index: number): number => slotOf.get(labels?.[index] ?? null) ?? classes.length;
  return {
    classes,
    slots: (batch, sequences) =>
      sequences.map((s, r) => slot(labelsOf === "row" ? batch.firstRow + r : batch.texts[s])),
  };
}

/** For each row of a batch the sequence that it comes from. */
function sequencesOf({ rows, tokens, segments }: RowBatch): Uint32Array {
  let s = 0;
  return Uint32Array.from({ length: rows }, (_, r) => {
    while (segments.rows[segments.offsets[r]] >= tokens.offsets[s + 1]) s++;
    return s;
  });
}

/** @throws OptionError when there is no such class */
function positiveClasses(
  classes: readonly ClassValue[],
  positive: ClassValue | undefined,
): readonly ClassValue[] {
  if (positive !== undefined) {
    if (classes.includes(positive)) return [positive];
    throw new OptionError(
      `No text has the class ${JSON.stringify(positive)}.`,
      classes.length > 0 ? `The classes are ${classes.slice(0, 20).map(String).join(", ")}.` : "Pass labels.",
    );
  }
  if (classes.length < 2) return [];
  return classes.length === 2 ? [positiveClass(classes)] : classes;
}

/** For each hook point its columns, and which of the neurons asked for they are. */
function groupByPoint(
  places: readonly ResolvedNeuron[],
): Map<HookPoint, { readonly columns: Uint32Array; readonly members: readonly number[] }> {
  const members = new Map<HookPoint, number[]>();
  for (const [i, { hookPoint }] of places.entries()) {
    const list = members.get(hookPoint);
    if (list) list.push(i);
    else members.set(hookPoint, [i]);
  }
  return new Map(
    Array.from(members, ([point, list]) => [
      point,
      { columns: Uint32Array.from(list, (i) => places[i].neuron), members: list },
    ]),
  );
}

/** float32 [tokens × columns] */
async function hostColumns(
  model: LanguageModel,
  x: DeviceActivations,
  columns: Uint32Array,
  signal: AbortSignal | undefined,
): Promise<Float32Array> {
  return (await model.backend.gatherColumns(x, columns, { signal })).toFloat32();
}

/** What is needed of an example until the end: token ids are decoded for those alone that stay. */
interface Candidate {
  readonly text: number;
  readonly position: number;
  readonly activation: number;
  readonly label: ClassValue | null;
  readonly group: GroupId;
  readonly first: number;
  readonly ids: Uint32Array;
  readonly activations: readonly number[];
}

interface BatchContext {
  readonly rows: TokenRows;
  readonly batch: RowBatch;
  /** Class of each row. */
  readonly slots: Uint32Array;
  /** Sequence of each row. */
  readonly sequences: Uint32Array;
  readonly classes: readonly ClassValue[];
}

/** Count, mean, sum of squared deviations and extremes, value by value (Welford 1962). */
class Moments {
  count = 0;
  mean = 0;
  squares = 0;
  least = Infinity;
  largest = -Infinity;

  add(value: number): void {
    this.count++;
    const step = value - this.mean;
    this.mean += step / this.count;
    this.squares += step * (value - this.mean);
    if (value < this.least) this.least = value;
    if (value > this.largest) this.largest = value;
  }
}

/** What is kept of one neuron. */
class Watched {
  readonly #place: ResolvedNeuron;
  readonly #settings: CheckedSettings;
  readonly #top: BestRows<Candidate>;
  readonly #bottom: BestRows<Candidate>;
  readonly #histogram: ExpandingHistogram;
  readonly #moments: readonly Moments[];

  constructor(place: ResolvedNeuron, slots: number, settings: CheckedSettings) {
    this.#place = place;
    this.#settings = settings;
    this.#top = new BestRows("largest", settings.top, settings.perGroup);
    this.#bottom = new BestRows("smallest", settings.bottom, settings.perGroup);
    this.#histogram = new ExpandingHistogram(slots);
    this.#moments = Array.from({ length: slots }, () => new Moments());
  }

  /** @param values [tokens × stride], the neuron's in column `column` */
  read(values: Float32Array, column: number, stride: number, context: BatchContext): void {
    const { rows, batch, slots } = context;
    const { segments } = batch;
    const { aggregation } = rows;
    const at = (token: number): number => values[token * stride + column];
    const ofRows = new Float64Array(batch.rows);
    let low = Infinity;
    let high = -Infinity;
    for (let r = 0; r < batch.rows; r++) {
      const value = rowValue(aggregation, segments.rows, segments.offsets[r], segments.offsets[r + 1], at);
      if (value - value !== 0) {
        throw new NonFiniteError(
          `Neuron ${this.#place.neuron} of ${this.#place.hookPoint} is ${value} in row ${batch.firstRow + r}.`,
          "The model's weights or its arithmetic are at fault: leave this neuron out, or use another backend.",
        );
      }
      // Without the sign of zero, which JSON does not keep.
      ofRows[r] = value + 0;
      if (value < low) low = value;
      if (value > high) high = value;
    }
    this.#histogram.widen(low, high);
    for (let r = 0; r < batch.rows; r++) {
      const value = ofRows[r];
      this.#histogram.add(slots[r], value);
      this.#moments[slots[r]].add(value);
      if (this.#top.takes(value)) this.#offer(this.#top, context, r, value, at, 1);
      if (this.#bottom.takes(value)) this.#offer(this.#bottom, context, r, value, at, -1);
    }
  }

  #offer(
    list: BestRows<Candidate>,
    context: BatchContext,
    row: number,
    value: number,
    at: (token: number) => number,
    sign: 1 | -1,
  ): void {
    const { rows, batch, sequences } = context;
    const group = rows.groupOf(batch.texts[sequences[row]]);
    list.offer(value, group, () => this.#candidate(context, row, value, group, at, sign));
  }

  #candidate(
    { rows, batch, slots, classes, sequences }: BatchContext,
    row: number,
    activation: number,
    group: GroupId,
    at: (token: number) => number,
    sign: 1 | -1,
  ): Candidate {
    const { tokens, offsets } = batch.tokens;
    const { segments } = batch;
    const sequence = sequences[row];
    const [from, to] = [segments.offsets[row], segments.offsets[row + 1]];
    let token = segments.rows[rows.aggregation === "last" ? to - 1 : from];
    if (rows.aggregation === "mean" || rows.aggregation === "max") {
      for (const other of segments.rows.subarray(from, to)) {
        if (sign * at(other) > sign * at(token)) token = other;
      }
    }
    const start = Math.max(offsets[sequence], token - this.#settings.context);
    const end = Math.min(offsets[sequence + 1], token + this.#settings.context + 1);
    return {
      text: batch.texts[sequence],
      position: token - offsets[sequence],
      activation,
      label: slots[row] < classes.length ? classes[slots[row]] : null,
      group,
      first: start - offsets[sequence],
      ids: tokens.slice(start, end),
      activations: Array.from({ length: end - start }, (_, i) => at(start + i) + 0),
    };
  }

  finish(model: LanguageModel, classes: readonly ClassValue[]): Omit<NeuronEvidence, "disambiguation"> {
    const { bins, quantiles } = this.#settings;
    const { start, width, counts } = this.#histogram.bins(bins);
    const summaries = this.#moments.flatMap((moments, slot): ClassActivations[] => {
      const { count, mean, squares, least, largest } = moments;
      if (count === 0) return [];
      return [
        {
          label: slot < classes.length ? classes[slot] : null,
          rows: count,
          mean,
          deviation: count > 1 ? Math.sqrt(squares / (count - 1)) : null,
          least,
          largest,
          quantiles: quantiles.map((q) => ({
            q,
            value: Math.min(largest, Math.max(least, this.#histogram.quantile(slot, q))),
          })),
          counts: counts[slot],
        },
      ];
    });
    const example = ({ ids, ...candidate }: Candidate): ActivationExample => ({
      ...candidate,
      token: model.tokenizer.tokenText(ids[candidate.position - candidate.first]),
      tokens: Array.from(ids, (id) => model.tokenizer.tokenText(id)),
      passage: model.tokenizer.decode(ids),
    });
    return {
      ...this.#place,
      top: this.#top.rows().map(example),
      bottom: this.#bottom.rows().map(example),
      bins: { start, width, count: counts[0].length },
      classes: summaries,
    };
  }
}

/** A row's value of one neuron: as the backends aggregate, in float64 and rounded to float32. */
function rowValue(
  aggregation: Aggregation,
  rows: Uint32Array,
  from: number,
  to: number,
  at: (token: number) => number,
): number {
  if (aggregation === "token" || aggregation === "last") return at(rows[to - 1]);
  let value = at(rows[from]);
  for (let i = from + 1; i < to; i++) {
    const next = at(rows[i]);
    if (aggregation === "mean") value += next;
    // NaN stays, as it does in Math.max.
    else value = Math.max(value, next);
  }
  return aggregation === "mean" ? Math.fround(value / (to - from)) : value;
}
