/** Ctrl-C, step by step. */
import { EventEmitter } from "node:events";
import { expect, it } from "vitest";
import { exitCodeOf } from "../../src/cli/exit-codes.ts";
import { Interruption, listenForInterruption, type SignalSource } from "../../src/cli/interruption.ts";

function listen() {
  const source = new EventEmitter() as EventEmitter & SignalSource;
  const controller = new AbortController();
  const killed: number[] = [];
  const clock = { now: 0 };
  const stop = listenForInterruption(
    source,
    controller,
    (code) => killed.push(code),
    () => clock.now,
  );
  return { source, controller, killed, clock, stop };
}

it("aborts at the first and kills at the second", () => {
  const { source, controller, killed, clock } = listen();
  source.emit("SIGINT");
  expect(controller.signal.reason).toBeInstanceOf(Interruption);
  expect(exitCodeOf(controller.signal.reason)).toBe(130);
  expect(killed).toEqual([]);
  clock.now = 300;
  source.emit("SIGINT");
  expect(killed).toEqual([130]);
});

it("takes the terminal's signal and the copy that npx passes on for one", () => {
  const { source, killed, clock } = listen();
  source.emit("SIGINT");
  clock.now = 15;
  source.emit("SIGINT");
  expect(killed).toEqual([]);
});

it("treats a request to terminate alike, with its own code", () => {
  const { source, controller, killed, clock } = listen();
  source.emit("SIGTERM");
  expect(exitCodeOf(controller.signal.reason)).toBe(143);
  clock.now = 1000;
  source.emit("SIGINT");
  expect(killed).toEqual([130]);
});

it("listens no longer than it is asked to", () => {
  const { source, controller, stop } = listen();
  stop();
  source.emit("SIGINT");
  expect(controller.signal.aborted).toBe(false);
  expect(source.listenerCount("SIGINT") + source.listenerCount("SIGTERM")).toBe(0);
});
