/** Where on a hub a model lies, and how its files are fetched. */
import type { CallOptions } from "../backends/backend.ts";
import type { LoadModelOptions } from "../model/language-model.ts";
import type { ModelFiles } from "../model/model-files.ts";

/** Options of `openHubModel`. */
export interface HubOptions extends CallOptions {
  /** Branch, tag, `refs/pr/…` or commit. Default `"main"`. */
  readonly revision?: string | undefined;
  /**
   * Access token for gated and private models. It is sent to the endpoint alone, never to a host that it redirects to, and is
   * not part of any message. Default in Node: `HF_TOKEN` or `HUGGING_FACE_HUB_TOKEN` of the environment; elsewhere none.
   */
  readonly token?: string | undefined;
  /** The hub's address. Default `https://huggingface.co`, and in Node `HF_ENDPOINT` of the environment if it is set. */
  readonly endpoint?: string | undefined;
  /** Used in place of the global `fetch`. */
  readonly fetch?: ((url: string, init: RequestInit) => Promise<Response>) | undefined;
  /** Tries in a row that may fail without a new byte before the download is given up. Default 5. */
  readonly retries?: number | undefined;
  /** Milliseconds without an answer or a byte after which a try counts as failed. Default 30 000. */
  readonly stallTimeout?: number | undefined;
  /**
   * Use only what is in the cache. Default in Node: whether `HF_HUB_OFFLINE` is set to `1`; elsewhere false. Without it, files of
   * the commit that are cached are not asked for again, but a branch or tag is: it may have moved.
   */
  readonly offline?: boolean | undefined;
  /** Bytes of the weights that have been fetched, of all shards together. */
  readonly onProgress?: ((done: number, total: number) => void) | undefined;
}

/** What is being done: bytes of the weights are fetched, then tensors loaded. */
export type HubStage = "download" | "load";

/** Options of `loadModelFromHub`. */
export interface LoadFromHubOptions
  extends Omit<HubOptions, "onProgress">, Omit<LoadModelOptions, "onProgress"> {
  /** Bytes during `"download"`, tensors during `"load"`. */
  readonly onProgress?: ((stage: HubStage, done: number, total: number) => void) | undefined;
}

/** A model's files on a hub, at one commit. Nothing is fetched until it is asked for. */
export interface HubModel extends ModelFiles {
  /** `org/name@commit`, with the commit's 40 digits. */
  readonly name: string;
  /** The commit that the revision stood for when it was opened. */
  readonly commit: string;
  /** Closes the files; a second call does nothing. */
  close(): Promise<void>;
}
