/** How a neuron's activations are distributed in each class. */
import type { ClassActivations, NeuronEvidence } from "../../evidence/collect-evidence.ts";
import type { ClassValue } from "../../data/labels.ts";
import { EmptyDataError, OptionError } from "../../errors.ts";
import { MOST_SERIES } from "./series-layers.ts";
import { pictureSpec, type JsonObject, type PictureSpec } from "./picture-spec.ts";
import { spoken } from "./row-points.ts";

export interface ClassHistogramOptions {
  /**
   * The class that is set against all others together. Default: the one that the evidence compares; where it compares several or
   * none, each class has a line.
   */
  readonly positive?: ClassValue | undefined;
  /** What a row is, for the axis. Default `"tokens"`. */
  readonly rows?: string | undefined;
  /** What the rows are, for the subtitle: model, dataset, feature. */
  readonly rowsOf?: string | undefined;
  /** Of the shares. Default `"log"`, which shows rare large activations. */
  readonly scale?: "log" | "linear" | undefined;
}

/**
 * Histograms of a neuron's activations, one for each class, as shares of the class's rows.
 *
 * @throws EmptyDataError when the evidence has no rows with classes
 * @throws OptionError when the class does not exist, or there are more than 10
 */
export function classHistogramPicture(
  evidence: NeuronEvidence,
  options: ClassHistogramOptions = {},
): PictureSpec {
  const { rows = "tokens", rowsOf = "", scale = "log" } = options;
  const { bins, hookPoint, neuron } = evidence;
  const groups = groupsOf(evidence, options.positive);
  // All values equal: one bar at that value.
  const width = bins.width > 0 ? bins.width : 1;
  const shares = groups.map(({ counts, rows: total }) => counts.map((count) => count / total));
  const least = Math.min(...shares.flat().filter((share) => share > 0));
  const floor = scale === "log" ? 10 ** Math.floor(Math.log10(least) - 1e-9) : 0;
  const names = groups.map(
    ({ name, mean, rows: total }) =>
      `${name}: mean ${mean.toFixed(2).replace("-", "−")}, ${total.toLocaleString("en")} ${rows}`,
  );
  const values = groups.flatMap((_, g) => {
    const steps = shares[g].map((share, b) => ({ from: bins.start + b * width, share }));
    // The outline starts and ends on the axis.
    const outline = [
      { from: bins.start, share: 0 },
      ...steps,
      { from: bins.start + steps.length * width, share: 0 },
    ];
    return outline.map(({ from, share }, order): JsonObject => ({
      series: names[g],
      order,
      activation: from,
      share: Math.max(share, floor),
    }));
  });
  const share = {
    field: "share",
    type: "quantitative",
    title: `share of the class’s ${rows}`,
    axis: scale === "log" ? { format: "~p", values: powers(floor) } : { format: "~%", tickCount: 5 },
    scale: { type: scale, domain: [floor, scale === "log" ? 1 : Math.max(...shares.flat())] },
  };
  const form = { field: "series", type: "nominal", title: null, scale: { domain: names } };
  return pictureSpec({
    title: `Activations of neuron ${neuron} of ${hookPoint}, by class`,
    subtitle: [rowsOf, `share of each class’s ${rows}${scale === "log" ? ", on a logarithmic scale" : ""}`],
    description: `Histograms of the activations of neuron ${neuron} of ${hookPoint}, one for each class${rowsOf && `; ${rowsOf}`}. ${groups
      .map(
        ({ name, mean, least: low, largest }) =>
          `${name}: mean ${spoken(mean)}, from ${spoken(low)} to ${spoken(largest)}.`,
      )
      .join(" ")}`,
    height: 240,
    values,
    encoding: {
      x: {
        field: "activation",
        type: "quantitative",
        title: "activation",
        scale: { zero: false, nice: false },
        axis: { grid: false, tickCount: 8 },
      },
      color: { ...form, legend: { orient: "top", direction: "vertical", symbolType: "stroke", offset: 4 } },
    },
    layer: [
      ...(groups.length <= 2
        ? [
            {
              mark: { type: "area", interpolate: "step-after", style: "histogram" },
              encoding: { y: { ...share, stack: null }, y2: { datum: floor } },
            },
          ]
        : []),
      {
        mark: { type: "line", interpolate: "step-after", style: "outline" },
        encoding: { y: share, strokeDash: form, order: { field: "order", type: "quantitative" } },
      },
    ],
  });
}

/** Powers of ten up to 1. */
function powers(least: number): number[] {
  const count = Math.round(-Math.log10(least));
  return Array.from({ length: count + 1 }, (_, i) => 10 ** (i - count));
}

interface Group {
  readonly name: string;
  readonly rows: number;
  readonly mean: number;
  readonly least: number;
  readonly largest: number;
  readonly counts: readonly number[];
}

function groupsOf({ classes, disambiguation }: NeuronEvidence, asked: ClassValue | undefined): Group[] {
  const labelled = classes.filter(({ label }) => label !== null);
  if (labelled.length === 0) {
    throw new EmptyDataError("The evidence has no rows with classes.", "Gather it with labels.");
  }
  const compared = disambiguation.map(({ positive }) => positive);
  const positive = asked ?? (compared.length === 1 ? compared[0] : undefined);
  if (positive === undefined) {
    if (labelled.length <= MOST_SERIES) return labelled.map((own) => together(String(own.label), [own]));
    throw new OptionError(
      `There are ${labelled.length} classes.`,
      "Set one against the others: give `positive`.",
    );
  }
  const own = labelled.filter(({ label }) => label === positive);
  const others = labelled.filter(({ label }) => label !== positive);
  if (own.length === 0) {
    throw new OptionError(
      `The class ${String(positive)} has no rows.`,
      `Use one of ${labelled.map(({ label }) => String(label)).join(", ")}.`,
    );
  }
  return [together(String(positive), own), ...(others.length > 0 ? [together("others", others)] : [])];
}

function together(name: string, classes: readonly ClassActivations[]): Group {
  const rows = classes.reduce((sum, of) => sum + of.rows, 0);
  return {
    name,
    rows,
    mean: classes.reduce((sum, of) => sum + of.mean * (of.rows / rows), 0),
    least: Math.min(...classes.map(({ least }) => least)),
    largest: Math.max(...classes.map(({ largest }) => largest)),
    counts: classes[0].counts.map((_, b) => classes.reduce((sum, of) => sum + of.counts[b], 0)),
  };
}
