import { createHash } from "node:crypto";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { streamingDigest } from "../../src/hub/digests.ts";

describe.each(["sha1", "sha256"] as const)("%s of bytes that arrive in pieces", (kind) => {
  it("is Node's own, whatever the pieces", () => {
    fc.assert(
      fc.property(fc.array(fc.uint8Array({ maxLength: 200 }), { maxLength: 8 }), (pieces) => {
        const digest = streamingDigest(kind);
        for (const piece of pieces) digest.update(piece);
        expect(digest.hex()).toBe(createHash(kind).update(Buffer.concat(pieces)).digest("hex"));
      }),
    );
  });

  it.each([0, 1, 55, 56, 63, 64, 65, 119, 120, 128, 1_000_003])("is right for %i bytes", (length) => {
    const bytes = Uint8Array.from({ length }, (_, i) => i * 31);
    const digest = streamingDigest(kind);
    digest.update(bytes);
    expect(digest.hex()).toBe(createHash(kind).update(bytes).digest("hex"));
  });
});
