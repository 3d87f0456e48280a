/** A number of every neuron's weights, layer by layer. */
import type { NeuronPlace } from "../../evidence/neuron-places.ts";
import type { LayerWeightStatistics, NeuronWeightStatistics } from "../../evidence/read-weight-statistics.ts";
import { EmptyDataError, OptionError } from "../../errors.ts";
import { pictureSpec, type JsonObject, type PictureSpec } from "./picture-spec.ts";
import { spoken } from "./row-points.ts";

/** Statistics of the weights, as `summary` names them, with what readers are told. */
export const WEIGHT_STATISTICS = {
  "input.norm": "‖W_in‖",
  "input.bias": "b_in",
  "input.normTimesBias": "‖W_in‖·b_in",
  "input.cosine": "cos(W_in, W_out)",
  "gate.norm": "‖W_gate‖",
  "gate.bias": "b_gate",
  "gate.normTimesBias": "‖W_gate‖·b_gate",
  "gate.cosine": "cos(W_gate, W_out)",
  gateCosine: "cos(W_gate, W_in)",
  outputNorm: "‖W_out‖",
} as const;

export type WeightStatistic = keyof typeof WEIGHT_STATISTICS;

export interface LayerWeightsOptions {
  /** Default `"input.normTimesBias"`. */
  readonly statistic?: WeightStatistic | undefined;
  /** Weights as they are stored, or with the norms around the MLP folded in. Default `"folded"`. */
  readonly form?: "stored" | "folded" | undefined;
  /** Neurons of an MLP to mark. */
  readonly neurons?: readonly Extract<NeuronPlace, { readonly layer: number }>[] | undefined;
  /** For the subtitle. */
  readonly model?: string | undefined;
}

/**
 * How a number of the neurons' weights is distributed in each layer: median, middle half, 5 % to 95 %, least and largest. By
 * default ‖W_in‖·b_in, which is strongly negative where many features share neurons (Gurnee et al. 2023).
 *
 * @throws EmptyDataError when no layer has the statistic: the model may have no biases or no gate
 * @throws OptionError when the statistic is not known, or a neuron to mark is not among the layers
 */
export function layerWeightsPicture(
  layers: readonly LayerWeightStatistics[],
  options: LayerWeightsOptions = {},
): PictureSpec {
  const { statistic = "input.normTimesBias", form = "folded", neurons = [], model = "" } = options;
  if (!Object.hasOwn(WEIGHT_STATISTICS, statistic)) {
    throw new OptionError(
      `The statistic ${statistic} is not known.`,
      `Use one of ${Object.keys(WEIGHT_STATISTICS).join(", ")}.`,
    );
  }
  const label = WEIGHT_STATISTICS[statistic];
  const summaries = layers.flatMap(({ layer, summary }) => {
    // What the model does not have is left out of the summaries.
    return Object.hasOwn(summary[form], statistic) ? [{ layer, ...summary[form][statistic] }] : [];
  });
  if (summaries.length === 0) {
    throw new EmptyDataError(
      `No layer has ${label}.`,
      "Name another statistic: the model may have no biases, or no gate.",
    );
  }
  const marked = neurons.map(({ layer, neuron }): JsonObject => {
    const found = layers.find((of) => of.layer === layer);
    const value = found && valuesOf(found[form], statistic)?.[neuron];
    if (value === null || value === undefined) {
      throw new OptionError(
        `Neuron ${neuron} of layer ${layer} has no ${label}.`,
        "Mark neurons of the layers that are given.",
      );
    }
    return { layer, value, name: `N${neuron}` };
  });
  const counts = [...new Set(summaries.map((of) => of.neurons))];
  const lowest = summaries.reduce((a, b) => (b.median < a.median ? b : a));
  const highest = summaries.reduce((a, b) => (b.median > a.median ? b : a));
  const from = (low: string, high: string, mark: JsonObject): JsonObject => ({
    mark,
    encoding: {
      y: { field: low, type: "quantitative", title: label, scale: { zero: false } },
      y2: { field: high },
    },
  });
  const neuronsLine =
    counts.length === 1 ? `${counts[0].toLocaleString("en")} neurons in each layer` : "all neurons";
  return pictureSpec({
    title: `${label} of the neurons, by layer`,
    subtitle: [
      [model, neuronsLine, form === "folded" ? "norms folded in" : "weights as stored"]
        .filter((s) => s !== "")
        .join(" · "),
      "line: median · box: middle half · bar: 5 % to 95 % · dots: least and largest",
    ],
    description: `${label} of the neurons of ${summaries.length} layers. Lowest median: ${spoken(lowest.median)} in layer ${lowest.layer}; highest: ${spoken(highest.median)} in layer ${highest.layer}.`,
    height: 260,
    values: [...summaries.map((of): JsonObject => ({ ...of })), ...marked],
    encoding: {
      x: {
        field: "layer",
        type: "ordinal",
        title: "layer",
        scale: { domain: summaries.map(({ layer }) => layer), padding: 0.35 },
        axis: { labelAngle: 0, labelOverlap: true, grid: false },
      },
    },
    layer: [
      {
        // One line, not one for each row.
        data: { values: [{}] },
        mark: { type: "rule", style: "zero" },
        encoding: { x: { value: 0 }, x2: { value: "width" }, y: { datum: 0 } },
      },
      from("q05", "q95", { type: "rule", style: "spread" }),
      from("q25", "q75", { type: "bar", style: "box" }),
      {
        mark: { type: "tick", style: "median", width: { expr: "bandwidth('x')" } },
        encoding: { y: { field: "median", type: "quantitative" } },
      },
      ...["least", "largest"].map((field) => ({
        mark: { type: "point", style: "extreme" },
        encoding: { y: { field, type: "quantitative" } },
      })),
      ...(marked.length === 0
        ? []
        : [
            {
              transform: [{ filter: "isValid(datum.name)" }],
              mark: { type: "point", style: "marked" },
              encoding: { y: { field: "value", type: "quantitative" } },
            },
            {
              transform: [{ filter: "isValid(datum.name)" }],
              mark: { type: "text", style: "label", align: "left", dx: 8 },
              encoding: { y: { field: "value", type: "quantitative" }, text: { field: "name" } },
            },
          ]),
    ],
  });
}

function valuesOf(of: NeuronWeightStatistics, statistic: WeightStatistic): readonly (number | null)[] | null {
  if (statistic === "outputNorm" || statistic === "gateCosine") return of[statistic];
  const [side, name] = statistic.split(".") as [
    "input" | "gate",
    "norm" | "bias" | "normTimesBias" | "cosine",
  ];
  return of[side]?.[name] ?? null;
}
