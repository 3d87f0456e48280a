/** Text out of the page's data: base 64 of what was deflated. */
export async function unsqueeze(squeezed: string): Promise<string> {
  const bytes = Uint8Array.from(atob(squeezed), (sign) => sign.charCodeAt(0));
  const text = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate-raw"));
  return new Response(text).text();
}
