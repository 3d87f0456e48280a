/** The activations of test/fixtures/sklearn/probes.json. */
import { Activations } from "../../src/data/activations.ts";
import fixture from "../fixtures/sklearn/probes.json" with { type: "json" };

export function fixtureActivations(): Activations {
  const bytes = Uint8Array.from(atob(fixture.activations), (c) => c.charCodeAt(0));
  return new Activations(new Float32Array(bytes.buffer), [fixture.rows, fixture.neurons]);
}
