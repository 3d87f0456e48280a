/** Several exclusive classes, each against the rest; what fits them is loaded at the first call. */
import type { LabelsInput } from "../data/labels.ts";
import type { ActivationSource } from "./activation-source.ts";
import type { FittedMulticlass } from "./fitted-multiclass.ts";
import type { FitOptions } from "./sparse-probe.ts";

/** A fitted multiclass probe: one k-sparse probe per class. */
export type MulticlassProbe = FittedMulticlass;

/** How multiclass probes are made; see {@link MulticlassProbe}. */
export interface MulticlassProbes {
  /**
   * Fits one k-sparse probe per class against all other rows, all in one batch.
   *
   * @param acts activations [rows × neurons], on the host, a device, in a GPU buffer or in blocks
   * @param labels the class of each row: names, numbers or booleans
   * @param k neurons that each class's probe reads, 1 … number of neurons
   * @param options as for `SparseProbe.fit`
   * @returns a probe whose `unfitted` lists the classes that could not be fitted, such as those without training rows
   * @throws ShapeError | EmptyDataError | NonFiniteError | LabelError | OneClassError | SupportSizeError | OptionError
   */
  fit(
    acts: ActivationSource,
    labels: LabelsInput,
    k: number,
    options?: Omit<FitOptions, "positive" | "feature">,
  ): Promise<MulticlassProbe>;

  /**
   * Fits several k in one batch; the supports of a class are nested.
   *
   * @param ks support sizes. Default: `K_SCHEDULE`, as far as there are neurons
   * @returns one probe per k, in the order given
   * @throws what `fit` throws
   */
  path(
    acts: ActivationSource,
    labels: LabelsInput,
    ks?: readonly number[],
    options?: Omit<FitOptions, "positive" | "feature">,
  ): Promise<MulticlassProbe[]>;

  /**
   * Reads what `toJSON` wrote, after `JSON.parse`.
   * @throws FormatError naming the first field that is wrong
   */
  fromJSON(json: unknown): Promise<MulticlassProbe>;
}

/**
 * Tells several exclusive classes apart by one k-sparse probe per class against the rest; the highest decision wins.
 *
 * @example
 * const probe = await MulticlassProbe.fit(activations, languages, 4, { rows: train });
 * const { macroF1, confusion } = probe.evaluate(activations, languages, { rows: test });
 */
export const MulticlassProbe: MulticlassProbes = Object.freeze<MulticlassProbes>({
  async fit(acts, labels, k, options) {
    const [probe] = await MulticlassProbe.path(acts, labels, [k], options);
    return probe;
  },

  async path(acts, labels, ks, options = {}) {
    const { fitMulticlass } = await import("./fitted-multiclass.ts");
    return fitMulticlass(acts, labels, ks, options);
  },

  async fromJSON(json) {
    const { readMulticlass } = await import("./fitted-multiclass.ts");
    return readMulticlass(json);
  },
});
