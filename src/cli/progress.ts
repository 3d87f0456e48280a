/** How far a command is: a bar with rate and time left on a terminal, now and then a plain line elsewhere. */
import { columnsOf, hasColours, type Environment, type OutputStream } from "./terminal.ts";
import { counted, widthOf } from "./table.ts";

/** At most ten pictures a second. */
const REDRAW_MILLISECONDS = 100;
/** Plain lines are for logs: what is over sooner needs none. */
const LINE_MILLISECONDS = 10_000;
const BAR = { most: 30, least: 8 } as const;

export interface ProgressOptions {
  readonly stream: OutputStream;
  readonly env: Environment;
  /** Nothing is written at all. */
  readonly quiet?: boolean;
  /** Milliseconds; for tests. */
  readonly now?: () => number;
}

/** Shows the progress of one stage after another. Nothing of a bar is left behind after {@link clear}. */
export class Progress {
  readonly #stream: OutputStream;
  readonly #quiet: boolean;
  readonly #live: boolean;
  readonly #dim: boolean;
  readonly #now: () => number;
  #stage = "";
  /** Of this stage; what was done before it began, by a run that is taken up again, has no part in the rate. */
  #start = { at: 0, done: 0 };
  #drawnAt = -Infinity;
  #drawn = false;

  constructor({ stream, env, quiet = false, now = () => performance.now() }: ProgressOptions) {
    this.#stream = stream;
    this.#quiet = quiet;
    this.#live = stream.isTTY === true && env["TERM"] !== "dumb";
    this.#dim = hasColours(stream, env);
    this.#now = now;
  }

  /**
   * Says that `done` of `total` units of a stage are finished.
   * @param unit what is counted, in the plural; bytes are shown as MB
   * @param detail what is under way, where there is room for it
   */
  show(stage: string, done: number, total: number, unit: string, detail?: string): void {
    if (this.#quiet) return;
    const now = this.#now();
    if (stage !== this.#stage) {
      this.#stage = stage;
      this.#start = { at: now, done: done < total ? done : 0 };
      // A log has no line before a stage has taken its time; a bar shows at once.
      if (!this.#live) this.#drawnAt = now;
    }
    if (now - this.#drawnAt < (this.#live ? REDRAW_MILLISECONDS : LINE_MILLISECONDS)) return;
    this.#drawnAt = now;
    const share = total > 0 ? Math.min(1, done / total) : 1;
    const parts = this.#describe(share, done, total, unit, now);
    if (detail !== undefined) parts.push(detail);
    if (!this.#live) {
      this.#stream.write(`${stage}: ${parts.join(", ")}\n`);
      return;
    }
    this.#stream.write(`\r\x1b[2K${this.#line(stage, share, parts, detail !== undefined)}`);
    this.#drawn = true;
  }

  /** Writes a line; a bar goes out of its way. */
  note(line: string): void {
    if (this.#quiet) return;
    this.clear();
    this.#stream.write(`${line}\n`);
  }

  /** Removes the bar. */
  clear(): void {
    if (this.#drawn) this.#stream.write("\r\x1b[2K");
    this.#drawn = false;
    this.#drawnAt = this.#live ? -Infinity : this.#now();
  }

  #describe(share: number, done: number, total: number, unit: string, now: number): string[] {
    const seconds = (now - this.#start.at) / 1000;
    const since = done - this.#start.done;
    const bytes = unit === "bytes";
    const amount = bytes
      ? `${megabytes(done)} of ${megabytes(total)} MB`
      : `${counted(done)} of ${counted(total)} ${unit}`;
    const parts = [`${Math.floor(100 * share)} %`, amount];
    if (seconds > 0.5 && since > 0) {
      const rate = since / seconds;
      parts.push(bytes ? `${megabytes(rate)} MB/s` : rateText(rate));
      parts.push(`${duration((total - done) / rate)} left`);
    }
    return parts;
  }

  /** One line that is narrower than the window, in which a full line would break and leave its first half behind. */
  #line(stage: string, share: number, parts: readonly string[], detailed: boolean): string {
    const room = columnsOf(this.#stream) - 1;
    const kept = [...parts];
    const text = (): string => `${stage}  ${kept.join("  ")}`;
    if (detailed && widthOf(text()) + BAR.least + 2 > room) kept.pop();
    // The amount is what is missed least.
    if (widthOf(text()) > room && kept.length > 1) kept.splice(1, 1);
    while (widthOf(text()) > room && kept.length > 1) kept.pop();
    const cells = Math.min(BAR.most, room - widthOf(text()) - 2);
    if (cells < BAR.least) return cut(text(), room);
    const filled = Math.round(share * cells);
    const rest = "░".repeat(cells - filled);
    const bar = "█".repeat(filled) + (this.#dim ? `\x1b[2m${rest}\x1b[22m` : rest);
    return `${stage}  ${bar}  ${kept.join("  ")}`;
  }
}

function cut(text: string, columns: number): string {
  let kept = "";
  for (const character of text) {
    if (widthOf(kept + character) > columns) break;
    kept += character;
  }
  return kept;
}

function megabytes(bytes: number): string {
  return (bytes / 1e6).toFixed(1);
}

/** A number per second, or per minute or hour where that would be nothing. */
function rateText(perSecond: number): string {
  const [rate, unit] =
    perSecond >= 0.1
      ? [perSecond, "s"]
      : perSecond >= 0.1 / 60
        ? [60 * perSecond, "min"]
        : [3600 * perSecond, "h"];
  return `${rate < 10 ? rate.toFixed(1) : counted(Math.round(rate))}/${unit}`;
}

/** Seconds as people say them: "42 s", "3 min 20 s", "2 h 5 min". */
export function duration(seconds: number): string {
  const whole = Math.ceil(seconds);
  if (whole < 60) return `${whole} s`;
  const minutes = Math.floor(whole / 60);
  if (minutes < 60) return `${minutes} min ${whole % 60} s`;
  return `${Math.floor(minutes / 60)} h ${minutes % 60} min`;
}
