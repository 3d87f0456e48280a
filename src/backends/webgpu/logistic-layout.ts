/** Structs of shaders/lib/logistic.wgsl and lib/single-neuron.wgsl as the host fills and reads them: fields by their word. */

/** What waits for a problem; see lib/logistic.wgsl. */
export const Status = { trial: 0, accepted: 1, finished: 2, last: 3, certified: 4, refused: 5 } as const;

/** `Problem`. */
export const ProblemWord = {
  columns: 0,
  support: 1,
  labels: 2,
  status: 3,
  iterations: 4,
  halvings: 5,
  weight_negative: 6,
  weight_positive: 7,
  weight_negative_low: 8,
  weight_positive_low: 9,
  total_weight: 10,
  objective: 11,
  step_length: 12,
  slope: 13,
  decrement: 14,
  rounds: 15,
  gradient_norm: 16,
  objective_high: 17,
  objective_low: 18,
  violations: 19,
} as const;
export const PROBLEM_WORDS = 20;

/** `SupportColumn`. */
export const ColumnWord = {
  column: 0,
  center: 1,
  inverse_scale: 2,
  center_low: 3,
  inverse_scale_low: 4,
} as const;
export const COLUMN_WORDS = 5;

/** `NeuronProbe`, which begins with a `Problem`. */
export const NeuronWord = {
  problem: 0,
  weight: 20,
  intercept: 21,
  weight_low: 22,
  intercept_low: 23,
  trial_weight: 24,
  trial_intercept: 25,
  step_weight: 26,
  step_intercept: 27,
  pivot_intercept: 28,
  ratio: 29,
  pivot_weight: 30,
  spoilt: 31,
  center: 32,
  inverse_scale: 33,
  center_low: 34,
  inverse_scale_low: 35,
} as const;
export const NEURON_WORDS = 36;

/** Larger than any objective and decrement, so that the first evaluation is accepted. */
const UNKNOWN = 3e38;

/** Writes what a problem starts with into zeros: C·ω of either class, C·Σω, and values that any evaluation betters. */
export function startProblem(
  words: Float32Array,
  at: number,
  [negative, positive, total]: readonly [negative: number, positive: number, total: number],
): void {
  words[at + ProblemWord.weight_negative] = negative;
  words[at + ProblemWord.weight_positive] = positive;
  words[at + ProblemWord.weight_negative_low] = lowPart(negative);
  words[at + ProblemWord.weight_positive_low] = lowPart(positive);
  words[at + ProblemWord.total_weight] = total;
  words[at + ProblemWord.objective] = UNKNOWN;
  words[at + ProblemWord.step_length] = 1;
  words[at + ProblemWord.decrement] = UNKNOWN;
}

/** What float32 leaves of a number. */
export function lowPart(value: number): number {
  return value - Math.fround(value);
}
