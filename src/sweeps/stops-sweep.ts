/** What ends a sweep, and what only fails some of its rows. */
import { DeviceLostError, DisposedError } from "../errors.ts";
import { JournalError } from "./journal.ts";

/** An abort, a device that is gone, a journal that cannot be written: nothing that follows could succeed. */
export function stopsSweep(error: unknown, signal: AbortSignal | undefined): boolean {
  return (
    signal?.aborted === true ||
    error instanceof DeviceLostError ||
    error instanceof DisposedError ||
    error instanceof JournalError
  );
}
