/** Where a command writes: results to stdout, everything else to stderr. */

/** A stream as far as the command line uses it; `process.stdout` is one. */
export interface OutputStream {
  readonly isTTY?: boolean;
  readonly columns?: number;
  write(text: string): boolean;
}

/** What colours and widths depend on; `process.env` is one. */
export type Environment = Readonly<Record<string, string | undefined>>;

/** Width of text where the terminal does not say. */
const DEFAULT_COLUMNS = 80;

/** Whether escape sequences may be written to a stream: to a terminal, unless it is dumb or NO_COLOR is set (no-color.org). */
export function hasColours(stream: OutputStream, env: Environment): boolean {
  return stream.isTTY === true && env["TERM"] !== "dumb" && (env["NO_COLOR"] ?? "") === "";
}

export function columnsOf(stream: OutputStream): number {
  const { columns } = stream;
  return columns !== undefined && columns > 0 ? columns : DEFAULT_COLUMNS;
}

/**
 * Text from outside as it may be shown on a terminal: control characters, which could move the cursor or worse, and marks that turn the
 * direction of writing become visible. Line breaks become ⏎, tabs ⇥.
 */
export function visible(text: string): string {
  return text.replace(/[\p{Cc}\p{Cf}\u2028\u2029]/gu, (character) => {
    if (character === "\n") return "⏎";
    if (character === "\t") return "⇥";
    // Joins emoji and letters, and changes nothing else.
    if (character === "\u200D" || character === "\u200C") return character;
    const code = character.codePointAt(0)!;
    if (code < 0x20) return String.fromCodePoint(0x2400 + code);
    return `\\u{${code.toString(16)}}`;
  });
}
