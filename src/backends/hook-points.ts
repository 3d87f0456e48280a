/** Hook points as every backend reads them: their layer, their width, and what a model must compute to serve them. */
import { OptionError } from "../errors.ts";
import type { HookName, HookPoint, TransformerSpec } from "./backend.ts";

const PATTERN =
  /^blocks\.(0|[1-9]\d*)\.(mlp\.hook_pre|mlp\.hook_pre_linear|mlp\.hook_post|hook_resid_pre|hook_resid_mid|hook_resid_post|hook_attn_out)$/;

/**
 * Layer and name of a hook point of this model.
 *
 * `hook_resid_mid` is the residual stream between attention and MLP. A model with a parallel residual has no such
 * point (TransformerLens defines none either), so asking for it is an error there. Neither has an MLP without a gate
 * `mlp.hook_pre_linear`.
 *
 * @throws OptionError when the model has no such hook point
 */
export function parseHookPoint(spec: TransformerSpec, point: string): { layer: number; name: HookName } {
  const match = PATTERN.exec(point);
  if (!match) {
    throw new OptionError(
      `"${point}" is not a hook point.`,
      'Use names such as "blocks.3.mlp.hook_post"; also mlp.hook_pre, mlp.hook_pre_linear, ' +
        "hook_resid_pre, hook_resid_mid, hook_resid_post and hook_attn_out.",
    );
  }
  const layer = Number(match[1]);
  const name = match[2] as HookName;
  if (layer >= spec.layers) {
    throw new OptionError(
      `The hook point "${point}" is beyond the model's ${spec.layers} layers.`,
      `Layers run from 0 to ${spec.layers - 1}.`,
    );
  }
  if (name === "hook_resid_mid" && spec.residual.parallel) {
    throw new OptionError(
      `"${point}" does not exist: attention and MLP of this model read the same input in parallel.`,
      "Read hook_resid_pre, hook_attn_out or hook_resid_post instead.",
    );
  }
  if (name === "mlp.hook_pre_linear" && !spec.mlp.gated) {
    throw new OptionError(
      `"${point}" does not exist: the MLP of this model has no gate.`,
      "Read mlp.hook_pre instead.",
    );
  }
  return { layer, name };
}

/** Length of a hook point's rows: dMlp for the MLP's neurons, dModel for the residual stream. */
export function hookWidth(spec: TransformerSpec, point: HookPoint): number {
  return parseHookPoint(spec, point).name.startsWith("mlp.") ? spec.dMlp : spec.dModel;
}

/**
 * The width of every hook point asked for, each once, in the order given.
 * @throws OptionError when there are none, or a point does not exist
 */
export function hookWidths(spec: TransformerSpec, points: readonly HookPoint[]): Map<HookPoint, number> {
  // JavaScript callers may leave them out.
  if (!(points as readonly HookPoint[] | undefined)?.length) {
    throw new OptionError(
      "There are no hook points.",
      'Give at least one, such as "blocks.3.mlp.hook_post".',
    );
  }
  return new Map(Array.from(points, (point) => [point, hookWidth(spec, point)]));
}

/**
 * The hook points asked for, by layer; the array is as long as the pass is deep (no entry beyond the deepest layer
 * unless logits are wanted, which need all of them).
 * @throws OptionError when nothing is asked for or a point does not exist
 */
export function hookPointsByLayer(
  spec: TransformerSpec,
  points: readonly HookPoint[],
  logits: boolean,
): ReadonlySet<HookName>[] {
  if (points.length === 0 && !logits) {
    throw new OptionError("The forward pass has nothing to return.", "Give a hook point or ask for logits.");
  }
  const layers: Set<HookName>[] = [];
  for (const point of points) {
    const { layer, name } = parseHookPoint(spec, point);
    while (layers.length <= layer) layers.push(new Set());
    layers[layer].add(name);
  }
  while (logits && layers.length < spec.layers) layers.push(new Set());
  return layers;
}
