/**
 * A server that behaves like a model hub: `resolve` addresses with the headers of the real one, large files redirected to another
 * origin with a signed address, `raw` pointers, ranges, error codes; and every kind of trouble on demand.
 */
import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { fileURLToPath } from "node:url";

/** What goes wrong with a request; undefined where nothing does. */
export type Trouble =
  | { readonly kind: "status"; readonly status: number; readonly code?: string }
  /** The connection breaks after this many bytes of the body. */
  | { readonly kind: "cut"; readonly after: number }
  /** The body ends, correctly, after this many bytes. */
  | { readonly kind: "short"; readonly after: number }
  /** Nothing more comes after this many bytes. */
  | { readonly kind: "stall"; readonly after: number }
  /** More bytes than the file has. */
  | { readonly kind: "long" }
  /** The same number of bytes, one of them changed. */
  | { readonly kind: "changed" }
  /** Ranges are ignored. */
  | { readonly kind: "no-ranges" };

export interface HubRequest {
  readonly host: "hub" | "content";
  readonly method: string;
  readonly path: string;
  readonly range: string | undefined;
  readonly authorization: string | undefined;
}

export const COMMIT = "0123456789abcdef0123456789abcdef01234567";
export const NAME = "someone/haystack";
/** Files of this many bytes and more are kept as the hub keeps large files. */
const LARGE = 1_000_000;

const MODEL = new URL("../../examples/model/haystack-4m/", import.meta.url);
export const modelPath: string = fileURLToPath(MODEL);

function modelFiles(): Map<string, Buffer> {
  const names = ["config.json", "tokenizer.json", "tokenizer_config.json", "model.safetensors"];
  return new Map(names.map((name) => [name, readFileSync(new URL(name, MODEL))]));
}

/** Every request needs a hash: each buffer is hashed once. */
const remembered = (hash: (bytes: Buffer) => string): ((bytes: Buffer) => string) => {
  const known = new WeakMap<Buffer, string>();
  return (bytes) => {
    const hex = known.get(bytes) ?? hash(bytes);
    known.set(bytes, hex);
    return hex;
  };
};
export const sha256: (bytes: Buffer) => string = remembered((bytes) =>
  createHash("sha256").update(bytes).digest("hex"),
);
export const gitHash: (bytes: Buffer) => string = remembered((bytes) =>
  createHash("sha1").update(`blob ${bytes.length}\0`).update(bytes).digest("hex"),
);

/** Read once: nobody writes to them. */
const BUNDLED = modelFiles();

export class HubServer {
  readonly requests: HubRequest[] = [];
  files = new Map(BUNDLED);
  /** Branches and tags. */
  readonly revisions = new Map([["main", COMMIT]]);
  /** Asked for every request, in order. */
  trouble: (request: HubRequest) => Trouble | undefined = () => undefined;
  /** Changes the headers that describe a file. */
  describe: (path: string, headers: Record<string, string>) => void = () => undefined;
  /** A token without which nothing is given away. */
  secret: string | undefined;
  readonly #hub: Server;
  readonly #content: Server;

  private constructor() {
    this.#hub = createServer((request, response) => this.#answer("hub", request, response));
    this.#content = createServer((request, response) => this.#answer("content", request, response));
  }

