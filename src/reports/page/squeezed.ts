/** Text made short for a page: a study's rows take a sixth of their JSON. */
import { deflateSync, strToU8 } from "fflate";

const BYTES_AT_ONCE = 0x8000;

/** Deflated (RFC 1951), in base 64, of which no sign needs an escape in HTML; the page's `unsqueeze` undoes it. */
export function squeeze(text: string): string {
  const bytes = deflateSync(strToU8(text), { level: 9 });
  let binary = "";
  for (let at = 0; at < bytes.length; at += BYTES_AT_ONCE) {
    binary += String.fromCharCode(...bytes.subarray(at, at + BYTES_AT_ONCE));
  }
  return btoa(binary);
}
