import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { FormatError } from "../../src/errors.ts";
import { httpSource } from "../../src/io/http-source.ts";
import { openSafetensors } from "../../src/io/safetensors.ts";
import { fixture } from "./fixtures.ts";

const bytes = fixture("every-type.safetensors");

/** A correct range server, and one wrong behaviour per path. `wrong` ones answer the first request correctly. */
function answer(request: IncomingMessage, response: ServerResponse): void {
  const url = request.url ?? "";
  const [, from, to] = /^bytes=(\d+)-(\d+)$/.exec(request.headers.range ?? "") ?? [];
  const [start, end] = [Number(from), Math.min(Number(to) + 1, bytes.length)];
  const opening = start === 0 && end === 1;
  const contentRange = `bytes ${start}-${end - 1}/${bytes.length}`;
  const body = bytes.subarray(start, end);
  if (url === "/authorised" && request.headers.authorization !== "Bearer x")
    response.writeHead(401).end("no");
  else if (url === "/missing") response.writeHead(404).end("not here");
  else if (url === "/empty") response.writeHead(416, { "content-range": "bytes */0" }).end();
  else if (url === "/whole" || (url === "/whole-later" && !opening)) response.writeHead(200).end(bytes);
  else if (url === "/hidden") response.writeHead(206).end(body);
  else if (url === "/unknown-size") {
    response.writeHead(206, { "content-range": "bytes 0-0/*" }).end(body);
  } else if (opening) response.writeHead(206, { "content-range": contentRange }).end(body);
  else if (url === "/other-range") {
    response.writeHead(206, { "content-range": `bytes 0-${end - start - 1}/${bytes.length}` }).end(body);
  } else if (url === "/changed") {
    response.writeHead(206, { "content-range": `bytes ${start}-${end - 1}/${bytes.length + 1}` }).end(body);
  } else if (url === "/shorter") {
    response.writeHead(206, { "content-range": contentRange }).end(body.subarray(1));
  } else if (url === "/longer") {
    response.writeHead(206, { "content-range": contentRange }).end(Uint8Array.of(...body, 0));
  } else if (url === "/broken") {
    response.writeHead(206, { "content-range": contentRange, "content-length": String(body.length) });
    response.write(body.subarray(1), () => response.destroy());
  } else if (url === "/stalled") {
    response.writeHead(206, { "content-range": contentRange, "content-length": String(body.length) });
    response.write(body.subarray(1));
  } else response.writeHead(206, { "content-range": contentRange }).end(body);
}

let server: Server;
let base = "";
beforeAll(async () => {
  server = createServer(answer);
  await new Promise<void>((ready) => server.listen(0, "127.0.0.1", ready));
  base = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
});
afterAll(() => {
  server.closeAllConnections();
  server.close();
});

describe("httpSource", () => {
  it("reads ranges", async () => {
    const source = await httpSource(`${base}/file.safetensors?token=secret#x`);
    expect(source.name).toBe(`${base}/file.safetensors`);
    expect(source.size).toBe(bytes.length);
    for (const [start, end] of [
      [0, bytes.length],
      [0, 0],
      [5, 5],
      [7, 8],
      [100, 900],
    ]) {
      expect(await source.read(start, end)).toEqual(bytes.slice(start, end));
    }
    await expect(source.read(0, bytes.length + 1)).rejects.toThrow(FormatError);
    const file = await openSafetensors(await httpSource(new URL(base)));
    expect((await file.read("scalar")).data[0]).toBe(1.5);
  });

  it("sends the headers given", async () => {
    const source = await httpSource(`${base}/authorised`, { headers: { authorization: "Bearer x" } });
    expect(await source.read(0, 8)).toEqual(bytes.slice(0, 8));
    await expect(httpSource(`${base}/authorised`)).rejects.toThrow(
      /answered 401 Unauthorized\. Check the address/,
    );
  });

  it("uses the fetch given", async () => {
    const asked: string[] = [];
    const source = await httpSource(`${base}/file`, {
      name: "my file",
      credentials: "omit",
      fetch: (url, init) => {
        asked.push(`${init.credentials} ${new Headers(init.headers).get("range")}`);
        return fetch(url, init);
      },
    });
    await source.read(2, 9);
    expect(source.name).toBe("my file");
    expect(asked).toEqual(["omit bytes=0-0", "omit bytes=2-8"]);
  });

  it("opens an empty file", async () => {
    const source = await httpSource(`${base}/empty`);
    expect(source.size).toBe(0);
    expect(await source.read(0, 0)).toEqual(new Uint8Array(0));
  });

  it.each([
    ["/missing", /answered 404 Not Found/],
    ["/whole", /ignores range requests \(status 200\).*download it/],
    ["/hidden", /Content-Range header is missing or hidden.*Access-Control-Expose-Headers/],
    ["/unknown-size", /does not tell its size/],
  ])("does not open %s", async (path, message) => {
    const opened = httpSource(base + path);
    await expect(opened).rejects.toThrow(FormatError);
    await expect(opened).rejects.toThrow(message);
  });

  it.each([
    ["/whole-later", /ignores range requests/],
    ["/other-range", /answered with "bytes 0-9\/\d+" where "bytes 20-29\/\d+" was asked for/],
    ["/changed", /may have changed since it was opened/],
    ["/shorter", /sent 9 of the 10 bytes/],
    ["/longer", /sent more than the 10 bytes/],
    ["/broken", /transfer of .* broke off/],
  ])("does not read %s", async (path, message) => {
    const source = await httpSource(base + path);
    const read = source.read(20, 30);
    await expect(read).rejects.toThrow(FormatError);
    await expect(read).rejects.toThrow(message);
  });

  it("says when there is no server", async () => {
    const failing = () => Promise.reject(new TypeError("fetch failed"));
    await expect(httpSource(base, { fetch: failing })).rejects.toThrow(
      /could not be fetched: TypeError: fetch failed/,
    );
  });

  it("stops when told to, also in the middle of a transfer", async () => {
    const reason = new Error("enough");
    await expect(httpSource(base, { signal: AbortSignal.abort(reason) })).rejects.toBe(reason);
    const source = await httpSource(`${base}/stalled`);
    const controller = new AbortController();
    const read = source.read(20, 30, { signal: controller.signal });
    setTimeout(() => controller.abort(reason), 50);
    await expect(read).rejects.toBe(reason);
  });
});
