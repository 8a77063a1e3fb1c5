import { RpcClient } from './client.ts'
import type { RpcError } from './protocol.ts'

// npm run demo [port]: fifty calls at once, on one connection.
const client = await RpcClient.connect(Number(process.argv[2] ?? 7000))

const order: string[] = []
const calls = Array.from({ length: 50 }, async (_, i) => {
  // The first ones are the longest, and every fifth is a light one.
  const name = i % 5 === 4 ? `add ${i}` : `primes ${i}`
  if (i % 5 === 4) console.assert((await client.call('add', { a: i, b: i })) === 2 * i)
  else console.assert((await client.call('primes', { below: 200_000 - i * 4_000 })).count > 0)
  order.push(name)
})
await Promise.all(calls)
console.log(`${order.length} answers, the first of them: ${order.slice(0, 12).join(', ')}`)

try {
  await client.call('primes', { below: 1e9 }, { timeoutMs: 200 })
} catch (error) {
  console.log(`primes below a thousand million: ${(error as RpcError).code}`)
}

// A call that the types do not allow is a compile error:
// @ts-expect-error: b is missing
await client.call('add', { a: 1 }).catch((error: RpcError) => console.log(`add with one number: ${error.code}`))
// @ts-expect-error: there is no such method
await client.call('substract', { a: 1, b: 2 }).catch((error: RpcError) => console.log(`substract: ${error.code}`))

client.close()
