/**
 * Files of a hub on disk, in the layout of the Python package `huggingface_hub`, so that what one has downloaded the other finds:
 *
 *   models--org--name/refs/<branch>                  a commit
 *   models--org--name/blobs/<etag>                   contents
 *   models--org--name/snapshots/<commit>/<file>      links to them
 *   models--org--name/.no_exist/<commit>/<file>      files that the commit lacks
 *
 * A download is a file of its own, `blobs/<etag>.<host>.<process>.<number>.part`. It is verified before it is renamed, and renaming
 * is also how a process takes over what another one left: one of several succeeds.
 */
import { createHash } from "node:crypto";
import { mkdir, open, readdir, readFile, rename, rm, stat, statfs, symlink, utimes } from "node:fs/promises";
import { homedir, hostname } from "node:os";
import { dirname, join, relative } from "node:path";
import { HubError } from "../errors.ts";
import { pause } from "../hub/hub-client.ts";
import type { Digest, Draft, HubFile, HubStore, StoredFile } from "../hub/hub-store.ts";
import { oneAtATime } from "../hub/one-at-a-time.ts";
import { fileSource, writeFileAtomically } from "./files.ts";

/** How long a download of another process may rest before it counts as given up. */
const GIVEN_UP = 10 * 60_000;
/** How often a waiting process looks again. */
const LOOK_AGAIN = 250;

const HOST = hostname().replace(/[^\w-]/g, "-");
let drafts = 0;

/** Where `huggingface_hub` keeps its files, unless the environment says otherwise. */
export function defaultCacheFolder(): string {
  const env = process.env;
  const home = env["HF_HOME"] ?? join(env["XDG_CACHE_HOME"] ?? join(homedir(), ".cache"), "huggingface");
  return env["HF_HUB_CACHE"] ?? env["HUGGINGFACE_HUB_CACHE"] ?? join(home, "hub");
}

export class HubCache implements HubStore {
  readonly #folder: string;

  /** @param cacheFolder the folder of all models */
  constructor(cacheFolder: string, model: string) {
    this.#folder = join(cacheFolder, `models--${model.replace("/", "--")}`);
  }

