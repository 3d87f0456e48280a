/** Rows of a real sweep, and of failures, with awkward names. */
import { LabelMatrix } from "../../src/data/labels.ts";
import { METRIC_NAMES } from "../../src/metrics/evaluate.ts";
import type { SweepRow } from "../../src/sweeps/sweep-row.ts";
import { ownActivations, sweepAll } from "./studies.ts";

export async function resultRows(): Promise<SweepRow[]> {
  const own = ownActivations(5, { rows: 90, neurons: 6, features: 2, points: 1, name: "naïve, \t“rows”" });
  const { labels } = own;
  const named = new LabelMatrix(['says "yes",\nor no', "日本語"], labels.rows, labels.values);
  const probed = await sweepAll({
    activations: [{ ...own, labels: named }],
    ks: [1, 4, 99],
    methods: ["mean-difference", "dense"],
    rotations: [2 ** 40],
    seeds: [0, 2 ** 52 + 1],
    intervals: { metrics: METRIC_NAMES, draws: 20 },
  });
  const broken = await sweepAll({
    models: [{ name: "lost", revision: "1f2e", load: () => Promise.reject(new Error('no, "such" file')) }],
    datasets: [{ name: "unread", build: () => Promise.reject(new Error("never asked")) }],
    methods: ["mean-difference", "dense"],
    ks: [2],
  });
  return [...probed, ...broken];
}
