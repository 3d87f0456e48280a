/** The files of a model on a hub, for `loadModel`: found, fetched and opened as they are asked for. */
import type { CallOptions } from "../backends/backend.ts";
import type { TensorInfo, TensorSource } from "../data/tensor.ts";
import { FormatError, HubError } from "../errors.ts";
import type { ByteSource } from "../io/byte-source.ts";
import { openSafetensors } from "../io/safetensors.ts";
import { openShardedSafetensors } from "../io/sharded-safetensors.ts";
import { readWeightMap } from "../io/shards.ts";
import { fetchFile } from "./fetch-file.ts";
import { HubClient, isCommit } from "./hub-client.ts";
import type { HubModel, HubOptions } from "./hub-options.ts";
import type { HubFile, HubStore, StoredFile } from "./hub-store.ts";
import { remoteSource } from "./remote-source.ts";

const SINGLE = "model.safetensors";
const INDEX = "model.safetensors.index.json";
/** Weights that only unpickling could read, which may run code. */
const PICKLED = ["pytorch_model.bin", "pytorch_model.bin.index.json"];
/** More than any tokenizer or index has. */
const MOST_JSON_BYTES = 2 ** 28;

/** @param openStore where the files of the model at this address are kept */
export async function openModel(
  name: string,
  options: HubOptions,
  openStore: (client: HubClient) => Promise<HubStore>,
): Promise<HubModel> {
  options.signal?.throwIfAborted();
  const client = new HubClient(name, options);
  const store = await openStore(client);
  const commit = await resolveCommit(client, store, options.offline ?? false);
  return new Repository(client, store, commit, options);
}

/** @throws HubError when the revision is not known to the hub, nor, without a connection, to the cache */
async function resolveCommit(client: HubClient, store: HubStore, offline: boolean): Promise<string> {
  const { revision } = client;
  if (isCommit(revision)) return revision;
  if (!offline) {
    try {
      const config = await client.describe("config.json", revision);
      if (!config) throw absent(client, "config.json");
      await store.writeReference(revision, config.commit);
      return config.commit;
    } catch (error) {
      const unreachable = error instanceof HubError && error.reason === "network";
      const known = unreachable ? await store.readReference(revision) : undefined;
      if (known === undefined || !isCommit(known)) throw error;
      return known;
    }
  }
  const known = await store.readReference(revision);
  if (known !== undefined && isCommit(known)) return known;
  throw notCached(client.what);
}

function notCached(what: string): HubError {
  return new HubError(
    "network",
    `${what} is not in the cache, and the hub is not to be asked.`,
    "Load it once without `offline` (in Node, without HF_HUB_OFFLINE).",
  );
}

function absent(client: HubClient, path: string): HubError {
  return new HubError(
    "not-found",
    `${client.what} has no ${path}.`,
    "A model needs config.json, tokenizer.json and weights in safetensors form: check the name and the revision.",
  );
}

class Repository implements HubModel {
  readonly name: string;
  readonly commit: string;
  readonly #client: HubClient;
  readonly #store: HubStore;
  readonly #options: HubOptions;
  readonly #opened = new Map<string, StoredFile>();

  constructor(client: HubClient, store: HubStore, commit: string, options: HubOptions) {
    this.name = `${client.name}@${commit}`;
    this.commit = commit;
    this.#client = client;
    this.#store = store;
    this.#options = options;
  }

