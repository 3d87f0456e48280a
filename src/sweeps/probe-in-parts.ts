/**
 * Probes of hook points whose activations do not fit into memory: one pass for the class moments, and as many passes for the
 * columns of the supports as these need.
 */
import type { HookPoint } from "../backends/backend.ts";
import type { ClassMoments } from "../data/class-moments.ts";
import {
  chooseSupports,
  heldSource,
  neuronsRead,
  rankByValues,
  requestsOf,
  type HookPointData,
  type SupportRequest,
  type ValueScores,
} from "./choose-supports.ts";
import { PointTable } from "./point-table.ts";
import type { PointRows, PointStudy, ProbePointsOptions } from "./point-study.ts";
import { momentBytes, readColumns, readMoments, rotatedSource, type RowSource } from "./row-source.ts";
import { scoreChoices } from "./score-choices.ts";

/** A request and the columns that it needs. */
interface Need {
  readonly point: HookPoint;
  readonly request: SupportRequest;
  readonly neurons: Uint32Array;
  readonly ranked: ValueScores | undefined;
}

/** What one pass brings: the needs of some hook points, and the columns that serve them. */
interface Pass {
  readonly needs: Map<HookPoint, Need[]>;
  readonly columns: Map<HookPoint, Set<number>>;
}

export async function* probeInParts(
  study: PointStudy,
  points: readonly HookPoint[],
  options: ProbePointsOptions,
): AsyncGenerator<PointRows, void> {
  const { source, plan } = study;
  const tables = new Map(
    points.map((point) => [point, new PointTable(study, point, source.widths.get(point)!)] as const),
  );
  if (study.labels.sets.length > 0) {
    for (const rotation of plan.rotations) {
      const rows = rotation === null ? source : await rotatedSource(source, points, rotation, options);
      await probeBasis(study, rows, tables, rotation, options);
    }
  }
  for (const [point, table] of tables) yield { point, rows: table.rows() };
}

/** All hook points in one basis. */
async function probeBasis(
  study: PointStudy,
  source: RowSource,
  tables: ReadonlyMap<HookPoint, PointTable>,
  rotation: number | null,
  options: ProbePointsOptions,
): Promise<void> {
  const { labels, plan } = study;
  const { sets, training } = labels;
  const { signal } = options;
  const points = [...tables.keys()];
  const progress = (done: number, total: number): void => options.onProgress?.(null, "capture", done, total);
  const read = await readMoments(source, points, training, plan.squares, false, {
    signal,
    onProgress: progress,
  });
  const moments = points.reduce(
    (sum, point) => sum + momentBytes(source, point, sets.length, plan.squares),
    0,
  );
  // Half of what is left is for the copies of columns that methods and fits work on.
  const columnBytes = Math.max(0, plan.memoryBytes - moments) / 2;
  const dataOf = (point: HookPoint): HookPointData => ({
    backend: source.backend,
    rows: source.rows,
    neurons: source.widths.get(point)!,
    moments: read.get(point)!.moments satisfies ClassMoments,
    sets,
    training,
  });
  const needs: Need[] = [];
  for (const [point, table] of tables) {
    options.onProgress?.(point, "rank", 0, sets.length);
    needs.push(...(await needsAt(study, source, dataOf(point), table, rotation, columnBytes, options)));
  }
  for (const pass of passesOf(needs, source.rows, columnBytes)) {
    const wanted = new Map(
      Array.from(pass.columns, ([point, neurons]) => [point, Uint32Array.from(neurons).sort()] as const),
    );
    const columns = await readColumns(source, wanted, { signal, onProgress: progress });
    for (const [point, those] of pass.needs) {
      const host = columns.get(point)!;
      const x = await source.backend.upload(host, { signal });
      try {
        const data = dataOf(point);
        const held = { x, host, neurons: wanted.get(point)! };
        const requests = those.map(({ request }) => request);
        const ranked = new Map<SupportRequest, ValueScores>();
        for (const need of those) if (need.ranked) ranked.set(need.request, need.ranked);
        const unranked = requests.filter((request) => !ranked.has(request));
        for (const [request, scores] of await rankByValues(unranked, data, heldSource(data, held), plan, {
          signal,
        })) {
          ranked.set(request, scores);
        }
        const choices = await chooseSupports(requests, data, held, ranked, plan, { signal });
        const table = tables.get(point)!;
        const scored = await scoreChoices(
          choices,
          data,
          held,
          labels.groups,
          table.originOf(rotation),
          plan,
          {
            signal,
            onProgress: (stage, done, total) => options.onProgress?.(point, stage, done, total),
          },
        );
        table.add(rotation, choices, scored);
      } finally {
        x.dispose();
      }
      columns.delete(point);
    }
  }
}

