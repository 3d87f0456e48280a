/** Honest statistics of probes; the code of each call is loaded when it is called. */
import type { ActivationSource } from "../probes/activation-source.ts";
import type { ProbeLabels, SparseProbe } from "../probes/sparse-probe.ts";
import type { BootstrapOptions, BootstrapResult, FullBootstrapResult } from "./bootstrap.ts";
import type { BootstrapProbeOptions } from "./bootstrap-probe.ts";
import type { BootstrapRowsOptions, BootstrapRowsResult, Measured } from "./bootstrap-rows.ts";
import type { ProbeControls, ProbeControlsOptions } from "./controls.ts";
import type { CrossValidateOptions, CrossValidation } from "./cross-validation.ts";
import type { NamedActivations, SelectAndTestOptions, SelectAndTestResult } from "./model-selection.ts";
import type { PermutationTestScore, PermutationTestScoreOptions } from "./permutation-score.ts";
import type { PermutationTest, PermutationTestOptions } from "./permutation-test.ts";
import type { CompareSelectionsOptions, SelectionComparison } from "./selection-comparison.ts";
import type { SupportStability, SupportStabilityOptions } from "./stability.ts";

/**
 * k-fold cross-validation of every support size and C. Ranking and standardisation read the training rows of each fold
 * alone.
 *
 * @param ks support sizes
 * @throws ShapeError | EmptyDataError | LabelError | OneClassError | SupportSizeError | OptionError; a fold that cannot be
 * fitted is null in its row instead
 * @example
 * const { chosen } = await crossValidate(activations, labels, [1, 2, 4], { Cs: [0.1, 1, 10], groups: documents });
 */
export async function crossValidate(
  acts: ActivationSource,
  labels: ProbeLabels,
  ks: readonly number[],
  options: CrossValidateOptions = {},
): Promise<CrossValidation> {
  const { runCrossValidation } = await import("./cross-validation.ts");
  return runCrossValidation(acts, labels, ks, options);
}

/**
 * Fits every support size, C and set of activations on training rows, chooses on validation rows, and reports the chosen
 * one once on test rows, with bootstrap intervals.
 *
 * @param acts one set of activations, or several by name (as `captureActivations` returns them) of the same rows
 * @throws ShapeError | EmptyDataError | LabelError | OneClassError | NonFiniteError | SupportSizeError | OptionError
 * @example
 * const { chosen, considered, test } = await selectAndTest(activations, labels, [1, 2, 4], { groups: documents });
 * console.log(chosen.k, considered, test.metrics.f1);
 */
export async function selectAndTest(
  acts: NamedActivations,
  labels: ProbeLabels,
  ks: readonly number[],
  options: SelectAndTestOptions = {},
): Promise<SelectAndTestResult> {
  const { runSelectAndTest } = await import("./model-selection.ts");
  return runSelectAndTest(acts, labels, ks, options);
}

/**
 * Intervals of metrics by the bootstrap: rows, or whole groups, are drawn with replacement.
 *
 * @param labels 0 or 1 per row
 * @param scores decision value per row; positive above 0
 * @throws EmptyDataError | ShapeError | LabelError | NonFiniteError | OptionError
 * @example
 * const { metrics } = await bootstrapMetrics(labels, probe.decisionFunction(activations), { groups: documents });
 * console.log(metrics.f1.estimate, metrics.f1.low, metrics.f1.high);
 */
export async function bootstrapMetrics(
  labels: ArrayLike<number>,
  scores: ArrayLike<number>,
  options?: Omit<BootstrapOptions, "metrics">,
): Promise<FullBootstrapResult>;
export async function bootstrapMetrics(
  labels: ArrayLike<number>,
  scores: ArrayLike<number>,
  options?: BootstrapOptions,
): Promise<BootstrapResult>;
export async function bootstrapMetrics(
  labels: ArrayLike<number>,
  scores: ArrayLike<number>,
  options?: BootstrapOptions,
): Promise<BootstrapResult> {
  const { runBootstrap } = await import("./bootstrap.ts");
  return runBootstrap(labels, scores, options);
}

/**
 * Intervals, by the bootstrap, of anything that can be measured on rows: the metrics of regression and multiclass probes, or a
 * statistic of your own. For binary metrics {@link bootstrapMetrics} is many times faster.
 *
 * @param measure called with row numbers, some of them more than once; synchronous
 * @throws EmptyDataError | ShapeError | OptionError, and what `measure` throws
 * @example
 * const { metrics } = await bootstrapRows((rows) => probe.evaluate(activations, lengths, { rows }), {
 *   rows: test,
 *   metrics: ["r2", "spearman"],
 *   groups: documents,
 * });
 */
