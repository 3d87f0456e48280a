/** A whole study as an iterable of rows. */
import type { CallOptions, HookPoint } from "../backends/backend.ts";
import { createCpuBackend } from "../backends/cpu/cpu-backend.ts";
import { hookWidth } from "../backends/hook-points.ts";
import { TokenRows } from "../capture/token-rows.ts";
import { Activations } from "../data/activations.ts";
import type { FeatureDataset } from "../datasets/feature-dataset.ts";
import { LanguageModel } from "../model/language-model.ts";
import { messageOf } from "./choose-supports.ts";
import { digestOfActivations, digestOfDataset, digestOfStudy } from "./digest-study.ts";
import { JournalError, type JournalUnit, type SweepJournal } from "./journal.ts";
import { splitLabels, type SplitLabels } from "./label-sets.ts";
import { hookPointsOf, methodsIn, planStudy, sizesOf, splitHookPoint, type StudyPlan } from "./plan-study.ts";
import type { GroupOrigin, PointRows } from "./point-study.ts";
import { probePoints } from "./probe-points.ts";
import { modelSource, ownSource, type RowSource } from "./row-source.ts";
import { failedRows } from "./score-choices.ts";
import { stopsSweep } from "./stops-sweep.ts";
import type { SweepRow } from "./sweep-row.ts";
import type {
  SweepActivations,
  SweepDataset,
  SweepModel,
  SweepOptions,
  SweepProgress,
  SweepStudy,
} from "./sweep-study.ts";

/**
 * Probes every model × dataset × feature × hook point × method × k × seed of a study.
 *
 * Rows come in a fixed order: by model, dataset, hook point, rotation, seed, feature, method and k, validation before test; own
 * activations follow the models. They come when a hook point is finished. A row that cannot be had says why and stops nothing:
 * see `status`. Features are split each on its own, stratified and by document.
 *
 * @example
 * for await (const row of sweep({ models: [model], datasets: [dataset], ks: [1, 4] })) console.log(row);
 *
 * @throws OptionError at once, when the study or an option has a value outside of its range
 * @throws JournalError while iterating, when the journal is of another study or cannot be written
 * @throws DeviceLostError | DisposedError while iterating, and the signal's reason
 */
export function sweep(study: SweepStudy, options: SweepOptions = {}): AsyncIterable<SweepRow> {
  const plan = planStudy(study, options);
  return { [Symbol.asyncIterator]: () => new Sweep(plan, options).rows() };
}

/** What a model makes of a dataset, ready to be probed. */
interface Opened {
  readonly source: RowSource;
  readonly points: readonly HookPoint[];
  readonly labels: SplitLabels;
  readonly origin: GroupOrigin;
  readonly digest: string;
}

/** Model, revision and dataset of a group of units. */
interface Group {
  readonly model: string;
  readonly revision: string | null;
  readonly dataset: string;
}

class Sweep {
  readonly #plan: StudyPlan;
  readonly #options: SweepOptions;
  readonly #journal: SweepJournal | undefined;
  readonly #finished = new Map<string, JournalUnit>();
  /** What each dataset was last built as: models that follow one another mostly tokenise alike. */
  readonly #built = new Map<string, FeatureDataset>();
  #done = 0;
  #total = 0;
  #rows = 0;

  constructor(plan: StudyPlan, options: SweepOptions) {
    this.#plan = plan;
    this.#options = options;
    this.#journal = options.journal;
  }