  async json(name: string): Promise<unknown> {
    const text = await this.#text(name);
    if (text === undefined) {
      if (name === "tokenizer_config.json") return undefined;
      throw absent(this.#client, name);
    }
    try {
      return JSON.parse(text) as unknown;
    } catch (cause) {
      throw new FormatError(
        `${name} of ${this.name} is not JSON: ${String(cause)}.`,
        "Tell the model's owner.",
        {
          cause,
        },
      );
    }
  }

  /** Names, types and shapes of the tensors. Of weights that are not in the cache only the headers are fetched. */
  async headers(options: CallOptions = {}): Promise<ReadonlyMap<string, TensorInfo>> {
    const open = async (path: string): Promise<ByteSource> => {
      const stored = await this.#open(path);
      if (stored) return stored;
      const file = await this.#describe(path);
      if (!file) throw missingShard(this.name, path);
      return remoteSource(this.#client, file);
    };
    return (await this.#weights(open, options)).tensors;
  }

  async tensors(options: CallOptions = {}): Promise<TensorSource> {
    const files = await this.#weightFiles();
    const described: HubFile[] = [];
    for (const path of files) {
      if (await this.#open(path)) continue;
      const file = await this.#describe(path);
      if (!file) throw missingShard(this.name, path);
      described.push(file);
    }
    const total = described.reduce((sum, { size = 0 }) => sum + size, 0);
    let before = 0;
    for (const file of described) {
      await fetchFile(this.#client, this.#store, file, (bytes) =>
        this.#options.onProgress?.(before + bytes, Math.max(total, before + bytes)),
      );
      before += file.size ?? 0;
    }
    const open = async (path: string): Promise<ByteSource> => {
      const stored = await this.#open(path);
      if (stored) return stored;
      throw missingShard(this.name, path);
    };
    return this.#weights(open, options);
  }

  async close(): Promise<void> {
    const files = [...this.#opened.values()];
    this.#opened.clear();
    await Promise.all(files.map((file) => file.close()));
  }

  async #weights(open: (path: string) => Promise<ByteSource>, options: CallOptions): Promise<TensorSource> {
    const index = await this.#index();
    return index === undefined
      ? openSafetensors(await open(SINGLE), options)
      : openShardedSafetensors(index, open, options);
  }

  /** Paths of the files that hold the weights. */
  async #weightFiles(): Promise<readonly string[]> {
    const index = await this.#index();
    if (index === undefined) return [SINGLE];
    return [...new Set(readWeightMap(index).values())];
  }

  /** Text of the index of the shards; undefined where one file holds everything. */
  async #index(): Promise<string | undefined> {
    if ((await this.#open(SINGLE)) || (await this.#describe(SINGLE))) return undefined;
    const index = await this.#text(INDEX);
    if (index !== undefined) return index;
    for (const path of PICKLED) {
      if (!(await this.#describe(path))) continue;
      throw new HubError(
        "no-safetensors",
        `${this.name} has its weights in ${path} alone, a pickle: reading it could run any code in it.`,
        "Look for a revision or a copy in safetensors form (many models have one as `refs/pr/…`), or convert it and use `loadModelFolder`.",
      );
    }
    throw absent(this.#client, `${SINGLE} or ${INDEX}`);
  }

  async #text(path: string): Promise<string | undefined> {
    let stored = await this.#open(path);
    if (!stored) {
      const file = await this.#describe(path);
      if (!file) return undefined;
      if ((file.size ?? 0) <= MOST_JSON_BYTES) await fetchFile(this.#client, this.#store, file);
      stored = await this.#open(path);
    }
    if (!stored || stored.size > MOST_JSON_BYTES) {
      throw new FormatError(`${path} of ${this.name} is too large.`, "Check the model's files on the hub.");
    }
    return new TextDecoder().decode(await stored.read(0, stored.size));
  }

  /** A file that the store has. */
  async #open(path: string): Promise<StoredFile | undefined> {
    const known = this.#opened.get(path);
    if (known) return known;
    const file = await this.#store.open(this.commit, path);
    if (file === undefined || file === "absent") return undefined;
    this.#opened.set(path, file);
    return file;
  }

  /** What the hub says of a file; undefined when there is none, which is noted. */
  async #describe(path: string): Promise<HubFile | undefined> {
    if ((await this.#store.open(this.commit, path)) === "absent") return undefined;
    if (this.#options.offline) throw notCached(`${path} of ${this.name}`);
    const file = await this.#client.describe(path, this.commit);
    if (!file) await this.#store.noteAbsent(this.commit, path);
    return file;
  }
}

function missingShard(name: string, path: string): HubError {
  return new HubError(
    "not-found",
    `${name} has no ${path}, which its index names.`,
    "The upload may not be complete: ask the model's owner, or use another revision.",
  );
}
