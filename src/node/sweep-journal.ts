/** A sweep's journal on disk: JSON Lines that survive a crash at any moment. */
import { createHash } from "node:crypto";
import { open, realpath } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import { SparseProbeError } from "../errors.ts";
import { JournalError, type JournalHeader, type JournalUnit, type SweepJournal } from "../sweeps/journal.ts";
import { readRowLine } from "../sweeps/rows-jsonl.ts";
import type { SweepRow } from "../sweeps/sweep-row.ts";
import { lockFile, type FileLock } from "./file-lock.ts";
import type { Closable } from "./files.ts";

const SCHEMA = "sparseprobe/sweep-journal";
const VERSION = 1;

/** How the file begins. */
const BEGINNING = `{"schema":"${SCHEMA}","version":${VERSION},`;

/** How the line before a unit's rows begins, and the one behind them. Rows begin otherwise. */
const UNIT = '{"unit":';
const FINISHED = '{"finished":';

const NEWLINE = 0x0a;

/** Bytes that are read or written at once. */
const PIECE = 2 ** 20;

/** The file, as far as a journal needs one: tests put a full disk in its place. */
export interface JournalFile {
  size(): Promise<number>;
  /** @returns the bytes read; 0 at the end */
  read(into: Uint8Array, at: number): Promise<number>;
  /** @returns the bytes written */
  write(bytes: Uint8Array, at: number): Promise<number>;
  truncate(size: number): Promise<void>;
  /** Returns when everything is on the disk. */
  sync(): Promise<void>;
  close(): Promise<void>;
}

/**
 * Opens a journal, or starts one where there is no file. It is locked for this process until `close()`; the lock of a process
 * that has crashed is no obstacle. A unit that was being written when a process was stopped is cut off, to be done again.
 *
 * @example
 * const journal = await openSweepJournal("study.journal.jsonl");
 * try {
 *   for await (const row of sweep(study, { journal })) …
 * } finally {
 *   await journal.close();
 * }
 *
 * @throws JournalError `"locked"` when another process has it, `"storage"` when the file cannot be opened or written, `"damaged"`
 * when it is no journal or a finished unit in it has been changed
 */
export async function openSweepJournal(path: string): Promise<SweepJournal & Closable> {
  const { lock, file } = await openLocked(path);
  try {
    const journal = new FileJournal(path, file, lock);
    await journal.readIndex();
    return journal;
  } catch (error) {
    await file.close();
    await lock.release();
    throw error;
  }
}

async function openLocked(path: string): Promise<{ lock: FileLock; file: JournalFile }> {
  const refuse = (cause: unknown): JournalError =>
    new JournalError(
      "storage",
      `The journal ${path} cannot be opened for writing: ${String(cause)}.`,
      "Give a path in a folder that exists and may be written to.",
      { cause },
    );
  let lock: FileLock | { readonly owner: { readonly pid: number; readonly host: string } | undefined };
  try {
    // One lock for one file, whatever it is called by.
    const folder = await realpath(dirname(path));
    const name = await realpath(path).catch(() => join(folder, basename(path)));
    lock = await lockFile(name);
  } catch (cause) {
    throw refuse(cause);
  }
  if ("owner" in lock) {
    const { owner } = lock;
    throw new JournalError(
      "locked",
      `The journal ${path} is in use${owner ? ` by process ${owner.pid} on ${owner.host}` : ""}.`,
      "Wait until it has finished, or use another journal.",
    );
  }
  try {
    return { lock, file: await openFile(path) };
  } catch (cause) {
    await lock.release();
    throw refuse(cause);
  }
}

async function openFile(path: string): Promise<JournalFile> {
  let handle;
  try {
    handle = await open(path, "r+");
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "ENOENT") throw error;
    handle = await open(path, "wx+");
    await syncFolder(dirname(path));
  }
  const stat = await handle.stat();
  if (!stat.isFile()) {
    await handle.close();
    throw new Error("it is not a file");
  }
  return {
    size: async () => (await handle.stat()).size,
    read: async (into, at) => (await handle.read(into, 0, into.length, at)).bytesRead,
    write: async (bytes, at) => (await handle.write(bytes, 0, bytes.length, at)).bytesWritten,
    truncate: (size) => handle.truncate(size),
    sync: () => handle.datasync(),
    close: () => handle.close(),
  };
}

/** A new file's name is on the disk when its folder is. Not every system can do that. */
async function syncFolder(folder: string): Promise<void> {
  try {
    const handle = await open(folder, "r");
    try {
      await handle.sync();
    } finally {
      await handle.close();
    }
  } catch {
    // The file is there, if not yet for good.
  }
}

