/** The study that the tests of journals interrupt: own activations, so that a process is quick to start. */
import type { SweepStudy } from "../../src/sweeps/sweep-study.ts";
import { ownActivations } from "./studies.ts";

export function journalStudy(): SweepStudy {
  return {
    activations: [
      ownActivations(11, { rows: 120, neurons: 16, features: 2, points: 5, name: "first" }),
      ownActivations(12, { rows: 90, neurons: 12, features: 1, points: 3, name: "second" }),
    ],
    methods: ["mean-difference", "random"],
    ks: [1, 2, 4],
    rotations: [5],
  };
}
