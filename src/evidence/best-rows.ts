/** The rows with the largest values of a stream, in bounded memory. */

interface Kept<Row> {
  readonly value: number;
  readonly group: unknown;
  readonly row: Row;
}

/**
 * The `most` best rows of all that were offered, with no more than `perGroup` of one group: those that going down the list of all rows,
 * best first and of equals the earlier first, would take. One row in, one row out keeps it exact: what is turned
 * away is worse than `most` rows that are kept, or than `perGroup` of its own group, and rows only give way to better ones.
 */
export class BestRows<Row> {
  readonly #sign: 1 | -1;
  readonly #most: number;
  readonly #perGroup: number;
  /** Best first. */
  readonly #kept: Kept<Row>[] = [];

  /** @param order whether large values are best, or small ones */
  constructor(order: "largest" | "smallest", most: number, perGroup: number) {
    this.#sign = order === "largest" ? 1 : -1;
    this.#most = most;
    this.#perGroup = perGroup;
  }

  /** False when a row of this value is certainly not among the best: a quick look before {@link offer}. */
  takes(value: number): boolean {
    const kept = this.#kept;
    if (kept.length < this.#most) return true;
    return kept.length > 0 && this.#sign * value > this.#sign * kept[kept.length - 1].value;
  }

  /** Takes a row if it is among the best so far; `row` is called only then. */
  offer(value: number, group: unknown, row: () => Row): void {
    if (!this.takes(value)) return;
    const kept = this.#kept;
    const key = this.#sign * value;
    const full = kept.length === this.#most;
    let ofGroup = 0;
    let worst = -1;
    for (let i = 0; i < kept.length; i++) {
      if (kept[i].group !== group) continue;
      ofGroup++;
      worst = i;
    }
    if (ofGroup < this.#perGroup) {
      if (full) kept.pop();
    } else {
      if (key <= this.#sign * kept[worst].value) return;
      kept.splice(worst, 1);
    }
    let at = kept.length;
    while (at > 0 && key > this.#sign * kept[at - 1].value) at--;
    kept.splice(at, 0, { value, group, row: row() });
  }

  /** Best first. */
  rows(): Row[] {
    return this.#kept.map(({ row }) => row);
  }
}
