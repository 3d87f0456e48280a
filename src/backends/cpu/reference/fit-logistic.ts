/** Batches of logistic fits on the CPU: columns are gathered once and shared by the supports that contain them. */
import type { Activations } from "../../../data/activations.ts";
import { UNLABELLED, type LabelMatrix } from "../../../data/labels.ts";
import { OptionError, ShapeError, SupportSizeError } from "../../../errors.ts";
import type { LogisticFit, LogisticOptions, LogisticProblem } from "../../backend.ts";
import { gatherAsColumns } from "./gather-columns.ts";
import { classWeights, LogisticLoss } from "./logistic-loss.ts";
import { newtonSteps } from "./newton.ts";
import type { Pacer } from "../pacer.ts";

/** Bytes of gathered columns held at once. */
const GATHER_BYTES = 256 * 2 ** 20;

/**
 * Fits every problem, in order of the rows that they share.
 *
 * @returns fits in the order of the problems; one that did not converge says so and does not throw
 * @throws ShapeError | SupportSizeError | OptionError when a problem does not fit the data
 * @throws OneClassError when a label set that is fitted lacks a class
 */
export async function fitLogistic(
  x: Activations,
  labels: LabelMatrix,
  problems: readonly LogisticProblem[],
  options: LogisticOptions,
  pacer: Pacer,
): Promise<LogisticFit[]> {
  assertProblems(x, labels, problems, options);
  const fits = new Array<LogisticFit>(problems.length);
  let done = 0;
  for (const { rows, members } of groupByRows(labels, problems)) {
    for (const chunk of chunksOfColumns(problems, members, rows.length)) {
      const union = Uint32Array.from(new Set(chunk.flatMap((p) => [...problems[p].support])));
      const place = new Map(Array.from(union, (j, at) => [j, at]));
      const columns = await gatherAsColumns(x, union, rows, pacer);
      for (const p of chunk) {
        const problem = problems[p];
        const y = Uint8Array.from(rows, (i) => labels.values[problem.feature * labels.rows + i]);
        const loss = new LogisticLoss({
          columns: Array.from(problem.support, (j) => columns[place.get(j)!]),
          labels: y,
          weights: classWeights(y, options.balanced),
          C: options.C,
          center: problem.center,
          scale: problem.scale,
        });
        const steps = newtonSteps(loss, options);
        let state = steps.next();
        while (!state.done) {
          if (pacer.due) await pacer.turn();
          state = steps.next();
        }
        const { theta, convergence } = state.value;
        const k = problem.support.length;
        fits[p] = { coefficients: theta.slice(0, k), intercept: theta[k], convergence };
        done++;
        if (pacer.due) await pacer.turn();
        options.onProgress?.(done, problems.length);
      }
    }
  }
  return fits;
}

/**
 * Checks a batch before any work is done.
 * @throws ShapeError | SupportSizeError | OptionError | OneClassError
 */
export function assertProblems(
  x: Pick<Activations, "rows" | "neurons">,
  labels: LabelMatrix,
  problems: readonly LogisticProblem[],
  options: LogisticOptions,
): void {
  if (labels.rows !== x.rows) {
    throw new ShapeError(
      `There are ${labels.rows} labels per feature for ${x.rows} rows.`,
      "Give one label per row.",
    );
  }
  if (!(options.C > 0) || !Number.isFinite(options.C)) {
    throw new OptionError(`C is ${options.C}.`, "Give a finite number above 0.");
  }
  for (const feature of new Set(problems.map((problem) => problem.feature))) {
    if (!Number.isInteger(feature) || feature < 0 || feature >= labels.features.length) {
      throw new ShapeError(
        `Feature ${feature} does not exist.`,
        `Features run from 0 to ${labels.features.length - 1}.`,
      );
    }
    labels.assertTwoClasses(feature);
  }
  for (const { support, center, scale } of problems) {
    const k = support.length;
    if (k === 0) throw new SupportSizeError("A support is empty.", "Give at least one neuron.");
    for (const j of support) {
      if (j >= x.neurons) {
        throw new ShapeError(`Column ${j} does not exist.`, `Columns run from 0 to ${x.neurons - 1}.`);
      }
    }
    if ((center && center.length !== k) || (scale && scale.length !== k)) {
      throw new ShapeError(
        `center or scale does not have the support's ${k} values.`,
        "Give one value per column of the support.",
      );
    }
    if (scale?.some((s) => !(Math.abs(s) > 0) || !Number.isFinite(s))) {
      throw new OptionError(
        "A scale is zero or not finite.",
        "Give 1 for columns that are not to be scaled.",
      );
    }
  }
}

/** Problems whose features have the same labelled rows, with those rows. */
export function groupByRows(
  labels: LabelMatrix,
  problems: readonly LogisticProblem[],
): { rows: Uint32Array; members: number[] }[] {
  const groups: { rows: Uint32Array; members: number[] }[] = [];
  const groupOfFeature = new Map<number, number>();
  for (const [p, { feature }] of problems.entries()) {
    let g = groupOfFeature.get(feature);
    if (g === undefined) {
      const values = labels.of(feature);
      const rows: number[] = [];
      for (let i = 0; i < values.length; i++) if (values[i] !== UNLABELLED) rows.push(i);
      g = groups.findIndex(
        (group) => group.rows.length === rows.length && group.rows.every((row, at) => row === rows[at]),
      );
      if (g < 0) g = groups.push({ rows: Uint32Array.from(rows), members: [] }) - 1;
      groupOfFeature.set(feature, g);
    }
    groups[g].members.push(p);
  }
  return groups;
}

/** Cuts a list of problems where the union of their columns would outgrow `bytes`. */
export function chunksOfColumns(
  problems: readonly LogisticProblem[],
  members: number[],
  rows: number,
  bytes: number = GATHER_BYTES,
): number[][] {
  const most = Math.max(1, Math.floor(bytes / (4 * rows)));
  const chunks: number[][] = [];
  let chunk: number[] = [];
  const union = new Set<number>();
  for (const p of members) {
    const added = problems[p].support.filter((j) => !union.has(j)).length;
    if (chunk.length > 0 && union.size + added > most) {
      chunks.push(chunk);
      chunk = [];
      union.clear();
    }
    chunk.push(p);
    for (const j of problems[p].support) union.add(j);
  }
  if (chunk.length > 0) chunks.push(chunk);
  return chunks;
}
