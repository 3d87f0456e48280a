/** One process at a time: a lock that a crash does not leave stuck. */
import { randomUUID } from "node:crypto";
import { open, readdir, readFile, rm, stat, utimes } from "node:fs/promises";
import { hostname } from "node:os";
import { basename, dirname, join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";

/** Who holds a lock. */
export interface LockOwner {
  readonly pid: number;
  readonly host: string;
  /** When the process began, so that another one with its number is told apart; null where that is not known. */
  readonly began: string | null;
}

export interface FileLock {
  /** Whether the lock is still this one's: someone may have taken it for left behind. */
  held(): Promise<boolean>;
  release(): Promise<void>;
}

/** Milliseconds between signs of life, and without one after which a process elsewhere counts as gone. */
const BEAT = 15_000;
const GONE = 60_000;

/** Milliseconds that a process may take from creating a claim to writing it. */
const UNWRITTEN = 5_000;

/** Times that a claim is made anew beside one that is younger than so many milliseconds: both may be withdrawn. */
const TRIES = 6;
const YOUNG = 1_000;

/** Claims of this process. */
const mine = new Set<string>();

/** A claim that someone has, or that nobody has any more. */
interface Claim {
  readonly path: string;
  /** Undefined where the file does not say. */
  readonly owner: LockOwner | undefined;
  /** Milliseconds since its last sign of life. */
  readonly age: number;
}

/**
 * Takes the lock on a file. Everybody who wants it puts a claim beside the file, under a name of its own, and looks at the
 * others' only then: of two, at least one sees the other and withdraws. Claims whose owner is gone are taken away.
 *
 * @returns the lock, or its owner where someone has it; undefined for one who has not written a name yet
 */
export async function lockFile(file: string): Promise<FileLock | { readonly owner: LockOwner | undefined }> {
  const self: LockOwner = { pid: process.pid, host: hostname(), began: await beginOf(process.pid) };
  for (let tries = 1; ; tries++) {
    const token = randomUUID();
    const path = `${file}.lock-${token}`;
    await claim(path, self);
    let other: Claim | undefined;
    try {
      other = await otherClaim(file, path);
    } catch (error) {
      await withdraw(path);
      throw error;
    }
    if (!other) return heldLock(path);
    await withdraw(path);
    if (tries === TRIES || other.age > YOUNG) return { owner: other.owner };
    // For different times: the claim's name is random.
    await sleep(parseInt(token.slice(0, 4), 16) % (20 * tries));
  }
}

async function claim(path: string, self: LockOwner): Promise<void> {
  const file = await open(path, "wx");
  mine.add(path);
  try {
    await file.writeFile(JSON.stringify(self));
  } catch (error) {
    await withdraw(path);
    throw error;
  } finally {
    await file.close();
  }
}

async function withdraw(path: string): Promise<void> {
  mine.delete(path);
  await rm(path, { force: true });
}

function heldLock(path: string): FileLock {
  const beat = setInterval(() => {
    const now = new Date();
    // A sign that did not get through is made up for by the next.
    utimes(path, now, now).catch(() => undefined);
  }, BEAT);
  beat.unref();
  return {
    held: () =>
      stat(path).then(
        () => mine.has(path),
        () => false,
      ),
    async release() {
      clearInterval(beat);
      await withdraw(path);
    },
  };
}

/** A claim beside one's own whose owner lives; the others are taken away. */
async function otherClaim(file: string, own: string): Promise<Claim | undefined> {
  const prefix = `${basename(file)}.lock-`;
  let found: Claim | undefined;
  for (const name of await readdir(dirname(file))) {
    const path = join(dirname(file), name);
    if (!name.startsWith(prefix) || path === own) continue;
    const other = await readClaim(path);
    if (!other) continue;
    if (await lives(other)) found ??= other;
    else await rm(path, { force: true });
  }
  return found;
}

/** Undefined where it has been withdrawn. */
async function readClaim(path: string): Promise<Claim | undefined> {
  try {
    const text = await readFile(path, "utf8");
    return { path, owner: parseOwner(text), age: Date.now() - (await stat(path)).mtimeMs };
  } catch (error) {
    if (codeOf(error) === "ENOENT") return undefined;
    throw error;
  }
}

function parseOwner(text: string): LockOwner | undefined {
  try {
    const { pid, host, began } = JSON.parse(text) as Partial<LockOwner>;
    return typeof pid === "number" && typeof host === "string"
      ? { pid, host, began: began ?? null }
      : undefined;
  } catch {
    return undefined;
  }
}

async function lives({ path, owner, age }: Claim): Promise<boolean> {
  if (!owner) return age < UNWRITTEN;
  if (owner.host !== hostname()) return age < GONE;
  if (owner.pid === process.pid) return mine.has(path);
  try {
    process.kill(owner.pid, 0);
  } catch (error) {
    // No right to signal it: it is there.
    return codeOf(error) === "EPERM";
  }
  const began = await beginOf(owner.pid);
  return began !== ENDED && (began === null || owner.began === null || began === owner.began);
}

/** In place of a beginning: the process has ended, and only waits for its parent to take note. */
const ENDED = "ended";

/** When a process began, in words of the system; null where it does not say. */
async function beginOf(pid: number): Promise<string | null> {
  try {
    const [boot, status] = await Promise.all([
      readFile("/proc/sys/kernel/random/boot_id", "utf8"),
      readFile(`/proc/${pid}/stat`, "utf8"),
    ]);
    // The name, second and in brackets, may hold anything; behind it come the state and, twentieth, the start.
    const fields = status.slice(status.lastIndexOf(")") + 2).split(" ");
    return fields[0] === "Z" || fields[0] === "X" ? ENDED : `${boot.trim()} ${fields[19]}`;
  } catch {
    return null;
  }
}

function codeOf(error: unknown): string | undefined {
  return error instanceof Error ? (error as NodeJS.ErrnoException).code : undefined;
}
