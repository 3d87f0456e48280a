/** Where files of a hub are kept between runs: what the disk of Node and a browser's Cache Storage have in common. */
import type { ByteSource } from "../io/byte-source.ts";

/** A file of a model as the hub describes it. */
export interface HubFile {
  /** Path in the repository, e.g. `model.safetensors`. */
  readonly path: string;
  readonly commit: string;
  /** Without quotes. The hub's content hash where {@link HubFile.checksum} is known. */
  readonly etag: string;
  /** Bytes; undefined where the hub did not say. */
  readonly size: number | undefined;
  /** `sha256` of the bytes (large files), or `git` for the SHA-1 of a git blob (small ones). */
  readonly checksum: { readonly kind: "sha256" | "git"; readonly hex: string } | undefined;
}

/** A running digest. */
export interface Digest {
  update(bytes: Uint8Array): void;
  /** Lower-case hexadecimal digits. */
  hex(): string;
}

/** A stored file that must be closed. */
export interface StoredFile extends ByteSource {
  close(): Promise<void>;
}

/** A file on its way in. It can be opened only after `commit()`. */
export interface Draft {
  /** Bytes that it has, those of an earlier try included. */
  readonly size: number;
  append(bytes: Uint8Array): Promise<void>;
  /** Bytes [start, end) of what it has. */
  read(start: number, end: number): Promise<Uint8Array>;
  /** Forgets the bytes. */
  restart(): Promise<void>;
  /** Puts the file in its place. */
  commit(): Promise<void>;
  /** Keeps the bytes for another try, and lets others have the file. After `commit` it only does the latter. */
  close(): Promise<void>;
}

/** Files of one model on one hub. */
export interface HubStore {
  /** The commit that a branch or tag stood for when it was last looked up. */
  readReference(revision: string): Promise<string | undefined>;
  writeReference(revision: string, commit: string): Promise<void>;
  /** A complete file; `"absent"` when the commit is known to lack it; undefined when nothing is known. */
  open(commit: string, path: string): Promise<StoredFile | "absent" | undefined>;
  noteAbsent(commit: string, path: string): Promise<void>;
  /**
   * Waits for other downloads of the same file, then starts one, or goes on with one that was cut off. Undefined when the
   * file is complete.
   */
  draft(file: HubFile, signal: AbortSignal | undefined): Promise<Draft | undefined>;
  digest(kind: "sha1" | "sha256"): Digest;
}