export async function bootstrapRows<Name extends string>(
  measure: (rows: Uint32Array) => Measured<Name>,
  options: BootstrapRowsOptions<Name>,
): Promise<BootstrapRowsResult<Name>> {
  const { runRowBootstrap } = await import("./bootstrap-rows.ts");
  return runRowBootstrap(measure, options);
}

/**
 * What `probe.evaluate` says, with intervals.
 *
 * @param acts activations on the host or on a device, all rows
 * @param labels as for `probe.evaluate`, one per row
 * @throws what `probe.evaluate` and {@link bootstrapMetrics} throw
 */
export async function bootstrapProbe(
  probe: SparseProbe,
  acts: ActivationSource,
  labels: ProbeLabels,
  options: BootstrapProbeOptions = {},
): Promise<FullBootstrapResult> {
  const { runProbeBootstrap } = await import("./bootstrap-probe.ts");
  return runProbeBootstrap(probe, acts, labels, options);
}

/**
 * Permutation p-values of every neuron's difference between the classes, with Benjamini–Hochberg q-values and
 * Westfall–Young adjusted p-values over all neurons.
 *
 * @throws OneClassError when no permutation changes the labels
 * @throws ShapeError | EmptyDataError | LabelError | NonFiniteError | OptionError
 * @example
 * const { qValues } = await permutationTest(activations, labels, { groups: documents, rows: train });
 * console.log(qValues.filter((q) => q <= 0.05).length, "neurons at a false discovery rate of 5 %");
 */
export async function permutationTest(
  acts: ActivationSource,
  labels: ProbeLabels,
  options: PermutationTestOptions = {},
): Promise<PermutationTest> {
  const { runPermutationTest } = await import("./permutation-test.ts");
  return runPermutationTest(acts, labels, options);
}

/**
 * Cross-validated score of a whole probe, selection inside every fold, against the same on permuted labels; the method of
 * scikit-learn's `permutation_test_score` (Ojala and Garriga 2010, test 1).
 *
 * @param k neurons to read
 * @throws ShapeError | EmptyDataError | LabelError | OneClassError | NonFiniteError | SupportSizeError | OptionError
 */
export async function permutationTestScore(
  acts: ActivationSource,
  labels: ProbeLabels,
  k: number,
  options: PermutationTestScoreOptions = {},
): Promise<PermutationTestScore> {
  const { runPermutationTestScore } = await import("./permutation-score.ts");
  return runPermutationTestScore(acts, labels, k, options);
}

/**
 * Probes beside controls that should know nothing: the same selection and fit on shuffled training labels, and fits on
 * random neurons. Selectivity is the probe's metric minus the mean of the control's (Hewitt and Liang 2019). Draw number i of
 * a control depends on the seed and i alone; draws that fail are listed.
 *
 * @param ks support sizes
 * @throws ShapeError | EmptyDataError | LabelError | OneClassError | NonFiniteError | SupportSizeError | OptionError
 */
export async function probeControls(
  acts: ActivationSource,
  labels: ProbeLabels,
  ks: readonly number[],
  options: ProbeControlsOptions = {},
): Promise<ProbeControls> {
  const { runProbeControls } = await import("./controls.ts");
  return runProbeControls(acts, labels, ks, options);
}

/**
 * How far supports depend on the rows: neurons are chosen anew on random halves of the rows, or of the groups.
 *
 * @param ks support sizes
 * @throws ShapeError | EmptyDataError | LabelError | OneClassError | NonFiniteError | SupportSizeError | OptionError
 */
export async function supportStability(
  acts: ActivationSource,
  labels: ProbeLabels,
  ks: readonly number[],
  options: SupportStabilityOptions = {},
): Promise<SupportStability> {
  const { runSupportStability } = await import("./stability.ts");
  return runSupportStability(acts, labels, ks, options);
}

/**
 * Ways of choosing neurons, side by side: every method chooses on the training rows, the same L2 probe is fitted to every
 * choice, and the test rows score it with bootstrap intervals (the selection comparison of Gurnee et al. 2023). A method
 * that cannot choose says why and does not stop the others.
 *
 * @param ks support sizes
 * @returns tidy rows, one per method and k, and the time that each method took
 * @throws ShapeError | EmptyDataError | LabelError | OneClassError | SupportSizeError | OptionError
 * @example
 * const { rows, methods } = await compareSelections(activations, labels, [1, 2, 4, 8], { groups: documents });
 * for (const { method, k, metrics } of rows) console.log(method, k, metrics.f1?.estimate);
 */
export async function compareSelections(
  acts: ActivationSource,
  labels: ProbeLabels,
  ks: readonly number[],
  options: CompareSelectionsOptions = {},
): Promise<SelectionComparison> {
  const { runSelectionComparison } = await import("./selection-comparison.ts");
  return runSelectionComparison(acts, labels, ks, options);
}
