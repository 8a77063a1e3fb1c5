import { Pool } from '@multireactor/pool'

const limits = process.argv.length > 2 ? process.argv.slice(2) : ['100000', '200000', '300000', '400000']

const pool = new Pool({ worker: new URL('./parse.js', import.meta.url), size: 4, maxQueued: 1000 })

// All at once: they run on the four workers in parallel, and the results are printed in the order of the arguments.
const results = await Promise.allSettled(limits.map((limit) => pool.run(limit)))

for (const [i, result] of results.entries()) {
  if (result.status === 'fulfilled') {
    console.log(`primes below ${limits[i]}: ${result.value}`)
  } else {
    console.error(`primes below ${limits[i]}: ${result.reason.message} [${result.reason.code}]`)
    process.exitCode = 1
  }
}

await pool.close()