  async readReference(revision: string): Promise<string | undefined> {
    return (await textOf(join(this.#folder, "refs", revision)))?.trim();
  }

  async writeReference(revision: string, commit: string): Promise<void> {
    if ((await this.readReference(revision)) === commit) return;
    await this.#writeText(join(this.#folder, "refs", revision), commit);
  }

  noteAbsent(commit: string, path: string): Promise<void> {
    return this.#writeText(join(this.#folder, ".no_exist", commit, path), "");
  }

  async open(commit: string, path: string): Promise<StoredFile | "absent" | undefined> {
    const place = this.#place(commit, path);
    if (await exists(place)) return fileSource(place);
    return (await exists(join(this.#folder, ".no_exist", commit, path))) ? "absent" : undefined;
  }

  async draft(file: HubFile, signal: AbortSignal | undefined): Promise<Draft | undefined> {
    const blob = join(this.#folder, "blobs", blobName(file));
    const place = this.#place(file.commit, file.path);
    const release = await oneAtATime(blob, signal);
    try {
      await guard(this.#folder, () => mkdir(dirname(blob), { recursive: true }));
      const part = await this.#ownPart(file, blob, signal);
      const rest = (file.size ?? 0) - (part === undefined ? Infinity : ((await sizeOf(part)) ?? 0));
      if (rest > 0) await assertRoom(this.#folder, rest);
      if (part !== undefined) return await this.#openDraft(part, blob, place, release);
      await guard(this.#folder, () => link(blob, place));
      release();
      return undefined;
    } catch (error) {
      release();
      throw error;
    }
  }

  digest(kind: "sha1" | "sha256"): Digest {
    const hash = createHash(kind);
    return { update: (bytes) => void hash.update(bytes), hex: () => hash.digest("hex") };
  }

  #place(commit: string, path: string): string {
    return join(this.#folder, "snapshots", commit, path);
  }

  async #writeText(path: string, text: string): Promise<void> {
    await guard(this.#folder, async () => {
      await mkdir(dirname(path), { recursive: true });
      await writeFileAtomically(path, new TextEncoder().encode(text));
    });
  }

  /** A part of this process's own, taken over from a download that ended if there is one; undefined when the blob is there. */
  async #ownPart(file: HubFile, blob: string, signal: AbortSignal | undefined): Promise<string | undefined> {
    const own = `${blob}.${HOST}.${process.pid}.${drafts++}.part`;
    for (;;) {
      signal?.throwIfAborted();
      const size = await sizeOf(blob);
      if (size !== undefined && (file.size === undefined || size === file.size)) return undefined;
      const others = await partsOf(blob);
      const left = others.filter((part) => part.givenUp).sort((a, b) => b.size - a.size);
      for (const part of left) {
        try {
          await rename(part.path, own);
          const rest = left.filter((other) => other !== part);
          await Promise.all(rest.map((other) => rm(other.path, { force: true })));
          return own;
        } catch {
          // Another process was faster.
        }
      }
      if (left.length === 0 && others.length === 0) return own;
      await pause(LOOK_AGAIN, signal);
    }
  }

  async #openDraft(part: string, blob: string, place: string, release: () => void): Promise<Draft> {
    const folder = this.#folder;
    const handle = await guard(folder, () => open(part, "a+"));
    let { size } = await handle.stat();
    // From now on the part is in use.
    await utimes(part, new Date(), new Date());
    let state: "open" | "placed" | "closed" = "open";
    return {
      get size() {
        return size;
      },
      append: (bytes) =>
        guard(folder, async () => {
          for (let at = 0; at < bytes.length;) {
            const { bytesWritten } = await handle.write(bytes, at, bytes.length - at);
            at += bytesWritten;
            size += bytesWritten;
          }
        }),
      read: async (start, end) => {
        const out = new Uint8Array(end - start);
        for (let at = 0; at < out.length;) {
          const { bytesRead } = await handle.read(out, at, out.length - at, start + at);
          if (bytesRead === 0) return out.subarray(0, at);
          at += bytesRead;
        }
        return out;
      },
      restart: async () => {
        await handle.truncate(0);
        size = 0;
      },
      commit: () =>
        guard(folder, async () => {
          await handle.sync();
          await handle.close();
          state = "placed";
          await rename(part, blob);
          await link(blob, place);
        }),
      close: async () => {
        if (state === "closed") return;
        try {
          if (state === "open") {
            await handle.close();
            if (size === 0) await rm(part, { force: true });
          }
        } finally {
          state = "closed";
          release();
        }
      },
    };
  }
}

/** Makes the snapshot's file: a link to the blob, or the blob itself where the system has no links for everyone. */
async function link(blob: string, place: string): Promise<void> {
  if (await exists(place)) return;
  await mkdir(dirname(place), { recursive: true });
  const fresh = `${place}.${process.pid}.${drafts++}.link`;
  try {
    await symlink(relative(dirname(place), blob), fresh);
  } catch {
    await rename(blob, place);
    return;
  }
  await rename(fresh, place);
}

/** The content's hash as the hub gives it; where there is none, a name that no other file has. */
function blobName({ checksum, commit, path, etag }: HubFile): string {
  return checksum?.hex ?? createHash("sha256").update(`${commit}\n${path}\n${etag}`).digest("hex");
}

interface Part {
  readonly path: string;
  readonly size: number;
  /** Nobody is writing to it: its process has ended, or rests for too long. */
  readonly givenUp: boolean;
}

async function partsOf(blob: string): Promise<Part[]> {
  const folder = dirname(blob);
  const prefix = `${blob.slice(folder.length + 1)}.`;
  const parts: Part[] = [];
  for (const name of await readdir(folder)) {
    if (!name.startsWith(prefix) || !name.endsWith(".part")) continue;
    const path = join(folder, name);
    const found = await stat(path).catch(() => undefined);
    if (!found) continue;
    const [host, pid] = name.slice(prefix.length).split(".");
    const here = host === HOST;
    // A part of this very process is one that it has closed: `oneAtATime` has let us in.
    const alive = here ? Number(pid) !== process.pid && isRunning(Number(pid)) : true;
    parts.push({ path, size: found.size, givenUp: !alive || Date.now() - found.mtimeMs > GIVEN_UP });
  }
  return parts;
}

function isRunning(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code !== "ESRCH";
  }
}

async function exists(path: string): Promise<boolean> {
  return (await sizeOf(path)) !== undefined;
}

async function sizeOf(path: string): Promise<number | undefined> {
  return (await stat(path).catch(() => undefined))?.size;
}

async function textOf(path: string): Promise<string | undefined> {
  return readFile(path, "utf8").catch(() => undefined);
}

/** Turns what a disk refuses into an error that says what to do. */
async function guard<T>(folder: string, write: () => Promise<T>): Promise<T> {
  try {
    return await write();
  } catch (cause) {
    const { code } = cause as NodeJS.ErrnoException;
    if (code === "ENOSPC" || code === "EDQUOT" || code === "EFBIG") {
      throw new HubError(
        "storage",
        `There is no room for the model in ${folder} (${code}).`,
        "Free space, or choose another folder with `cacheFolder` or HF_HUB_CACHE; the download goes on where it stopped.",
        { cause },
      );
    }
    throw new HubError(
      "storage",
      `${folder} cannot be written: ${String(cause)}.`,
      "Check the permissions, or choose another folder with `cacheFolder` or HF_HUB_CACHE.",
      { cause },
    );
  }
}

/**
 * Refuses a download that the disk has no room for, before it fills it.
 * @throws HubError "storage"
 */
async function assertRoom(folder: string, bytes: number): Promise<void> {
  const disk = await statfs(folder).catch(() => undefined);
  if (!disk) return;
  const free = disk.bavail * disk.bsize;
  if (bytes <= free) return;
  throw new HubError(
    "storage",
    `The rest of the download has ${bytes} bytes, and the disk of ${folder} has room for ${free}.`,
    "Free space, or choose another folder with `cacheFolder` or HF_HUB_CACHE.",
  );
}
