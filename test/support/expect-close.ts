import { expect } from "vitest";

/**
 * Every value within its bound of the wanted one; a failure names the worst index, both values, the bound and the share
 * of it that was used.
 */
export function expectClose(
  got: ArrayLike<number>,
  want: ArrayLike<number>,
  bound: number | ((index: number) => number),
  what = "value",
): void {
  expect(got.length, `${what}: length`).toBe(want.length);
  let worst = 0;
  let at = 0;
  for (let i = 0; i < want.length; i++) {
    const limit = typeof bound === "number" ? bound : bound(i);
    const off = Math.abs(got[i] - want[i]);
    const used = off === 0 ? 0 : off / limit;
    if (!(used <= worst)) {
      worst = used;
      at = i;
    }
  }
  const limit = typeof bound === "number" ? bound : bound(at);
  expect(
    worst <= 1,
    `${what}[${at}]: got ${got[at]}, want ${want[at]}, bound ${limit}, share used ${worst}`,
  ).toBe(true);
}
