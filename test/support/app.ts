/** The URL of a compiled fixture app. */
export function app(name: string): URL {
  return new URL(`../fixtures/${name}.js`, import.meta.url)
}
