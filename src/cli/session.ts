/** What a command works with: where to write, when to stop. */
import type { Readable } from "node:stream";
import { EmptyDataError } from "../errors.ts";
import type { Progress } from "./progress.ts";
import type { Environment, OutputStream } from "./terminal.ts";

export interface Session {
  readonly stdin: Readable;
  readonly stdout: OutputStream;
  readonly env: Environment;
  /** Fires when the user interrupts, or nobody reads the result any more. */
  readonly signal: AbortSignal;
  readonly progress: Progress;
  /** The result as JSON instead of tables. */
  readonly json: boolean;
}

/** Writes lines of the result. */
export function print(session: Session, lines: readonly string[]): void {
  session.progress.clear();
  session.stdout.write(lines.map((line) => `${line}\n`).join(""));
}

/** Writes one JSON document, on one line. */
export function printJson(session: Session, value: unknown): void {
  print(session, [toJson(value)]);
}

/** JSON of plain data; long lists may be typed arrays. */
export function toJson(value: unknown, indent?: number): string {
  const text = JSON.stringify(
    value,
    (_, part: unknown) =>
      ArrayBuffer.isView(part) && !(part instanceof DataView) ? Array.from(part as Float64Array) : part,
    indent,
  ) as string | undefined;
  if (text === undefined) throw new EmptyDataError("There is nothing to write.", "Give a value.");
  return text;
}
