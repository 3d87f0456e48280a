/** What a report cannot be made of. */
import { EmptyDataError, OptionError } from "../../errors.ts";
import { METRIC_NAMES, type MetricName } from "../../metrics/evaluate.ts";
import type { SweepRow } from "../../sweeps/sweep-row.ts";
import type { NeuronPage } from "./neuron-section.ts";
import type { StudyTablesOptions } from "./study-tables.ts";

export function checkContent(
  rows: readonly SweepRow[],
  neurons: readonly NeuronPage[],
  { metric, metrics, pageSize }: StudyTablesOptions,
): void {
  if (rows.length === 0 && neurons.length === 0) {
    throw new EmptyDataError("There are no rows and no neurons.", "Give the rows of a sweep, or neurons.");
  }
  const unknown = [metric, ...metrics].find((name: MetricName) => !METRIC_NAMES.includes(name));
  if (unknown !== undefined) {
    throw new OptionError(
      `The metric ${JSON.stringify(unknown)} is not known.`,
      `Use one of ${METRIC_NAMES.join(", ")}.`,
    );
  }
  if (!Number.isInteger(pageSize) || pageSize < 1) {
    throw new OptionError(`pageSize is ${pageSize}.`, "Give a whole number from 1.");
  }
  for (const page of neurons) checkNeuron(page);
}

function checkNeuron({ evidence, logits, weights, ablations = [] }: NeuronPage): void {
  const { hookPoint, layer, neuron } = evidence;
  const name = `neuron ${neuron} of ${hookPoint}`;
  const remedy = "Give each neuron what was computed for it.";
  if (logits && (logits.hookPoint !== hookPoint || logits.neuron !== neuron)) {
    throw new OptionError(
      `The logit effects of ${name} are of neuron ${logits.neuron} of ${logits.hookPoint}.`,
      remedy,
    );
  }
  if (weights && weights.layer !== layer) {
    throw new OptionError(`The weights of ${name} are of layer ${weights.layer}.`, remedy);
  }
  if (weights && !hookPoint.endsWith(".mlp.hook_post")) {
    throw new OptionError(`The weights of ${name} are of neurons of mlp.hook_post.`, remedy);
  }
  const foreign = ablations.find((of) => of.hookPoint !== hookPoint || !of.neurons.includes(neuron));
  if (foreign) {
    throw new OptionError(
      `An ablation of ${name} is of neurons ${foreign.neurons.join(", ")} of ${foreign.hookPoint}.`,
      remedy,
    );
  }
}
