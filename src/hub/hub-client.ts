/**
 * Requests to a model hub: addresses, the access token, redirects, and what answers mean. Files lie at
 * `{endpoint}/{name}/resolve/{revision}/{path}`; large ones are redirected to another host, which must not see the token.
 */
import { HubError, OptionError } from "../errors.ts";
import type { HubOptions } from "./hub-options.ts";
import type { HubFile } from "./hub-store.ts";

const PUBLIC_HUB = "https://huggingface.co";
const MOST_REDIRECTS = 8;
/** A pointer of git LFS has under 200 bytes. */
const POINTER_BYTES = 1024;
const COMMIT = /^[0-9a-f]{40}$/;

/** Whether a revision names one commit for good. */
export function isCommit(revision: string): boolean {
  return COMMIT.test(revision);
}

/** A try that failed in a way that another may not. */
export class TryAgain extends Error {
  /** Milliseconds that the server asks to wait. */
  readonly wait: number | undefined;

  constructor(problem: string, wait?: number) {
    super(problem);
    this.wait = wait;
  }
}

/** Requests for the files of one model. */
export class HubClient {
  /** `org/name` */
  readonly name: string;
  readonly revision: string;
  readonly endpoint: string;
  readonly retries: number;
  readonly stallTimeout: number;
  readonly signal: AbortSignal | undefined;
  readonly #token: string | undefined;
  readonly #fetch: (url: string, init: RequestInit) => Promise<Response>;

  /** @throws OptionError when the name, the revision, the token, the endpoint or a number is not one */
  constructor(name: string, options: HubOptions) {
    const { revision = "main", retries = 5, stallTimeout = 30_000 } = options;
    if (!/^(?:[\w-][\w.-]*\/)?[\w-][\w.-]*$/.test(name) || /\.\.|--/.test(name) || name.length > 200) {
      throw new OptionError(
        `${JSON.stringify(name)} is not the name of a model on a hub.`,
        'Give "organisation/model", e.g. "EleutherAI/pythia-70m"; for a folder use `loadModelFolder`.',
      );
    }
    if (!/^[\w-][\w.+/-]{0,200}$/.test(revision) || /\.\.|\/\/|\/\.|\/$/.test(revision)) {
      throw new OptionError(
        `${JSON.stringify(revision)} is not a revision.`,
        'Give a branch, a tag or a commit, e.g. "main".',
      );
    }
    if (!(Number.isSafeInteger(retries) && retries >= 0) || !(stallTimeout > 0)) {
      throw new OptionError(
        `retries is ${retries} and stallTimeout ${stallTimeout}.`,
        "Give a whole number of retries, 0 or more, and milliseconds above 0.",
      );
    }
    this.name = name;
    this.revision = revision;
    this.endpoint = checkedEndpoint(options.endpoint ?? PUBLIC_HUB);
    this.retries = retries;
    this.stallTimeout = stallTimeout;
    this.signal = options.signal;
    this.#token = checkedToken(options.token);
    this.#fetch = options.fetch ?? ((url, init) => fetch(url, init));
  }

  /** `name at revision`, for messages. */
  get what(): string {
    return `${this.name} at revision ${this.revision}`;
  }

  url(kind: "resolve" | "raw", revision: string, path: string): string {
    const file = path.split("/").map(encodeURIComponent).join("/");
    return `${this.endpoint}/${this.name}/${kind}/${encodeURIComponent(revision)}/${file}`;
  }