  static async start(): Promise<HubServer> {
    const server = new HubServer();
    for (const one of [server.#hub, server.#content]) {
      await new Promise<void>((resolve) => one.listen(0, "127.0.0.1", resolve));
    }
    return server;
  }

  get endpoint(): string {
    return `http://127.0.0.1:${(this.#hub.address() as AddressInfo).port}`;
  }

  get contentHost(): string {
    return `http://127.0.0.1:${(this.#content.address() as AddressInfo).port}`;
  }

  async stop(): Promise<void> {
    for (const one of [this.#hub, this.#content]) {
      one.closeAllConnections();
      await new Promise((resolve) => one.close(resolve));
    }
  }

  /** Requests for the body of a file. */
  bodies(path: string): HubRequest[] {
    return this.requests.filter((request) => request.method === "GET" && request.path.endsWith(path));
  }

  #answer(host: HubRequest["host"], incoming: IncomingMessage, response: ServerResponse): void {
    const url = new URL(incoming.url!, "http://localhost");
    const request: HubRequest = {
      host,
      method: incoming.method!,
      path: decodeURIComponent(url.pathname),
      range: incoming.headers.range,
      authorization: incoming.headers.authorization,
    };
    response.setHeader("access-control-allow-origin", "*");
    response.setHeader("access-control-allow-headers", "authorization, range, accept-encoding");
    response.setHeader(
      "access-control-expose-headers",
      host === "hub"
        ? "X-Repo-Commit, X-Linked-Size, X-Linked-ETag, X-Error-Code, ETag, Content-Range"
        : "ETag, Content-Range",
    );
    if (request.method === "OPTIONS") {
      response.end();
      return;
    }
    if (request.path === "/" || request.path === "/favicon.ico") {
      // A page of another origin: under the name localhost, and not this address.
      response.setHeader("content-type", "text/html").end("<!doctype html><title>sparseprobe</title>");
      return;
    }
    this.requests.push(request);
    const trouble = this.trouble(request);
    if (trouble?.kind === "status") {
      refuse(response, trouble.status, trouble.code);
      return;
    }
    if (host === "content") {
      const found = [...this.files.values()].find((bytes) => request.path === `/${sha256(bytes)}`);
      if (url.searchParams.get("signature") !== "s3cret") refuse(response, 403);
      else if (found) this.#send(request, response, found, { etag: '"of-the-content-host"' }, trouble);
      else refuse(response, 404);
      return;
    }
    this.#answerHub(request, response, url.pathname, trouble);
  }

  #answerHub(request: HubRequest, response: ServerResponse, raw: string, trouble: Trouble | undefined): void {
    const [, organisation, name, kind, revision, ...rest] = raw.split("/").map(decodeURIComponent);
    if (this.secret !== undefined && request.authorization !== `Bearer ${this.secret}`) {
      refuse(response, 401, "RepoNotFound");
      return;
    }
    if (`${organisation}/${name}` !== NAME) {
      refuse(response, 401, "RepoNotFound");
      return;
    }
    const commit = [...this.revisions.values()].includes(revision) ? revision : this.revisions.get(revision);
    if (commit === undefined) {
      refuse(response, 404, "RevisionNotFound");
      return;
    }
    const path = rest.join("/");
    const bytes = this.files.get(path);
    response.setHeader("x-repo-commit", commit);
    if (!bytes) {
      refuse(response, 404, "EntryNotFound");
      return;
    }
    if (bytes.length < LARGE) {
      this.#send(request, response, bytes, { etag: `"${gitHash(bytes)}"` }, trouble, path);
      return;
    }
    if (kind === "raw") {
      response.end(
        `version https://git-lfs.github.com/spec/v1\noid sha256:${sha256(bytes)}\nsize ${bytes.length}\n`,
      );
      return;
    }
    const headers: Record<string, string> = {
      "x-linked-etag": `"${sha256(bytes)}"`,
      "x-linked-size": String(bytes.length),
      location: `${this.contentHost}/${sha256(bytes)}?signature=s3cret`,
    };
    this.describe(path, headers);
    response.writeHead(302, headers);
    response.end();
  }

  #send(
    { method, range }: HubRequest,
    response: ServerResponse,
    bytes: Buffer,
    headers: Record<string, string>,
    trouble: Trouble | undefined,
    path = "",
  ): void {
    let body = bytes;
    if (trouble?.kind === "changed") {
      body = Buffer.from(bytes);
      body[Math.floor(body.length * 0.9)] ^= 1;
    } else if (trouble?.kind === "long") {
      body = Buffer.concat([bytes, Buffer.alloc(1000)]);
    }
    const asked = trouble?.kind === "no-ranges" ? null : /^bytes=(\d+)-(\d*)$/.exec(range ?? "");
    const from = asked?.[1];
    const to = asked?.[2];
    const start = Number(from ?? 0);
    const end = to ? Math.min(Number(to) + 1, body.length) : body.length;
    if (start > 0 && start >= body.length) {
      response.writeHead(416, { "content-range": `bytes */${body.length}` }).end();
      return;
    }
    const all: Record<string, string> = { ...headers, "accept-ranges": "bytes" };
    if (from !== undefined) all["content-range"] = `bytes ${start}-${end - 1}/${body.length}`;
    this.describe(path, all);
    const short = trouble?.kind === "short";
    const stop = trouble && "after" in trouble ? Math.min(start + trouble.after, end) : end;
    all["content-length"] = String((short ? stop : end) - start);
    response.writeHead(from === undefined ? 200 : 206, all);
    if (method === "HEAD") {
      response.end();
      return;
    }
    const piece = body.subarray(start, stop);
    if (stop === end || short) response.end(piece);
    else {
      response.write(piece, () => {
        // "stall" leaves the connection as it is.
        if (trouble?.kind === "cut") setTimeout(() => response.destroy(), 20);
      });
    }
  }
}

function refuse(response: ServerResponse, status: number, code?: string): void {
  if (code !== undefined) response.setHeader("x-error-code", code);
  response.writeHead(status).end("no");
}
