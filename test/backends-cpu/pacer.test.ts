import { describe, expect, it } from "vitest";
import { Pacer } from "../../src/backends/cpu/pacer.ts";

describe("a pacer", () => {
  it("lets timers run and stops with the signal's reason", async () => {
    const controller = new AbortController();
    const pacer = new Pacer(controller.signal);
    setTimeout(() => controller.abort(new Error("stop")), 0);
    const end = performance.now() + 10_000;
    await expect(
      (async () => {
        while (performance.now() < end) await pacer.turn();
      })(),
    ).rejects.toThrow("stop");
    expect(() => new Pacer(controller.signal)).toThrow("stop");
  });

  it("is due after 30 ms of work, whoever did it", async () => {
    await new Pacer(undefined).turn();
    expect(new Pacer(undefined).due).toBe(false);
    const start = performance.now();
    while (performance.now() - start < 31);
    // A second call that follows at once does not start a new 30 ms.
    const next = new Pacer(undefined);
    expect(next.due).toBe(true);
    await next.turn();
    expect(next.due).toBe(false);
  });
});