  /**
   * What the hub says of a file, from the headers of its address; undefined when the revision has no such file.
   * @throws HubError when there is no such model or revision, or no right to read it
   */
  async describe(path: string, revision: string): Promise<HubFile | undefined> {
    return this.persist(`${path} of ${this.what}`, () => this.#describe(path, revision));
  }

  async #describe(path: string, revision: string): Promise<HubFile | undefined> {
    const url = this.url("resolve", revision, path);
    const first = await this.send(url, { method: "HEAD", redirect: "inside" });
    if (first.type === "opaqueredirect") return this.#describeBehindRedirect(path, revision, url);
    const header = (name: string): string | null => first.headers.get(name);
    const away = first.status >= 300 && first.status < 400;
    if (!away && !(await this.#found(first, path, revision))) return undefined;
    let etag = header("x-linked-etag") ?? (away ? null : header("etag"));
    let size = header("x-linked-size") ?? (away ? null : plainLength(first));
    if (etag === null && away) {
      // A mirror that sends large files elsewhere without saying what they are.
      const last = await this.send(url, { method: "HEAD", redirect: "all" });
      if (!(await this.#found(last, path, revision))) return undefined;
      etag = last.headers.get("etag");
      size ??= plainLength(last);
    }
    const commit = header("x-repo-commit") ?? (isCommit(revision) ? revision : null);
    return this.#file(path, commit, etag, size);
  }

  /** A browser does not show what a redirect says: large files are described by their pointers instead. */
  async #describeBehindRedirect(path: string, revision: string, url: string): Promise<HubFile | undefined> {
    const signal = AbortSignal.timeout(this.stallTimeout);
    const raw = await this.send(this.url("raw", revision, path), { redirect: "all", signal });
    const known = isCommit(revision) ? revision : null;
    if (raw.ok) {
      const text = new TextDecoder().decode(await firstBytes(raw, POINTER_BYTES));
      const oid = /^oid sha256:([0-9a-f]{64})$/m.exec(text)?.[1];
      if (text.startsWith("version https://git-lfs") && oid !== undefined) {
        const size = /^size (\d{1,16})$/m.exec(text)?.[1] ?? null;
        return this.#file(path, raw.headers.get("x-repo-commit") ?? known, oid, size);
      }
    } else {
      await raw.body?.cancel();
    }
    const last = await this.send(url, { method: "HEAD", redirect: "all" });
    if (!(await this.#found(last, path, revision))) return undefined;
    const inUrl = /\/([0-9a-f]{40})\//.exec(new URL(last.url || url).pathname)?.[1] ?? null;
    const commit = last.headers.get("x-repo-commit") ?? known ?? inUrl;
    // The length may be that of a compressed body: browsers do not let one ask for a plain one.
    return this.#file(path, commit, last.headers.get("etag"), null);
  }

  #file(path: string, commit: string | null, etag: string | null, size: string | null): HubFile {
    if (commit === null || !isCommit(commit)) {
      throw new HubError(
        "not-found",
        `${hostOf(this.endpoint)} does not say which commit ${this.what} is.`,
        "Check that the endpoint is a model hub, and that it exposes X-Repo-Commit; or download the folder and load that.",
      );
    }
    const bare = (etag ?? "").replace(/^W\//, "").replace(/^"(.*)"$/, "$1");
    const checksum = /^[0-9a-f]{64}$/.test(bare)
      ? ({ kind: "sha256", hex: bare } as const)
      : /^[0-9a-f]{40}$/.test(bare)
        ? ({ kind: "git", hex: bare } as const)
        : undefined;
    const bytes = size !== null && /^\d{1,16}$/.test(size) ? Number(size) : undefined;
    return { path, commit, etag: bare, size: bytes, checksum };
  }

  /**
   * Sends a request. The token goes to the endpoint's origin alone: redirects are followed by hand where the platform shows
   * them, and elsewhere (browsers) by `fetch`, which drops the header at the border.
   *
   * `redirect: "inside"` returns the redirect that leaves the endpoint's origin rather than follow it.
   *
   * @throws TryAgain when there is no answer, or one that may change
   */
  async send(
    url: string,
    init: {
      readonly method?: "GET" | "HEAD";
      readonly headers?: Readonly<Record<string, string>>;
      readonly redirect: "inside" | "all";
      /** Ends the request and its body. */
      readonly signal?: AbortSignal;
    },
  ): Promise<Response> {
    const inside = new URL(this.endpoint).origin;
    let address = url;
    for (let hops = 0; hops <= MOST_REDIRECTS; hops++) {
      const home = new URL(address).origin === inside;
      const headers: Record<string, string> = { "accept-encoding": "identity", ...init.headers };
      if (home && this.#token !== undefined) headers["authorization"] = `Bearer ${this.#token}`;
      const method = init.method ?? "GET";
      let response = await this.#once(address, { method, headers, redirect: "manual" }, init.signal);
      if (response.type === "opaqueredirect") {
        if (init.redirect === "inside") return response;
        response = await this.#once(address, { method, headers, redirect: "follow" }, init.signal);
      }
      const location = response.headers.get("location");
      if (![301, 302, 303, 307, 308].includes(response.status) || location === null) {
        return this.#answered(response);
      }
      const next = new URL(location, address);
      if (next.protocol !== "https:" && !(next.protocol === "http:" && address.startsWith("http:"))) {
        throw new HubError(
          "network",
          `${hostOf(address)} redirects to a ${next.protocol} address.`,
          "Only https is followed from https: check the endpoint.",
        );
      }
      if (init.redirect === "inside" && next.origin !== inside) return response;
      await response.body?.cancel();
      address = next.href;
    }
    throw new HubError(
      "network",
      `${hostOf(url)} redirects more than ${MOST_REDIRECTS} times.`,
      "Check the endpoint.",
    );
  }

  async #once(url: string, init: RequestInit, signal: AbortSignal | undefined): Promise<Response> {
    this.signal?.throwIfAborted();
    const timeout = new AbortController();
    const timer = setTimeout(() => timeout.abort(), this.stallTimeout);
    const signals = [timeout.signal, this.signal, signal].filter((s) => s !== undefined);
    try {
      return await this.#fetch(url, { ...init, signal: anyOf(signals) });
    } catch (error) {
      this.signal?.throwIfAborted();
      throw new TryAgain(
        timeout.signal.aborted
          ? `${hostOf(url)} gave no answer for ${this.stallTimeout / 1000} s`
          : `${hostOf(url)} could not be reached (${this.redact(describeError(error))})`,
      );
    } finally {
      clearTimeout(timer);
    }
  }

  /** @throws TryAgain for an answer that says to come back later */
  async #answered(response: Response): Promise<Response> {
    const { status } = response;
    if (status !== 408 && status !== 429 && status < 500) return response;
    await response.body?.cancel();
    const seconds = Number(response.headers.get("retry-after") ?? NaN);
    throw new TryAgain(
      `the server answered ${status}`,
      seconds >= 0 ? Math.min(seconds, 60) * 1000 : undefined,
    );
  }

  /**
   * Whether an answer has the file; false when the revision lacks it.
   * @throws HubError for every other refusal
   */
  async #found(response: Response, path: string, revision: string): Promise<boolean> {
    await response.body?.cancel();
    if (response.ok) return true;
    const code = response.headers.get("x-error-code");
    if (response.status === 404 && (code === "EntryNotFound" || (code === null && isCommit(revision)))) {
      return false;
    }
    throw this.refusal(response, path);
  }

  /** The error that a refusal amounts to. */
  refusal(response: Response, path: string): HubError {
    const { status } = response;
    const code = response.headers.get("x-error-code");
    const page = `${this.endpoint}/${this.name}`;
    const token =
      this.#token === undefined
        ? "No access token was given"
        : "The access token that was given does not help";
    if (code === "GatedRepo" || (status === 403 && code === null)) {
      return new HubError(
        "access",
        `${this.name} is gated: its owner decides who may download it (status ${status}). ${token}.`,
        `Accept its licence at ${page}, and pass an access token of that account as \`token\` or in HF_TOKEN.`,
      );
    }
    if (status === 401 || status === 403) {
      return new HubError(
        "access",
        `${this.name} may not be read (status ${status}): it does not exist, or it is private. ${token}.`,
        "Check the name, and pass an access token that may read it as `token` or in HF_TOKEN.",
      );
    }
    if (status === 404) {
      const [missing, remedy] =
        code === "RepoNotFound"
          ? [`There is no model ${this.name}`, "Check the name; for a private model, pass an access token."]
          : code === "RevisionNotFound"
            ? [`${this.name} has no revision ${this.revision}`, "Check the branch, tag or commit."]
            : [`${this.what} has no ${path}`, "Check the name and the revision."];
      return new HubError("not-found", `${missing} at ${hostOf(this.endpoint)}.`, remedy);
    }
    return new HubError(
      "network",
      `${hostOf(this.endpoint)} answered ${status} for ${path} of ${this.what}.`,
      "Check the endpoint, and whether a proxy stands in between.",
    );
  }

  /**
   * Repeats what fails with {@link TryAgain}, after growing pauses. `moved` tells whether the try that failed got any
   * further: those do not count.
   * @throws HubError "network" when the tries are used up
   */
  async persist<T>(what: string, attempt: () => Promise<T>, moved: () => boolean = () => false): Promise<T> {
    for (let failures = 0; ;) {
      try {
        return await attempt();
      } catch (error) {
        this.signal?.throwIfAborted();
        if (!(error instanceof TryAgain)) throw error;
        failures = moved() ? 1 : failures + 1;
        if (failures > this.retries) {
          throw new HubError(
            "network",
            `${what} could not be fetched, ${failures} ${failures === 1 ? "try" : "tries"} in a row: ${error.message}.`,
            "Check the connection and try again: what has been fetched is kept.",
          );
        }
        await pause(error.wait ?? 250 * 2 ** Math.min(failures - 1, 5), this.signal);
      }
    }
  }

  /** A text without the token. */
  redact(text: string): string {
    return this.#token === undefined ? text : text.replaceAll(this.#token, "[token]");
  }
}

/** @throws OptionError without the token in it */
function checkedToken(token: string | undefined): string | undefined {
  const bare = token?.trim();
  if (bare === undefined || bare === "") return undefined;
  if (/^[\x21-\x7e]+$/.test(bare)) return bare;
  throw new OptionError(
    "The access token holds characters that no token has.",
    "Copy it again from the hub's settings.",
  );
}

/** @throws OptionError, which shows nothing of an address that may hold a password */
function checkedEndpoint(endpoint: string): string {
  let url: URL | undefined;
  try {
    url = new URL(endpoint);
  } catch {
    // Reported below.
  }
  if (url && /^https?:$/.test(url.protocol) && url.username === "" && url.password === "") {
    return `${url.origin}${url.pathname.replace(/\/+$/, "")}`;
  }
  throw new OptionError(
    "The hub's endpoint is not an http or https address, or it holds a user name or password.",
    `Give an address such as ${PUBLIC_HUB}, and the token apart.`,
  );
}

/** An address for messages: signed addresses of content hosts are secrets too. */
function hostOf(url: string): string {
  return new URL(url).host;
}

/** Length of a body that is not compressed. */
function plainLength(response: Response): string | null {
  return response.headers.get("content-encoding") === null ? response.headers.get("content-length") : null;
}

/** The start of a body; the rest is not fetched. */
async function firstBytes(response: Response, most: number): Promise<Uint8Array> {
  const out = new Uint8Array(most);
  const reader = response.body?.getReader();
  let at = 0;
  try {
    while (reader && at < most) {
      const { done, value } = (await reader.read()) as { done: boolean; value?: Uint8Array };
      if (done || !value) break;
      out.set(value.subarray(0, most - at), at);
      at += value.length;
    }
  } catch {
    throw new TryAgain("the transfer broke off");
  }
  await reader?.cancel().catch(() => undefined);
  return out.subarray(0, Math.min(at, most));
}

/** What went wrong, with the cause that `fetch` of Node hides behind "fetch failed". */
export function describeError(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  const { cause } = error;
  return cause instanceof Error && cause.message !== ""
    ? `${error.message}: ${cause.message}`
    : error.message;
}

function anyOf(signals: readonly AbortSignal[]): AbortSignal {
  return signals.length === 1 ? signals[0] : AbortSignal.any([...signals]);
}

/** @throws the signal's reason when it is aborted meanwhile */
export function pause(milliseconds: number, signal: AbortSignal | undefined): Promise<void> {
  return new Promise((resolve, reject) => {
    const stop = (): void => {
      clearTimeout(timer);
      reject(signal!.reason as Error);
    };
    const timer = setTimeout(() => {
      signal?.removeEventListener("abort", stop);
      resolve();
    }, milliseconds);
    signal?.addEventListener("abort", stop, { once: true });
  });
}
