/**
 * Runs in the pool's threads: bytes in, bytes out. A throw rejects the pool.run() that sent the bytes, and nothing else.
 * @param {Buffer} bytes
 */
export default function countPrimes(bytes) {
  const limit = Number(bytes.toString())
  if (!Number.isInteger(limit) || limit < 0 || limit > 1e8)
    throw new RangeError(`'${bytes}' is no whole number up to 100 million`)
  const composite = new Uint8Array(limit)
  let count = 0
  for (let n = 2; n < limit; n++) {
    if (composite[n]) continue
    count++
    for (let multiple = n * n; multiple < limit; multiple += n) composite[multiple] = 1
  }
  return String(count)
}
