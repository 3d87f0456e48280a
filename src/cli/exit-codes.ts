/** How errors are told, and the exit codes that they end in. */
import { CommanderError } from "commander";
import { HubError, SparseProbeError, type ErrorCode } from "../errors.ts";
import { JournalError } from "../sweeps/journal.ts";
import { Interruption, ReaderGone } from "./interruption.ts";

/** Failures while working; every other error of the library is about what it was given. */
const WHILE_WORKING: readonly ErrorCode[] = [
  "backend-unavailable",
  "device-lost",
  "device",
  "out-of-memory",
  "disposed",
  "hub",
  "missing-package",
];

/** 0 done, 1 failed while working, 2 wrong usage or input, 130 interrupted. */
export function exitCodeOf(error: unknown): number {
  if (error instanceof Interruption) return error.exitCode;
  if (error instanceof ReaderGone) return 0;
  if (error instanceof CommanderError) return 2;
  if (error instanceof HubError) return error.reason === "not-found" ? 2 : 1;
  if (error instanceof JournalError) return error.reason === "study" || error.reason === "damaged" ? 2 : 1;
  if (error instanceof SparseProbeError) return WHILE_WORKING.includes(error.code) ? 1 : 2;
  return 1;
}

/** What is written to standard error; undefined: nothing. */
export function describeError(error: unknown, verbose: boolean): string | undefined {
  if (error instanceof ReaderGone || error instanceof CommanderError) return undefined;
  if (error instanceof Interruption) return "Interrupted.";
  if (!(error instanceof Error)) return `error: ${String(error)}`;
  return `error: ${verbose ? withCauses(error) : error.message}`;
}

function withCauses(error: Error): string {
  const own = error.stack ?? error.message;
  return error.cause instanceof Error ? `${own}\ncaused by ${withCauses(error.cause)}` : own;
}
