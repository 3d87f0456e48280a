/** Rankings that read values, of a model's neurons over training texts. Loaded when one is asked for. */
import type { DeviceActivations, HookPoint } from "../backends/backend.ts";
import type { Activations } from "../data/activations.ts";
import type { ClassMoments } from "../data/class-moments.ts";
import type { LabelMatrix } from "../data/labels.ts";
import { OptionError } from "../errors.ts";
import type { LanguageModel } from "../model/language-model.ts";
import { openActivations, type FitColumns } from "../probes/activation-source.ts";
import type { ColumnSource } from "../probes/column-access.ts";
import type { NeuronScores } from "../probes/fit-supports.ts";
import type { ProbeOptions } from "../probes/probe-options.ts";
import { rankColumns } from "../probes/rank-source.ts";
import { countBlock, HistogramInformation } from "../ranking/histogram-information.ts";
import { eligibleNeurons, resolveRanking, type ResolvedRanking } from "../ranking/ranking.ts";
import type { BatchObserver } from "./capture-class-moments.ts";
import { captureColumns } from "./capture-columns.ts";
import type { TokenRows } from "./token-rows.ts";
import type { PassOptions } from "./visit-batches.ts";

/** Activations at hand, with the training rows labelled; or the rows of training texts, to be read by the model. */
export type RankedTexts =
  | {
      readonly activations: ReadonlyMap<HookPoint, Activations>;
      readonly rows?: undefined;
      readonly labels: LabelMatrix;
    }
  | { readonly activations?: undefined; readonly rows: TokenRows; readonly labels: LabelMatrix };

export interface TextRankingOptions extends PassOptions {
  /** Bytes of float32 columns that may be kept at once. */
  readonly keepBytes: number;
  readonly probe: Omit<ProbeOptions, "signal" | "onProgress">;
}

export class TextRanking {
  /** Times that the model has read the training texts for the ranking alone. */
  passes = 0;
  readonly #model: LanguageModel;
  readonly #texts: RankedTexts;
  readonly #options: TextRankingOptions;
  readonly #ranking: ResolvedRanking;
  /** By hook point, one for each feature: filled during the pass for the moments. */
  readonly #histograms: Map<HookPoint, HistogramInformation[]> | undefined;

  constructor(model: LanguageModel, texts: RankedTexts, options: TextRankingOptions) {
    this.#model = model;
    this.#texts = texts;
    this.#options = options;
    this.#ranking = resolveRanking(options.probe.ranking);
    if (texts.rows && this.#ranking.name === "mutual-information-histogram" && !this.#ranking.score) {
      this.#histograms = new Map();
    }
  }

  /** To be shown the batches of the pass for the moments, where the ranking can be had from it. */
  get observer(): BatchObserver | undefined {
    const histograms = this.#histograms;
    if (!histograms) return undefined;
    const { labels } = this.#texts;
    return async (point, block, firstRow) => {
      let byFeature = histograms.get(point);
      if (!byFeature) {
        byFeature = labels.features.map(() => new HistogramInformation(block.neurons));
        histograms.set(point, byFeature);
      }
      await countBlock(byFeature, block, labels, firstRow, this.#options.signal);
    };
  }

  /**
   * Scores of every feature's neurons, by hook point.
   * @throws OptionError when the columns to rank by are more than `keepBytes`
   */
  async rank(moments: ReadonlyMap<HookPoint, ClassMoments>): Promise<Map<HookPoint, NeuronScores[]>> {
    const { labels } = this.#texts;
    const { probe, signal, onProgress } = this.#options;
    const ranked = new Map<HookPoint, NeuronScores[]>();
    const captured = await this.#captureAll(moments);
    let done = 0;
    for (const [point, pointMoments] of moments) {
      const seen = this.#histograms?.get(point)?.map((histogram) => histogram.scores());
      const { source, close } = await this.#open(point, pointMoments.neurons, captured);
      try {
        const options = { ...probe, signal };
        const scores = await rankColumns(this.#model.backend, source, labels, pointMoments, options, seen);
        ranked.set(point, scores);
      } finally {
        close();
      }
      onProgress?.(++done, moments.size);
    }
    return ranked;
  }

  /** The columns of one hook point: kept, captured for all at once, or to be captured when a function asks for them. */
  async #open(
    point: HookPoint,
    neurons: number,
    captured: Map<HookPoint, Captured>,
  ): Promise<{ source: ColumnSource; close: () => void }> {
    const { backend } = this.#model;
    const { signal } = this.#options;
    const rows = this.#texts.labels.rows;
    const { activations } = this.#texts;
    if (activations) {
      const source = await openActivations(activations.get(point)!, backend, { signal });
      return { source, close: source.close.bind(source) };
    }
    const placed: DeviceActivations[] = [];
    const place = async ({ columns, at }: Captured): Promise<FitColumns> => {
      const x = await backend.upload(columns, { signal });
      placed.push(x);
      return { x, neurons: at };
    };
    const close = (): void => {
      for (const x of placed) x.dispose();
    };
    const all = captured.get(point);
    captured.delete(point);
    if (all) {
      const held = await place(all);
      return { source: { rows, neurons, streamed: false, columns: () => Promise.resolve(held) }, close };
    }
    const columns = async (asked: Uint32Array): Promise<FitColumns> =>
      place((await this.#capture(new Map([[point, asked]]))).get(point)!);
    return { source: { rows, neurons, streamed: true, columns }, close };
  }

  /** For a ranking by name: in one pass what it reads at every hook point. A function says later what it reads. */
  async #captureAll(moments: ReadonlyMap<HookPoint, ClassMoments>): Promise<Map<HookPoint, Captured>> {
    if (this.#texts.activations || this.#histograms || this.#ranking.score) return new Map();
    const wanted = new Map<HookPoint, Uint32Array>();
    for (const [point, pointMoments] of moments) {
      const all = new Set<number>();
      for (let f = 0; f < pointMoments.features; f++) {
        const eligible = eligibleNeurons(pointMoments, f, this.#options.probe.prefilter);
        for (let e = 0; e < (eligible?.length ?? pointMoments.neurons); e++) all.add(eligible?.[e] ?? e);
      }
      wanted.set(point, Uint32Array.from(all).sort());
    }
    return this.#capture(wanted);
  }

  async #capture(wanted: ReadonlyMap<HookPoint, Uint32Array>): Promise<Map<HookPoint, Captured>> {
    const { rows } = this.#texts;
    const { keepBytes, batchTokens, signal } = this.#options;
    const bytes = [...wanted.values()].reduce((sum, { length }) => sum + 4 * length * rows!.rows, 0);
    if (bytes > keepBytes) {
      throw new OptionError(
        `The ranking "${this.#ranking.name}" reads ${bytes} bytes of activations, and keepBytes is ${keepBytes}.`,
        "Set a prefilter, so that it reads fewer neurons, raise keepBytes, or rank by class moments.",
      );
    }
    this.passes++;
    const captured = await captureColumns(this.#model, rows!, wanted, { batchTokens, signal });
    return new Map(Array.from(captured, ([point, columns]) => [point, { columns, at: wanted.get(point)! }]));
  }
}

/** Some columns of a hook point, and their neurons. */
interface Captured {
  readonly columns: Activations;
  readonly at: Uint32Array;
}