/** A finished unit and where its rows lie. */
interface Entry {
  readonly unit: JournalUnit;
  readonly start: number;
  readonly end: number;
}

/** See {@link openSweepJournal}. Call `readIndex()` first. */
export class FileJournal implements SweepJournal, Closable {
  readonly #path: string;
  readonly #file: JournalFile;
  readonly #lock: FileLock;
  readonly #entries = new Map<string, Entry>();
  #digest: string | undefined;
  /** Bytes that are known to be good. */
  #end = 0;
  #closed: Promise<void> | undefined;

  constructor(path: string, file: JournalFile, lock: FileLock) {
    this.#path = path;
    this.#file = file;
    this.#lock = lock;
  }

  /** Reads which units are there, checks them, and cuts off what was not finished. */
  async readIndex(): Promise<void> {
    try {
      await this.#scan();
      if ((await this.#file.size()) > this.#end) await this.#file.truncate(this.#end);
    } catch (cause) {
      if (cause instanceof SparseProbeError) throw cause;
      throw this.#unreadable(cause);
    }
  }

  async open(header: JournalHeader): Promise<readonly JournalUnit[]> {
    if (this.#digest === undefined) {
      const { digest, study } = header;
      await this.#write([`${JSON.stringify({ schema: SCHEMA, version: VERSION, digest, study })}\n`]);
      this.#digest = digest;
    }
    if (this.#digest !== header.digest) {
      throw new JournalError(
        "study",
        `The journal ${this.#path} is of another study: models, datasets or options differ.`,
        "Give each study a journal of its own, or bring the study back to what it was.",
      );
    }
    return Array.from(this.#entries.values(), ({ unit }) => unit);
  }

  async *read(key: string): AsyncGenerator<SweepRow> {
    const entry = this.#entries.get(key);
    if (!entry) return;
    try {
      for await (const { text, start } of this.#lines(entry.start, entry.end)) {
        yield readRowLine(text, `The row at byte ${start}`);
      }
    } catch (cause) {
      if (cause instanceof SparseProbeError) throw this.#damaged(cause.message, cause);
      throw this.#unreadable(cause);
    }
  }

  async append(unit: Omit<JournalUnit, "rows">, rows: readonly SweepRow[]): Promise<void> {
    const entry = { ...unit, rows: rows.length };
    const hash = createHash("sha256");
    const head = `${UNIT}${JSON.stringify(entry)}}\n`;
    const start = this.#end + Buffer.byteLength(head);
    function* lines(): Generator<string> {
      yield head;
      for (const row of rows) {
        const line = `${JSON.stringify(row)}\n`;
        hash.update(line);
        yield line;
      }
      yield `${finishedLine(unit.key, hash.digest("hex"))}\n`;
    }
    const tail = await this.#write(lines());
    this.#entries.set(unit.key, { unit: entry, start, end: tail });
  }

  close(): Promise<void> {
    return (this.#closed ??= (async () => {
      try {
        await this.#file.close();
      } finally {
        await this.#lock.release();
      }
    })());
  }

  /**
   * Appends lines, all or none of them.
   * @returns where the last line begins
   */
  async #write(lines: Iterable<string>): Promise<number> {
    const before = this.#end;
    try {
      if (!(await this.#lock.held())) {
        throw new JournalError(
          "locked",
          `Another process has taken over the journal ${this.#path}.`,
          "Let one process work on a journal at a time.",
        );
      }
      let at = before;
      let last = before;
      let piece = "";
      const flush = async (): Promise<void> => {
        const bytes = Buffer.from(piece);
        for (let done = 0; done < bytes.length;) {
          const written = await this.#file.write(bytes.subarray(done), at + done);
          if (written === 0) throw new Error("nothing was written");
          done += written;
        }
        at += bytes.length;
        piece = "";
      };
      for (const line of lines) {
        last = at + Buffer.byteLength(piece);
        piece += line;
        if (piece.length >= PIECE) await flush();
      }
      await flush();
      await this.#file.sync();
      this.#end = at;
      return last;
    } catch (cause) {
      if (cause instanceof SparseProbeError) throw cause;
      // Where even this fails, the next one to open the journal cuts it.
      await this.#file.truncate(before).catch(() => undefined);
      throw new JournalError(
        "storage",
        `The journal ${this.#path} cannot be written: ${String(cause)}.`,
        "Make room or mend the disk and start again: what was finished before is kept.",
        { cause },
      );
    }
  }

  /** Checks the file from its first to its last line. */
  async #scan(): Promise<void> {
    const size = await this.#file.size();
    let unit: { readonly at: number; readonly of: JournalUnit | undefined } | undefined;
    let rows = 0;
    let start = 0;
    let hash = createHash("sha256");
    /** Where the first thing that is wrong began, and whether a finished unit has been seen behind it. */
    let broken: number | undefined;
    let finishedBehind = false;
    for await (const line of this.#lines(0, size)) {
      const { text, start: at, end, complete } = line;
      if (at === 0) {
        this.#readHeader(text, complete);
        if (complete) this.#end = end;
        continue;
      }
      if (broken !== undefined) {
        // A unit behind the broken one has begun to be written: that one had been finished, then.
        if (finishedBehind) throw this.#damaged(`The unit at byte ${broken} is not as it was written.`);
        finishedBehind = text.startsWith(FINISHED) && complete;
        continue;
      }
      if (!complete) {
        broken = unit?.at ?? at;
      } else if (!unit) {
        const of = parseUnit(text);
        if (!of) broken = at;
        unit = { at, of };
        rows = 0;
        start = end;
        hash = createHash("sha256");
      } else if (text.startsWith(FINISHED)) {
        const { of } = unit;
        const right = of && rows === of.rows && text === finishedLine(of.key, hash.digest("hex"));
        if (right) {
          this.#entries.set(of.key, { unit: of, start, end: at });
          this.#end = end;
          unit = undefined;
        } else {
          broken = unit.at;
          finishedBehind = true;
        }
      } else {
        hash.update(text).update("\n");
        rows++;
      }
    }
  }

