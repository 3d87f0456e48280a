/** The search against every support there is, on problems small enough to try them all. */
import { describe, expect, it } from "vitest";
import { fitNewton } from "../../src/backends/cpu/reference/newton.ts";
import { LogisticLoss } from "../../src/backends/cpu/reference/logistic-loss.ts";
import { search, SearchState, type FittedSupport } from "../../src/optimal/search.ts";
import { supportProblem } from "../../src/optimal/support-problem.ts";
import { Random } from "../../src/random.ts";
import { finish } from "./finish.ts";

interface Draw {
  readonly columns: Float32Array[];
  readonly labels: Uint8Array;
  readonly weights: Float64Array;
  readonly gamma: number;
}

/** Correlated and duplicate columns, columns with ties, weights, noise, and γ over five decades. */
function draw(seed: number): Draw {
  const random = new Random(seed, "brute force");
  const normal = (): number =>
    Math.sqrt(-2 * Math.log(1 - random.uniform())) * Math.cos(2 * Math.PI * random.uniform());
  const rows = 12 + random.below(60);
  const neurons = seed % 20 === 0 ? 14 : 3 + random.below(7);
  const columns: Float32Array[] = [];
  for (let j = 0; j < neurons; j++) {
    const kind = random.uniform();
    const other = columns.at(random.below(Math.max(1, j)));
    if (other && kind < 0.15) columns.push(other.slice());
    else if (other && kind < 0.45) columns.push(other.map((value) => value + 0.2 * normal()));
    else if (kind < 0.65) columns.push(Float32Array.from({ length: rows }, () => random.below(3)));
    else columns.push(Float32Array.from({ length: rows }, normal));
  }
  const labels = Uint8Array.from({ length: rows }, (_, i) =>
    columns[0][i] - columns[1][i] + 1.5 * normal() > 0.3 ? 1 : 0,
  );
  labels[0] = 1;
  labels[1] = 0;
  const weights = Float64Array.from({ length: rows }, () => (seed % 2 ? 1 : 0.2 + 2 * random.uniform()));
  return { columns, labels, weights, gamma: 10 ** (5 * random.uniform() - 3) };
}

function* supports(
  neurons: number,
  k: number,
  from = 0,
  head: readonly number[] = [],
): Generator<readonly number[]> {
  if (head.length === k) {
    yield head;
    return;
  }
  for (let j = from; j < neurons; j++) yield* supports(neurons, k, j + 1, [...head, j]);
}

/** c(S) of the logistic loss by the library's other Newton solver. */
function logisticObjective({ columns, labels, weights, gamma }: Draw, support: readonly number[]): number {
  const loss = new LogisticLoss({ columns: support.map((j) => columns[j]), labels, weights, C: gamma });
  return fitNewton(loss).convergence.objective / gamma;
}

describe.each(["logistic", "hinge"] as const)("optimal supports, %s loss", (loss) => {
  it.each(Array.from({ length: 4 }, (_, i) => i))("equal brute force, batch %i", (batch) => {
    for (let seed = 40 * batch; seed < 40 * batch + 40; seed++) {
      const data = draw(seed);
      const { columns, labels, weights, gamma } = data;
      const neurons = columns.length;
      const problem = finish(
        supportProblem(
          columns.map((column) => Float64Array.from(column)),
          labels,
          weights,
          gamma,
          loss,
        ),
      );
      const shared = new SearchState(problem);
      const brute = new SearchState(problem);
      for (let k = 1; k <= Math.min(4, neurons); k++) {
        let best = Infinity;
        for (const support of supports(neurons, k)) {
          const objective =
            loss === "logistic" ? logisticObjective(data, support) : finish(brute.fit(support)).objective;
          best = Math.min(best, objective);
        }
        const first: FittedSupport = finish(shared.fit(Array.from({ length: k }, (_, j) => j)));
        const bounds: number[] = [];
        const report = finish(
          search(shared, k, first, {
            relativeGap: 1e-8,
            expired: () => false,
            onImprovement: ({ bound }) => bounds.push(bound),
          }),
        );
        const where = `seed ${seed}, k ${k}`;
        expect(Math.abs(report.incumbent.objective - best), where).toBeLessThanOrEqual(5e-8 * best);
        // Brute force knows the optimum to its own tolerance, 1e-10 and better.
        expect(Math.max(...bounds), where).toBeLessThanOrEqual(best * (1 + 1e-10));
        expect(report.proved, where).toBe(true);
      }
    }
  });
});
