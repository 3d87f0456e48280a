/** The labels of a dataset, split for every feature and seed. */
import { LabelMatrix, UNLABELLED } from "../data/labels.ts";
import type { GroupId } from "../data/activations.ts";
import { splitRows } from "../data/splits.ts";
import { SparseProbeError } from "../errors.ts";
import { groupNumbers } from "../statistics/study.ts";
import type { StudyPlan } from "./plan-study.ts";

/** One feature under one seed: what is fitted to, and what is scored. */
export interface LabelSet {
  readonly feature: string;
  readonly seed: number;
  /** One per row: 1, 0 or `UNLABELLED`. */
  readonly y: Uint8Array;
  readonly train: Uint32Array;
  readonly validation: Uint32Array;
  readonly test: Uint32Array;
}

/** A feature that cannot be probed under a seed, and why. */
export interface FailedSet {
  readonly feature: string;
  readonly seed: number;
  readonly reason: string;
}

/** Label sets in the order of the rows: by seed, then by feature; failures at their places. */
export interface SplitLabels {
  readonly order: readonly (LabelSet | FailedSet)[];
  /** The label sets of {@link order} alone, as they index `training`. */
  readonly sets: readonly LabelSet[];
  /** Labels of the training rows of every set; all other rows are `UNLABELLED`. */
  readonly training: LabelMatrix;
  /** Group of every row, numbered from 0. */
  readonly groups: Uint32Array;
}

/**
 * Splits every feature's rows on its own, stratified and by group, so that a feature's parts depend neither on the other
 * features nor on what is done with them.
 *
 * @param missing features that a dataset was to have and has not, with the reason
 */
export function splitLabels(
  labels: LabelMatrix,
  groups: ArrayLike<GroupId>,
  missing: readonly { readonly feature: string; readonly reason: string }[],
  plan: Pick<StudyPlan, "features" | "seeds" | "fractions" | "leastPerClass">,
): SplitLabels {
  const numbers = groupNumbers(groups);
  const order: (LabelSet | FailedSet)[] = [];
  for (const seed of plan.seeds) {
    for (const [f, feature] of labels.features.entries()) {
      if (plan.features?.has(feature) === false) continue;
      order.push(splitFeature(feature, labels.of(f), numbers, seed, plan));
    }
    for (const { feature, reason } of missing) {
      if (plan.features?.has(feature) === false || labels.features.includes(feature)) continue;
      order.push({ feature, seed, reason });
    }
  }
  const sets = order.filter((set): set is LabelSet => "y" in set);
  const values = new Uint8Array(sets.length * labels.rows).fill(UNLABELLED);
  for (const [s, { train, y }] of sets.entries()) for (const i of train) values[s * labels.rows + i] = y[i];
  const training = new LabelMatrix(
    sets.map(({ feature }) => feature),
    labels.rows,
    values,
  );
  return { order, sets, training, groups: numbers };
}

function splitFeature(
  feature: string,
  y: Uint8Array,
  groups: Uint32Array,
  seed: number,
  { fractions, leastPerClass }: Pick<StudyPlan, "fractions" | "leastPerClass">,
): LabelSet | FailedSet {
  const rows = Uint32Array.from(y.keys()).filter((i) => y[i] !== UNLABELLED);
  try {
    const parts = splitRows({
      labels: Uint8Array.from(rows, (i) => y[i]),
      groups: rows.map((i) => groups[i]),
      seed,
      fractions,
    });
    const train = parts.train.map((r) => rows[r]);
    const positives = train.reduce((count, i) => count + y[i], 0);
    const negatives = train.length - positives;
    if (Math.min(positives, negatives) < leastPerClass) {
      const reason =
        `Feature "${feature}" has ${positives} positive and ${negatives} negative training rows: ` +
        `a probe needs at least ${leastPerClass} of each class.`;
      return { feature, seed, reason };
    }
    return {
      feature,
      seed,
      y,
      train,
      validation: parts.validation.map((r) => rows[r]),
      test: parts.test.map((r) => rows[r]),
    };
  } catch (error) {
    if (!(error instanceof SparseProbeError)) throw error;
    return { feature, seed, reason: `Feature "${feature}" cannot be split. ${error.message}` };
  }
}
