/** Several exclusive classes, each against the rest; what fits them is loaded at the first call. */
import type { FittedMulticlass, MulticlassProbes } from "./fitted-multiclass.ts";

/** A fitted multiclass probe: one k-sparse probe per class. */
export type MulticlassProbe = FittedMulticlass;

const load = () => import("./fitted-multiclass.ts");

/**
 * Tells several exclusive classes apart by one k-sparse probe per class against the rest; the highest decision wins.
 *
 * @example
 * const probe = await MulticlassProbe.fit(activations, languages, 4, { rows: train });
 * const { macroF1, confusion } = probe.evaluate(activations, languages, { rows: test });
 */
export const MulticlassProbe: MulticlassProbes = Object.freeze<MulticlassProbes>({
  fit: async (...args) => (await load()).fitMulticlass(...args),
  path: async (...args) => (await load()).fitMulticlassPath(...args),
  fromJSON: async (json) => (await load()).readMulticlass(json),
});
