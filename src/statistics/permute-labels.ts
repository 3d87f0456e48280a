/** Permuted labels that respect the dependence of rows: by row, by whole group, or within groups. */
import { UNLABELLED } from "../data/labels.ts";
import { OneClassError, OptionError } from "../errors.ts";
import type { Random } from "../random.ts";

/**
 * What is exchanged when labels are permuted:
 * - `"rows"`: labels of all rows; right where rows are independent
 * - `"groups"`: labels of whole groups, each of which has one label
 * - `"within-groups"`: labels of rows of the same group, for groups that hold both classes
 */
export type PermutationScheme = "rows" | "groups" | "within-groups";

const SCHEMES: readonly PermutationScheme[] = ["rows", "groups", "within-groups"];

/** Units that exchange labels among one another. */
interface Stratum {
  readonly units: Uint32Array;
  /** Units with the rarer label, and which one that is. */
  readonly rarer: number;
  readonly label: 0 | 1;
}

/** Draws permutations of one label set. */
export class LabelPermuter {
  readonly scheme: PermutationScheme;
  /** Units that are exchanged: rows, or groups. */
  readonly units: number;
  /** Rows whose label may change; rows of groups with one class keep theirs when labels move within groups. */
  readonly movableRows: number;
  /** log10 of the number of distinct label sets that permutations give. */
  readonly log10Arrangements: number;
  readonly #labels: Uint8Array;
  readonly #strata: readonly Stratum[];
  /** Rows of each unit; a unit is a row where this is undefined. */
  readonly #rowsOf: readonly (readonly number[])[] | undefined;

  /**
   * @param labels 0, 1 or `UNLABELLED` per row
   * @param groupOf group number of each row
   * @param scheme default: `"rows"` without groups, `"groups"` where every group has one label, else `"within-groups"`
   * @throws OptionError when the scheme needs groups that are not there, or groups of one label
   * @throws OneClassError when no permutation changes the labels
   */
  constructor(labels: Uint8Array, groupOf: Uint32Array | undefined, scheme?: PermutationScheme) {
    if (scheme !== undefined && !SCHEMES.includes(scheme)) {
      throw new OptionError(
        `The permutation scheme ${JSON.stringify(scheme)} is not known.`,
        'Use "rows", "groups" or "within-groups".',
      );
    }
    this.#labels = labels;
    const rows = Array.from(labels.keys()).filter((i) => labels[i] !== UNLABELLED);
    const groups = new Map<number, number[]>();
    for (const i of groupOf ? rows : []) {
      const group = groups.get(groupOf![i]);
      if (group) group.push(i);
      else groups.set(groupOf![i], [i]);
    }
    const mixed = [...groups.values()].filter((group) => group.some((i) => labels[i] !== labels[group[0]]));
    this.scheme = scheme ?? (!groupOf ? "rows" : mixed.length === 0 ? "groups" : "within-groups");
    if (this.scheme !== "rows" && !groupOf) {
      throw new OptionError(
        `Labels cannot be permuted by "${this.scheme}": the rows have no groups.`,
        'Give groups, or permute by "rows".',
      );
    }
    switch (this.scheme) {
      case "rows":
        this.#strata = [stratum(rows, (i) => labels[i])];
        break;
      case "groups":
        if (mixed.length > 0) {
          throw new OptionError(
            `${mixed.length} of ${groups.size} groups hold rows of both classes, so groups have no label to exchange.`,
            'Permute "within-groups", or leave the scheme out.',
          );
        }
        this.#rowsOf = [...groups.values()];
        this.#strata = [stratum([...this.#rowsOf.keys()], (g) => labels[this.#rowsOf![g][0]])];
        break;
      case "within-groups":
        this.#strata = mixed.map((group) => stratum(group, (i) => labels[i]));
    }
    this.units = this.#strata.reduce((sum, { units }) => sum + units.length, 0);
    this.movableRows = this.#rowsOf ? rows.length : this.units;
    this.log10Arrangements = this.#strata.reduce(
      (sum, { units, rarer }) => sum + log10Choose(units.length, rarer),
      0,
    );
    if (this.log10Arrangements === 0) {
      throw new OneClassError(
        this.scheme === "within-groups"
          ? "No group holds rows of both classes, so no permutation within groups changes a label."
          : "All rows have one class, so no permutation changes a label.",
        this.scheme === "within-groups"
          ? 'Permute by "groups", or add groups that hold both classes.'
          : "Add rows of the other class.",
      );
    }
  }

  /** A permutation of the labels. */
  permute(random: Random): Uint8Array {
    const out = this.#labels.slice();
    const rowsOf = this.#rowsOf;
    for (const { units, rarer, label } of this.#strata) {
      const order = units.slice();
      for (let u = 0; u < order.length; u++) {
        // The first `rarer` places of a Fisher–Yates shuffle are a random subset: the others need no order.
        if (u < rarer) {
          const other = u + random.below(order.length - u);
          [order[u], order[other]] = [order[other], order[u]];
        }
        const drawn = u < rarer ? label : 1 - label;
        if (!rowsOf) out[order[u]] = drawn;
        else for (const i of rowsOf[order[u]]) out[i] = drawn;
      }
    }
    return out;
  }
}

function stratum(units: readonly number[], labelOf: (unit: number) => number): Stratum {
  const positive = units.reduce((sum, unit) => sum + labelOf(unit), 0);
  const label = 2 * positive <= units.length ? 1 : 0;
  return { units: Uint32Array.from(units), rarer: label === 1 ? positive : units.length - positive, label };
}

/** log10 of n!/(m!·(n − m)!). */
function log10Choose(n: number, m: number): number {
  let sum = 0;
  for (let i = 1; i <= m; i++) sum += Math.log10((n - m + i) / i);
  return sum;
}
