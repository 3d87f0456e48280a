/** The data of test/fixtures/statistics/validation.json. */
import { Activations } from "../../src/data/activations.ts";
import fixture from "../fixtures/statistics/validation.json" with { type: "json" };

export function validationData(): { x: Activations; y: readonly number[]; groups: readonly number[] } {
  const bytes = Uint8Array.from(atob(fixture.activations), (c) => c.charCodeAt(0));
  const x = new Activations(new Float32Array(bytes.buffer), [fixture.rows, fixture.neurons]);
  return { x, y: fixture.labels, groups: fixture.groups };
}

/** The folds that scikit-learn was given. */
export function validationFolds(): { train: number[]; test: number[] }[] {
  return Array.from({ length: Math.max(...fixture.fold) + 1 }, (_, f) => ({
    train: fixture.fold.flatMap((fold, i) => (fold === f ? [] : [i])),
    test: fixture.fold.flatMap((fold, i) => (fold === f ? [i] : [])),
  }));
}
