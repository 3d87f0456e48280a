/** The rows of a hook point, put in order whatever the order in which they were had. */
import type { HookPoint } from "../backends/backend.ts";
import type { SupportChoice, SupportRequest } from "./choose-supports.ts";
import type { SplitLabels } from "./label-sets.ts";
import { methodsIn, sizesOf, type PlannedMethod, type StudyPlan } from "./plan-study.ts";
import { failedRows, SCORED_PARTS, type RowOrigin } from "./score-choices.ts";
import type { SweepRow } from "./sweep-row.ts";

export class PointTable {
  readonly point: HookPoint;
  readonly #labels: SplitLabels;
  readonly #plan: StudyPlan;
  readonly #neurons: number;
  readonly #origin: Omit<RowOrigin, "rotation">;
  readonly #rows = new Map<string, readonly SweepRow[]>();

  constructor(
    study: {
      readonly labels: SplitLabels;
      readonly plan: StudyPlan;
      readonly origin: Omit<RowOrigin, "hookPoint" | "layer" | "rotation">;
    },
    point: HookPoint,
    neurons: number,
  ) {
    this.point = point;
    this.#labels = study.labels;
    this.#plan = study.plan;
    this.#neurons = neurons;
    this.#origin = { ...study.origin, hookPoint: point, layer: Number(point.split(".")[1]) };
  }

  /** What all rows of a rotation have in common. */
  originOf(rotation: number | null): RowOrigin {
    return { ...this.#origin, rotation };
  }

  /** @param rows one for each part of each choice, in their order */
  add(rotation: number | null, choices: readonly SupportChoice[], rows: readonly SweepRow[]): void {
    const parts = SCORED_PARTS.length;
    for (const [at, { set, method, k }] of choices.entries()) {
      this.#rows.set(keyOf(rotation, set, method, k), rows.slice(at * parts, (at + 1) * parts));
    }
  }

  /** Says why a request has no probes. */
  fail(rotation: number | null, { set, method, ks }: SupportRequest, reason: string): void {
    const { feature, seed } = this.#labels.sets[set];
    for (const k of ks) {
      const base = { ...this.originOf(rotation), feature, seed, method: method.name, k };
      this.#rows.set(keyOf(rotation, set, method, k), failedRows(base, reason));
    }
  }

  /** By rotation, seed, feature, method and k; label sets that could not be split fail at their places. */
  rows(): SweepRow[] {
    const { rotations, study } = this.#plan;
    return rotations.flatMap((rotation) => {
      let set = 0;
      return this.#labels.order.flatMap((labels) => {
        const at = "reason" in labels ? undefined : set++;
        return methodsIn(this.#plan, rotation).flatMap((method) =>
          sizesOf(method, study.ks, this.#neurons).flatMap((k) => {
            if (at !== undefined) return this.#rows.get(keyOf(rotation, at, method, k))!;
            const { feature, seed, reason } = labels as { feature: string; seed: number; reason: string };
            return failedRows({ ...this.originOf(rotation), feature, seed, method: method.name, k }, reason);
          }),
        );
      });
    });
  }
}

function keyOf(rotation: number | null, set: number, method: PlannedMethod, k: number): string {
  return JSON.stringify([rotation, set, method.name, k]);
}
