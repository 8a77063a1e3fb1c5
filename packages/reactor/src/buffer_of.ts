/**
 * `Buffer.from(memory, offset, length)` without its checks, which cost more than the buffer. `Symbol.species` is how Buffer itself
 * names the class that `new` may be called on.
 */
export const bufferOf: (memory: ArrayBuffer, offset: number, length: number) => Buffer = (() => {
  const Species = (Buffer as unknown as { [Symbol.species]?: new (...of: [ArrayBuffer, number, number]) => Buffer })[
    Symbol.species
  ]
  if (typeof Species !== 'function' || Species.prototype !== Buffer.prototype) return Buffer.from
  return (memory, offset, length) => new Species(memory, offset, length)
})()
