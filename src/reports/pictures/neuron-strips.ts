/** Activations of chosen neurons on texts with and without their feature. */
import { EmptyDataError, ShapeError } from "../../errors.ts";
import { pictureSpec, type JsonObject, type PictureSpec } from "./picture-spec.ts";
import { spoken } from "./row-points.ts";

/** A neuron and its activations, one for each row that is shown. */
export interface NeuronStrip {
  /** Heading that consecutive neurons share, such as a dataset. */
  readonly group?: string | undefined;
  readonly feature: string;
  readonly layer: number;
  readonly neuron: number;
  readonly activations: ArrayLike<number>;
  /** Whether each of these rows has the feature. */
  readonly positive: ArrayLike<boolean | number>;
  /** F1 of the neuron's probe on these rows. */
  readonly f1?: number | null | undefined;
}

export interface NeuronStripsOptions {
  /** Default “The best neuron of each feature”. */
  readonly title?: string | undefined;
  /** What the rows are, for the subtitle. Default `"rows"`. */
  readonly rows?: string | undefined;
}

const ROW = 28;
/** Pixels that a feature's name may take. */
const NAME = 130;

/**
 * A strip of points for each neuron: its activations on rows with the feature, above, and without it, below. Every strip runs from the
 * neuron's least to its largest value.
 *
 * @throws EmptyDataError when there are no neurons, or one has no rows
 * @throws ShapeError when the lists of a neuron differ in length
 */
export function neuronStripsPicture(
  strips: readonly NeuronStrip[],
  options: NeuronStripsOptions = {},
): PictureSpec {
  const { title = "The best neuron of each feature", rows = "rows" } = options;
  if (strips.length === 0) throw new EmptyDataError("There are no neurons.", "Give at least one.");
  const values: JsonObject[] = [];
  let row = 0;
  let heading: string | undefined;
  for (const strip of strips) {
    const { group, feature, layer, neuron, activations, positive, f1 } = strip;
    if (activations.length !== positive.length) {
      throw new ShapeError(
        `Neuron ${neuron} has ${activations.length} activations and ${positive.length} classes.`,
        "Give one of each for every row.",
      );
    }
    if (activations.length === 0)
      throw new EmptyDataError(`Neuron ${neuron} has no activations.`, "Give at least one row.");
    if (group !== heading && group !== undefined) values.push({ row: row++ + 0.15, heading: group });
    heading = group;
    const low = Array.from(activations).reduce((a, b) => Math.min(a, b));
    const high = Array.from(activations).reduce((a, b) => Math.max(a, b));
    values.push({
      row,
      feature,
      place: `L${layer} N${neuron}`,
      f1: f1 === undefined || f1 === null ? "" : f1.toFixed(2),
    });
    // Rows with the feature are drawn last, on top.
    for (const has of [false, true]) {
      for (let i = 0; i < activations.length; i++) {
        if (Boolean(positive[i]) !== has) continue;
        values.push({
          row: row + (has ? -0.12 : 0.12),
          at: high > low ? (activations[i] - low) / (high - low) : 0.5,
          activation: activations[i],
          of: has ? "own" : "other",
        });
      }
    }
    row++;
  }
  const points = (of: "own" | "other"): JsonObject => ({
    transform: [{ filter: `datum.of === '${of}'` }],
    mark: { type: "point", style: `strip-${of}` },
    encoding: {
      x: {
        field: "at",
        type: "quantitative",
        scale: { domain: [0, 1], nice: false, range: [8, { expr: "width - 8" }] },
        axis: null,
      },
    },
  });
  const column = (field: string, style: string, mark: JsonObject, x: JsonObject): JsonObject => ({
    transform: [{ filter: `isValid(datum.${field})` }],
    mark: { type: "text", style, baseline: "middle", ...mark },
    encoding: { x, text: { field } },
  });
  const left = { value: 0 };
  return pictureSpec({
    title,
    subtitle: [
      `${rows} with the feature above each line, others below`,
      "a line runs from the neuron’s least activation to its largest · right: F1 of its probe",
    ],
    description: `Activations of ${strips.length} neurons on ${rows}, with and without their feature. ${strips
      .map(
        ({ feature, layer, neuron, f1 }) =>
          `${feature}: layer ${layer}, neuron ${neuron}${f1 === undefined || f1 === null ? "" : `, F1 ${spoken(f1)}`}.`,
      )
      .join(" ")}`,
    height: ROW * row,
    values,
    encoding: {
      y: {
        field: "row",
        type: "quantitative",
        scale: { domain: [-0.5, row - 0.5], reverse: true, nice: false, zero: false },
        axis: null,
      },
    },
    layer: [
      {
        transform: [{ filter: "isValid(datum.place)" }],
        mark: { type: "rule", style: "strip" },
        encoding: { x: left, x2: { value: "width" } },
      },
      points("other"),
      points("own"),
      column("heading", "heading", { align: "right", dx: -84, limit: NAME }, left),
      column("feature", "label", { align: "right", dx: -84, limit: NAME }, left),
      column("place", "note", { align: "right", dx: -8 }, left),
      column("f1", "label", { align: "left", dx: 10 }, { value: "width" }),
    ],
  });
}
