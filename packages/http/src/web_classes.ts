/** The common type of a light object and Node's own object in its stead. */
type Web = Request | Response

/**
 * Lets `prototype` pass for a prototype of Node's own: as enumerable as the standard wants it, with the properties that a program may read
 * beside `own`, and with the state by which Node's own methods, constructors and `fetch` know their objects, where that lies in symbols.
 * `realOf`: the object of Node's that stands for a light one.
 */
export function passesFor<Light extends object>(
  prototype: Light,
  sample: Web,
  realOf: (light: Light) => Web,
  headersOf: (light: Light) => Headers,
): void {
  for (const [name, descriptor] of Object.entries(Object.getOwnPropertyDescriptors(prototype))) {
    if (name !== 'constructor') Object.defineProperty(prototype, name, { ...descriptor, enumerable: true })
  }
  Object.setPrototypeOf(prototype, Object.getPrototypeOf(sample) as object)
  for (const symbol of Object.getOwnPropertySymbols(sample)) {
    const isHeaders = (sample as unknown as Record<symbol, unknown>)[symbol] === sample.headers
    Object.defineProperty(prototype, symbol, {
      configurable: true,
      get(this: Light): unknown {
        return isHeaders ? headersOf(this) : (realOf(this) as unknown as Record<symbol, unknown>)[symbol]
      },
    })
  }
}

/** Makes the fields of one those of another. */
export function copyFields(to: Headers, from: Headers): void {
  for (const name of [...to.keys()]) to.delete(name)
  for (const [name, value] of from) to.append(name, value)
}