/** What every request at a hook point needs; what cannot be had within the memory fails at once. */
async function needsAt(
  study: PointStudy,
  source: RowSource,
  data: HookPointData,
  table: PointTable,
  rotation: number | null,
  columnBytes: number,
  options: ProbePointsOptions,
): Promise<Need[]> {
  const { plan, labels } = study;
  const { signal } = options;
  const { point } = table;
  const most = Math.floor(columnBytes / (4 * source.rows));
  const fail = (request: SupportRequest, count: number): void => {
    const reason =
      `This reads ${count} of ${data.neurons} neurons at once, ${4 * source.rows * count} bytes, ` +
      `and memoryBytes leaves room for ${most}. Raise memoryBytes, or set a prefilter.`;
    table.fail(rotation, request, reason);
  };
  const needs: Need[] = [];
  const streamed: SupportRequest[] = [];
  for (const request of requestsOf(labels.sets.length, plan, rotation, data.neurons)) {
    const neurons = neuronsRead(request, data);
    if (neurons !== "all" && neurons.length <= most)
      needs.push({ point, request, neurons, ranked: undefined });
    else if (neurons === "all" && scoresOneByOne(request)) streamed.push(request);
    else if (isCut(request)) {
      const fitting = { ...request, ks: request.ks.filter((k) => k <= most || k > data.neurons) };
      const larger = { ...request, ks: request.ks.filter((k) => !fitting.ks.includes(k)) };
      const fewer = neuronsRead(fitting, data) as Uint32Array;
      needs.push({ point, request: fitting, neurons: fewer, ranked: undefined });
      fail(larger, Math.min(...larger.ks));
    } else fail(request, neurons === "all" ? data.neurons : neurons.length);
  }
  return needs.concat(await rankStreamed());

  /** Rankings that look at one neuron at a time, over as many passes as its columns take. */
  async function rankStreamed(): Promise<Need[]> {
    if (streamed.length === 0) return [];
    const ranked = await rankByValues(
      streamed,
      data,
      {
        rows: source.rows,
        neurons: data.neurons,
        streamed: true,
        passBytes: columnBytes,
        columns: async (neurons) => {
          const columns = await readColumns(source, new Map([[point, neurons]]), { signal });
          return { x: await source.backend.upload(columns.get(point)!, { signal }), neurons };
        },
      },
      plan,
      { signal },
    );
    return streamed.map((request) => ({
      point,
      request,
      neurons: neuronsRead(request, data, ranked.get(request)) as Uint32Array,
      ranked: ranked.get(request),
    }));
  }
}

/** Whether a ranking by values reads no more of them than it asks for. */
function scoresOneByOne({ method }: SupportRequest): boolean {
  if (method.kind !== "ranking" || !method.readsValues) return false;
  const { ranking } = method;
  if (typeof ranking === "function" || typeof ranking === "string" || "score" in ranking) return true;
  return ranking.name === "mutual-information" || ranking.name === "mutual-information-histogram";
}

/** Whether smaller supports of the request need less. */
function isCut({ method }: SupportRequest): boolean {
  return method.kind === "ranking" && !method.readsValues;
}

/** Needs in their order, as many together as have columns that fit. */
function passesOf(needs: readonly Need[], rows: number, bytes: number): Pass[] {
  const passes: Pass[] = [];
  let held = 0;
  for (const need of needs) {
    let pass = passes.at(-1);
    let more = newTo(need, pass);
    if (!pass || 4 * rows * (held + more) > bytes) {
      pass = { needs: new Map(), columns: new Map() };
      passes.push(pass);
      held = 0;
      more = need.neurons.length;
    }
    held += more;
    const columns = pass.columns.get(need.point) ?? new Set();
    // A hook point of which nothing is needed still has one column: there is no matrix without.
    for (const neuron of need.neurons.length > 0 ? need.neurons : [0]) columns.add(neuron);
    pass.columns.set(need.point, columns);
    pass.needs.set(need.point, [...(pass.needs.get(need.point) ?? []), need]);
  }
  return passes;
}

function newTo({ point, neurons }: Need, pass: Pass | undefined): number {
  const columns = pass?.columns.get(point);
  return columns
    ? neurons.reduce((count, neuron) => count + (columns.has(neuron) ? 0 : 1), 0)
    : neurons.length;
}