  async *rows(): AsyncGenerator<SweepRow> {
    const { models = [], datasets = [], activations = [] } = this.#plan.study;
    const { signal } = this.#options;
    signal?.throwIfAborted();
    if (this.#journal) {
      const header = await digestOfStudy(this.#plan, { signal });
      for (const unit of await this.#journal.open(header)) this.#finished.set(unit.key, unit);
    }
    for (const given of models) {
      const lender = new ModelLender(given, { signal });
      try {
        for (const dataset of datasets) {
          const group = { model: lender.name, revision: lender.revision, dataset: dataset.name };
          yield* this.#group(group, () => this.#openModel(lender, dataset, group), lender, dataset);
        }
      } finally {
        lender.close();
      }
    }
    for (const own of activations) {
      const group = { model: modelOf(own), revision: null, dataset: own.name };
      const given: FailedKnown = { category: own.category ?? "own", features: own.labels.features };
      yield* this.#group(group, () => this.#openOwn(own, group), undefined, given);
    }
  }

  /** All units of a group, in order: from the journal where they are finished. */
  async *#group(
    group: Group,
    open: () => Promise<Opened>,
    lender: ModelLender | undefined,
    known: FeatureDataset | SweepDataset | FailedKnown,
  ): AsyncGenerator<SweepRow> {
    const recorded = this.#recorded(group);
    if (recorded && recorded.every((point) => this.#finished.has(unitKey(group, point)))) {
      this.#total += recorded.length;
      for (const point of recorded) yield* this.#replay(group, point);
      return;
    }
    const { signal } = this.#options;
    let opened: Opened;
    try {
      opened = await open();
    } catch (error) {
      if (stopsSweep(error, signal)) throw error;
      yield* this.#count(this.#failedGroup(group, error, lender, known));
      return;
    }
    this.#total += opened.points.length;
    this.#assertSameDataset(group, opened);
    const pending = opened.points.filter((point) => !this.#finished.has(unitKey(group, point)));
    const probed = this.#probe(group, opened, pending);
    try {
      for (const point of opened.points) {
        if (this.#finished.has(unitKey(group, point))) {
          yield* this.#replay(group, point);
          continue;
        }
        const { rows } = await nextOf(probed);
        await this.#journal?.append(
          {
            key: unitKey(group, point),
            group: groupKey(group),
            hookPoints: opened.points,
            dataset: opened.digest,
          },
          rows,
        );
        this.#done++;
        yield* this.#count(rows);
        signal?.throwIfAborted();
      }
    } finally {
      await probed.return(undefined);
    }
  }

  /** Probes hook points; what goes wrong with all of them at once fails the rows of each. */
  async *#probe(
    group: Group,
    opened: Opened,
    pending: readonly HookPoint[],
  ): AsyncGenerator<PointRows, void> {
    const { source, labels, origin } = opened;
    const { signal } = this.#options;
    let next = 0;
    const onProgress = (
      point: HookPoint | null,
      stage: SweepProgress["stage"],
      done: number,
      total: number,
    ) => {
      this.#report({ ...group, hookPoint: point }, stage, done, total);
    };
    try {
      const there = pending.filter((point) => source.widths.has(point));
      const probed = probePoints({ source, labels, origin, plan: this.#plan }, there, { signal, onProgress });
      for (const point of pending) {
        if (source.widths.has(point)) {
          yield await nextOf(probed);
        } else {
          yield { point, rows: this.#failedPoint(opened, point, `The model has no hook point ${point}.`) };
        }
        next++;
      }
    } catch (error) {
      if (stopsSweep(error, signal)) throw error;
      for (const point of pending.slice(next)) {
        yield { point, rows: this.#failedPoint(opened, point, messageOf(error)) };
      }
    }
  }

  async #openModel(
    lender: ModelLender,
    dataset: FeatureDataset | SweepDataset,
    group: Group,
  ): Promise<Opened> {
    const unit = { ...group, hookPoint: null };
    this.#report(unit, "load", 0, 1);
    const model = await lender.model();
    this.#report(unit, "build", 0, 1);
    const { signal, batchTokens } = this.#options;
    const built = await this.#build(dataset, model, { signal });
    const rows = TokenRows.ofDataset(model, built);
    const points = hookPointsOf(this.#plan.study, model.spec.layers);
    const widths = new Map<HookPoint, number>();
    for (const point of points) {
      const width = widthOf(model, point);
      if (width !== undefined) widths.set(point, width);
    }
    const { passage } = built.rows;
    return {
      source: modelSource(model, rows, widths, batchTokens),
      points,
      labels: splitLabels(
        built.labels,
        Array.from(passage, (p) => built.passages[p].group),
        built.report.missing,
        this.#plan,
      ),
      origin: { ...group, category: built.category, aggregation: built.aggregation },
      digest: this.#journal ? await digestOfDataset(built, { signal }) : "",
    };
  }

  /** Builds a dataset, or takes the one that was built for the same tokenizer. */
  async #build(
    dataset: FeatureDataset | SweepDataset,
    model: LanguageModel,
    options: CallOptions,
  ): Promise<FeatureDataset> {
    if (!("build" in dataset)) return dataset;
    const before = this.#built.get(dataset.name);
    if (before?.tokenizer === model.tokenizer.digest) return before;
    const built = await dataset.build(model.tokenizer, options);
    if (this.#plan.study.models!.length > 1) this.#built.set(dataset.name, built);
    return built;
  }

  async #openOwn(own: SweepActivations, group: Group): Promise<Opened> {
    const { signal, backend = createCpuBackend() } = this.#options;
    const [first] = own.activations.values();
    const held = [...own.activations.values()].find((given) => given instanceof Activations);
    const rows = own.labels.rows;
    const groups = own.groups ?? held?.groups ?? Array.from({ length: rows }, (_, i) => i);
    const { aggregation } = first.provenance ?? {};
    const wanted =
      this.#plan.study.hookPoints || this.#plan.study.layers
        ? hookPointsOf(this.#plan.study, undefined).filter((point) => own.activations.has(point))
        : [...own.activations.keys()];
    return {
      source: ownSource(own.activations, rows, backend),
      points: wanted,
      labels: splitLabels(own.labels, groups, [], this.#plan),
      origin: {
        ...group,
        category: own.category ?? "own",
        aggregation: isAggregation(aggregation) ? aggregation : "token",
      },
      digest: this.#journal ? await digestOfActivations(own, { signal }) : "",
    };
  }

  /** Hook points of a group as an earlier call found them. */
  #recorded(group: Group): readonly HookPoint[] | undefined {
    const key = groupKey(group);
    for (const unit of this.#finished.values()) if (unit.group === key) return unit.hookPoints as HookPoint[];
    return undefined;
  }

  #assertSameDataset(group: Group, { digest }: Opened): void {
    const key = groupKey(group);
    for (const unit of this.#finished.values()) {
      if (unit.group !== key || unit.dataset === digest) continue;
      throw new JournalError(
        "study",
        `The dataset "${group.dataset}" is not the one that the journal has rows of.`,
        "Start a journal of its own, or bring back the files that the dataset was built from.",
      );
    }
  }

  async *#replay(group: Group, point: HookPoint): AsyncGenerator<SweepRow> {
    this.#done++;
    for await (const row of this.#journal!.read(unitKey(group, point))) {
      this.#rows++;
      yield row;
    }
  }

  *#count(rows: Iterable<SweepRow>): Generator<SweepRow> {
    for (const row of rows) {
      this.#rows++;
      yield row;
    }
  }

  #report(unit: SweepProgress["unit"], stage: SweepProgress["stage"], done: number, total: number): void {
    const { model, revision, dataset, hookPoint } = unit;
    this.#options.onProgress?.({
      done: this.#done,
      total: this.#total,
      rows: this.#rows,
      unit: { model, revision, dataset, hookPoint },
      stage,
      part: { done, total },
    });
  }