  #readHeader(text: string, complete: boolean): void {
    if (!complete && BEGINNING.startsWith(text.slice(0, BEGINNING.length))) return;
    const { digest } = (text.startsWith(BEGINNING) ? parseObject(text) : undefined) ?? {};
    if (typeof digest !== "string") {
      throw new JournalError(
        "damaged",
        `${this.#path} is not the journal of a sweep, or of another version.`,
        "Give the path of a journal, or of a file that is not there yet.",
      );
    }
    this.#digest = digest;
  }

  /** Lines of a part of the file, without their breaks. The last may be incomplete. */
  async *#lines(
    from: number,
    to: number,
  ): AsyncGenerator<{ text: string; start: number; end: number; complete: boolean }> {
    const piece = Buffer.alloc(Math.min(PIECE, to - from));
    let parts: Buffer[] = [];
    let start = from;
    for (let at = from; at < to;) {
      const read = await this.#file.read(piece.subarray(0, Math.min(piece.length, to - at)), at);
      if (read === 0) break;
      let done = 0;
      for (;;) {
        const end = piece.subarray(0, read).indexOf(NEWLINE, done);
        if (end < 0) break;
        parts.push(piece.subarray(done, end));
        const text = Buffer.concat(parts).toString("utf8");
        parts = [];
        done = end + 1;
        yield { text, start, end: at + done, complete: true };
        start = at + done;
      }
      // The piece is read into again.
      if (done < read) parts.push(Buffer.from(piece.subarray(done, read)));
      at += read;
    }
    if (parts.length > 0) {
      const text = Buffer.concat(parts).toString("utf8");
      yield { text, start, end: to, complete: false };
    }
  }

  #damaged(what: string, cause?: unknown): JournalError {
    return new JournalError(
      "damaged",
      `The journal ${this.#path} is damaged. ${what}`,
      "Bring back a copy of it, or start anew with another journal.",
      { cause },
    );
  }

  #unreadable(cause: unknown): JournalError {
    return new JournalError(
      "storage",
      `The journal ${this.#path} cannot be read: ${String(cause)}.`,
      "Check the disk and the permissions.",
      { cause },
    );
  }
}

function finishedLine(key: string, sha256: string): string {
  return `${FINISHED}${JSON.stringify(key)},"sha256":"${sha256}"}`;
}

function parseUnit(text: string): JournalUnit | undefined {
  const { unit } = (text.startsWith(UNIT) ? parseObject(text) : undefined) ?? {};
  if (typeof unit !== "object" || unit === null) return undefined;
  const { key, group, hookPoints, dataset, rows } = unit as Partial<JournalUnit>;
  if (typeof key !== "string" || typeof group !== "string" || typeof dataset !== "string") return undefined;
  if (!Array.isArray(hookPoints) || typeof rows !== "number") return undefined;
  return { key, group, hookPoints, dataset, rows };
}

function parseObject(text: string): Record<string, unknown> | undefined {
  try {
    const value: unknown = JSON.parse(text);
    return typeof value === "object" && value !== null ? (value as Record<string, unknown>) : undefined;
  } catch {
    return undefined;
  }
}
