/** A script or a style sheet of the page, bundled and minified: text. */
declare module "*?page" {
  const text: string;
  export default text;
}