  #failedPoint({ source, labels, origin }: Opened, point: HookPoint, reason: string): SweepRow[] {
    const { rotations } = this.#plan;
    return rotations.flatMap((rotation) =>
      labels.order.flatMap(({ feature, seed }) =>
        this.#failedMethods(
          { ...origin, hookPoint: point, layer: splitHookPoint(point)!.layer, rotation, feature, seed },
          source.widths.get(point),
          reason,
        ),
      ),
    );
  }

  /** Rows of a model that did not load or a dataset that did not build, as far as its axes are known. */
  *#failedGroup(
    group: Group,
    error: unknown,
    lender: ModelLender | undefined,
    known: FeatureDataset | SweepDataset | FailedKnown,
  ): Generator<SweepRow> {
    const { study, rotations, seeds, features: filter } = this.#plan;
    const points = hookPointsOf(study, lender?.layers);
    const built = "labels" in known ? known : undefined;
    const all = built?.labels.features ?? ("features" in known ? known.features : undefined);
    const features =
      all?.filter((feature) => filter?.has(feature) !== false) ?? (filter ? [...filter] : [null]);
    for (const hookPoint of points.length > 0 ? points : [null]) {
      for (const rotation of rotations) {
        for (const seed of seeds) {
          for (const feature of features) {
            yield* this.#failedMethods(
              {
                ...group,
                category: "category" in known ? known.category : null,
                aggregation: built?.aggregation ?? null,
                hookPoint,
                layer: hookPoint && splitHookPoint(hookPoint)!.layer,
                rotation,
                feature,
                seed,
              },
              undefined,
              messageOf(error),
            );
          }
        }
      }
    }
  }

  #failedMethods(
    base: Omit<Parameters<typeof failedRows>[0], "method" | "k">,
    d: number | undefined,
    reason: string,
  ): SweepRow[] {
    const { study } = this.#plan;
    return methodsIn(this.#plan, base.rotation).flatMap((method) =>
      sizesOf(method, study.ks, d).flatMap((k) => failedRows({ ...base, method: method.name, k }, reason)),
    );
  }
}

