/** Where the activations of a dataset's rows come from: a model that reads its passages, or the caller. */
import type { Backend, CallOptions, DeviceActivations, HookPoint } from "../backends/backend.ts";
import { Pacer } from "../backends/cpu/pacer.ts";
import { visitBatches } from "../capture/visit-batches.ts";
import type { TokenRows } from "../capture/token-rows.ts";
import { Activations } from "../data/activations.ts";
import {
  emptyClassMoments,
  mergeClassMoments,
  type ClassMoments,
  type MomentSquares,
} from "../data/class-moments.ts";
import type { LabelMatrix } from "../data/labels.ts";
import { ShapeError } from "../errors.ts";
import type { LanguageModel } from "../model/language-model.ts";
import { visitBlocks, type ActivationBlocks } from "../probes/activation-source.ts";
import { drawRotation, rotateRows, type Rotation } from "../probes/random-rotation.ts";

export interface VisitOptions extends CallOptions {
  readonly onProgress?: ((done: number, total: number) => void) | undefined;
}

/** Sees the rows from `firstRow` on, where the backend computes. */
export type RowVisitor = (point: HookPoint, x: DeviceActivations, firstRow: number) => Promise<void>;

/** Rows of activations at some hook points, which pass by in blocks as often as is asked. */
export interface RowSource {
  readonly backend: Backend;
  readonly rows: number;
  /** Neurons by hook point. */
  readonly widths: ReadonlyMap<HookPoint, number>;
  /** What is in memory anyway; undefined where rows have to be read. */
  held(point: HookPoint): Activations | undefined;
  /** One pass over the rows for all of the hook points. */
  visit(points: readonly HookPoint[], options: VisitOptions, use: RowVisitor): Promise<void>;
}

export function modelSource(
  model: LanguageModel,
  rows: TokenRows,
  widths: ReadonlyMap<HookPoint, number>,
  batchTokens: number | undefined,
): RowSource {
  return {
    backend: model.backend,
    rows: rows.rows,
    widths,
    held: () => undefined,
    visit: (points, options, use) =>
      visitBatches(model, rows, points, { ...options, batchTokens }, (point, x, batch) =>
        use(point, x, batch.firstRow),
      ),
  };
}

/** @throws ShapeError when the activations differ in rows */
export function ownSource(
  activations: ReadonlyMap<HookPoint, Activations | ActivationBlocks>,
  rows: number,
  backend: Backend,
): RowSource {
  for (const [point, given] of activations) {
    if (given.rows === rows) continue;
    throw new ShapeError(
      `There are ${rows} labels for ${given.rows} rows of ${point}.`,
      "Give one label per row; all hook points have the same rows.",
    );
  }
  const held = (point: HookPoint): Activations | undefined => {
    const given = activations.get(point);
    return given instanceof Activations ? given : undefined;
  };
  return {
    backend,
    rows,
    widths: new Map(Array.from(activations, ([point, { neurons }]) => [point, neurons])),
    held,
    async visit(points, { signal, onProgress }, use) {
      const total = points.length * rows;
      for (const [p, point] of points.entries()) {
        const given = activations.get(point)!;
        const hand = async (block: Activations, start: number): Promise<void> => {
          const x = await backend.upload(block, { signal });
          try {
            await use(point, x, start);
          } finally {
            x.dispose();
          }
          onProgress?.(p * rows + start + block.rows, total);
        };
        if (given instanceof Activations) await hand(given, 0);
        else await visitBlocks(given, { signal }, hand);
        signal?.throwIfAborted();
      }
    },
  };
}

/** The same rows in a random basis of each hook point. */
export async function rotatedSource(
  source: RowSource,
  points: readonly HookPoint[],
  seed: number,
  { signal }: CallOptions,
): Promise<RowSource> {
  const rotations = new Map<number, Rotation>();
  for (const point of points) {
    const width = source.widths.get(point)!;
    if (!rotations.has(width)) rotations.set(width, await drawRotation(seed, width, new Pacer(signal)));
  }
  const { backend } = source;
  return {
    backend,
    rows: source.rows,
    widths: source.widths,
    held: () => undefined,
    visit: (points, options, use) =>
      source.visit(points, options, async (point, x, firstRow) => {
        const rotated = await rotateRows(await x.read(options), rotations.get(x.neurons)!, { signal });
        const placed = await backend.upload(rotated, { signal });
        try {
          await use(point, placed, firstRow);
        } finally {
          placed.dispose();
        }
      }),
  };
}

/** Bytes of a hook point's values in float32. */
export function valueBytes(source: RowSource, point: HookPoint): number {
  return 4 * source.rows * source.widths.get(point)!;
}

/** Bytes of a hook point's moments of so many label sets, in float64. */
export function momentBytes(
  source: RowSource,
  point: HookPoint,
  sets: number,
  squares: MomentSquares,
): number {
  const arrays = squares === "class" ? 5 : squares === "within" ? 3 : 2;
  return 8 * arrays * sets * source.widths.get(point)!;
}

/** Class moments at the hook points, and all values too where they are to be kept; one pass for everything. */
export async function readMoments(
  source: RowSource,
  points: readonly HookPoint[],
  labels: LabelMatrix,
  squares: MomentSquares,
  keep: boolean,
  options: VisitOptions,
): Promise<Map<HookPoint, { moments: ClassMoments; values: Activations | undefined }>> {
  const { backend, rows, widths } = source;
  const { signal } = options;
  const read = new Map(
    points.map((point) => {
      const d = widths.get(point)!;
      const held = source.held(point);
      return [
        point,
        {
          moments: emptyClassMoments(labels.features.length, d, squares),
          held,
          data: keep && !held ? new Float32Array(rows * d) : undefined,
        },
      ] as const;
    }),
  );
  await source.visit(points, options, async (point, x, firstRow) => {
    const { moments, data } = read.get(point)!;
    const part = x.rows === rows ? labels : labels.slice(firstRow, firstRow + x.rows);
    if (labels.features.length > 0) {
      mergeClassMoments(moments, await backend.classMoments(x, part, { signal, squares }));
    }
    data?.set((await x.read({ signal })).toFloat32(), firstRow * x.neurons);
  });
  return new Map(
    Array.from(read, ([point, { moments, held, data }]) => [
      point,
      { moments, values: held ?? (data && new Activations(data, [rows, widths.get(point)!])) },
    ]),
  );
}

/** Some columns of the hook points, on the host; one pass for all. */
export async function readColumns(
  source: RowSource,
  wanted: ReadonlyMap<HookPoint, Uint32Array>,
  options: VisitOptions,
): Promise<Map<HookPoint, Activations>> {
  const { backend, rows } = source;
  const { signal } = options;
  const kept = new Map(Array.from(wanted, ([point, { length }]) => [point, new Float32Array(rows * length)]));
  await source.visit([...wanted.keys()], options, async (point, x, firstRow) => {
    const neurons = wanted.get(point)!;
    const part = await backend.gatherColumns(x, neurons, { signal });
    kept.get(point)!.set(part.toFloat32(), firstRow * neurons.length);
  });
  return new Map(
    Array.from(kept, ([point, data]) => [point, new Activations(data, [rows, wanted.get(point)!.length])]),
  );
}
