/** What ablating neurons does to the loss, class by class. */
import type { AblationEffect, AblationRow } from "../../interventions/ablation-effect.ts";
import { EmptyDataError } from "../../errors.ts";
import { pictureSpec, type JsonObject, type PictureSpec } from "./picture-spec.ts";
import { spoken } from "./row-points.ts";

export interface AblationPictureOptions {
  /** What the texts are, for the subtitle: model, dataset. */
  readonly rowsOf?: string | undefined;
}

const ROW = 26;

/**
 * The effect of an ablation on the loss, in nats per token, for each class and for all texts: estimate and interval, and the effects
 * of random neurons of the same scale where the ablation was measured with controls.
 *
 * @throws EmptyDataError when no class has an effect
 */
export function ablationPicture(effect: AblationEffect, options: AblationPictureOptions = {}): PictureSpec {
  const { neurons, hookPoint, how, level, draws } = effect;
  const rows = [...effect.classes, effect.overall].filter(({ effect: { estimate } }) => estimate !== null);
  if (rows.length === 0) {
    throw new EmptyDataError("No class has an effect.", "Ablate over texts with tokens that count.");
  }
  const nameOf = ({ class: name }: AblationRow): string => (name === null ? "all texts" : String(name));
  const ordered = [...effect.classes]
    .filter((row) => rows.includes(row))
    .sort((a, b) => b.effect.estimate! - a.effect.estimate!);
  if (rows.includes(effect.overall)) ordered.push(effect.overall);
  const names = ordered.map(nameOf);
  const values: JsonObject[] = ordered.map((row) => ({
    name: nameOf(row),
    kind: "ablation",
    estimate: row.effect.estimate,
    low: row.effect.low,
    high: row.effect.high,
    note: [
      `${row.effect.estimate! < 0 ? "−" : "+"}${Math.abs(row.effect.estimate!).toPrecision(2)}`,
      ...(row.controls === null || row.controls.effect.pValue === null
        ? []
        : [`p ${row.controls.effect.pValue.toPrecision(2)}`]),
    ].join(" · "),
  }));
  const controls = draws.flatMap((draw): JsonObject[] =>
    ordered.flatMap((row) => {
      const value = row.class === null ? draw.effect : draw.classes[effect.classes.indexOf(row)];
      return value === null ? [] : [{ name: nameOf(row), kind: "random neurons", estimate: value }];
    }),
  );
  const what = neurons.length === 1 ? `neuron ${neurons[0]}` : `${neurons.length} neurons`;
  const percent = `${spoken(100 * level)} %`;
  const y = {
    field: "name",
    type: "nominal",
    sort: null,
    title: null,
    scale: { domain: names },
    axis: { grid: false },
  };
  const x = { field: "estimate", type: "quantitative", title: "change of the loss (nats per token)" };
  return pictureSpec({
    title: `Effect of ablating ${what} of ${hookPoint}, by class`,
    subtitle: [
      options.rowsOf ?? "",
      `${describe(how)} · bars: ${percent} intervals over ${effect.units} ${effect.unit}s${controls.length > 0 ? ` · ticks: ${draws.length} sets of random neurons` : ""}`,
    ],
    description: `Change of the loss in nats per token when ${what} of ${hookPoint} is ablated${options.rowsOf === undefined ? "" : `; ${options.rowsOf}`}. ${ordered
      .map(
        (row) =>
          `${nameOf(row)}: ${spoken(row.effect.estimate)} (${percent} interval ${spoken(row.effect.low)} to ${spoken(row.effect.high)}).`,
      )
      .join(" ")}`,
    height: ROW * names.length,
    values: [...values, ...controls],
    encoding: { y },
    layer: [
      {
        // One line, not one for each row.
        data: { values: [{}] },
        mark: { type: "rule", style: "zero" },
        encoding: { x: { datum: 0 }, y: { value: 0 }, y2: { value: "height" } },
      },
      ...(controls.length > 0
        ? [
            {
              transform: [{ filter: "datum.kind === 'random neurons'" }],
              mark: { type: "tick", style: "control", bandSize: 12 },
              encoding: { x },
            },
          ]
        : []),
      {
        transform: [{ filter: "isValid(datum.low) && isValid(datum.high)" }],
        mark: { type: "rule", style: "effect-interval" },
        encoding: { x: { ...x, field: "low" }, x2: { field: "high" } },
      },
      {
        transform: [{ filter: "datum.kind === 'ablation'" }],
        mark: { type: "point", style: "effect" },
        encoding: { x },
      },
      {
        transform: [{ filter: "datum.kind === 'ablation'" }],
        mark: { type: "text", style: "note", align: "left", dx: 8 },
        encoding: { x: { value: "width" }, text: { field: "note" } },
      },
    ],
  });
}

function describe(how: AblationEffect["how"]): string {
  if (how === "zero") return "set to 0";
  if (how === "mean") return "set to their mean";
  if ("scale" in how) return `multiplied by ${spoken(how.scale)}`;
  return typeof how.value === "number" ? `set to ${spoken(how.value)}` : "set to given values";
}