/** What is known of own activations that cannot be opened. */
interface FailedKnown {
  readonly category: string;
  readonly features: readonly string[];
}

/** Loads a model when it is first asked for, and disposes of what it has loaded. */
class ModelLender {
  readonly name: string;
  readonly revision: string | null;
  readonly #given: SweepModel | LanguageModel;
  readonly #options: CallOptions;
  #loaded: Promise<LanguageModel> | undefined;
  #ready: LanguageModel | undefined;

  constructor(given: SweepModel | LanguageModel, options: CallOptions) {
    this.#given = given;
    this.#options = options;
    this.name = given.name!;
    this.revision = given instanceof LanguageModel ? null : (given.revision ?? null);
    if (given instanceof LanguageModel) this.#ready = given;
  }

  /** Layers, when the model is there. */
  get layers(): number | undefined {
    return this.#ready?.spec.layers;
  }

  async model(): Promise<LanguageModel> {
    const given = this.#given;
    if (given instanceof LanguageModel) return given;
    this.#loaded ??= given.load(this.#options);
    return (this.#ready = await this.#loaded);
  }

  close(): void {
    if (this.#given instanceof LanguageModel) return;
    this.#ready?.dispose();
  }
}

/** The next of as many as are asked for. */
async function nextOf(probed: AsyncGenerator<PointRows, void>): Promise<PointRows> {
  const next = await probed.next();
  if (next.done === true) throw new Error("a hook point has no rows");
  return next.value;
}

function groupKey({ model, revision, dataset }: Group): string {
  return JSON.stringify([model, revision, dataset]);
}

function unitKey({ model, revision, dataset }: Group, point: HookPoint): string {
  return JSON.stringify([model, revision, dataset, point]);
}

function modelOf({ model, activations }: SweepActivations): string {
  const [first] = activations.values();
  return model ?? first.provenance?.model ?? "activations";
}

function widthOf(model: LanguageModel, point: HookPoint): number | undefined {
  try {
    return hookWidth(model.spec, point);
  } catch {
    return undefined;
  }
}

function isAggregation(value: string | undefined): value is "token" | "mean" | "max" | "last" {
  return value === "token" || value === "mean" || value === "max" || value === "last";
}
