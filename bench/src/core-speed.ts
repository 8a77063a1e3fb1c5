import { tableOf } from './markdown.js'

// Whether the core is one's own. On a shared machine another one may run on the other half of it: then code that keeps all units of a
// core busy slows down, and code that waits for its own last result hardly does.

const samples = 400
const steps = 1_000_000
const pauseMs = 20

/** Many additions that do not wait for each other. */
function wide(): number {
  let [a, b, c, d, e, f] = [1, 2, 3, 4, 5, 6]
  for (let i = 0; i < steps; i++) {
    a = (a + i) | 0
    b ^= a
    c = (c + i) | 0
    d ^= c
    e = (e + i) | 0
    f ^= e
  }
  return a ^ b ^ c ^ d ^ e ^ f
}

/** A chain of multiplications. */
function narrow(): number {
  let x = 1
  for (let i = 0; i < steps; i++) x = (Math.imul(x, 31) + i) | 0
  return x
}

let sink = 0

function timed(loop: () => number): number {
  // CPU time: the time of other processes does not matter here.
  const before = process.cpuUsage()
  sink ^= loop()
  const { user, system } = process.cpuUsage(before)
  return user + system
}

const times = { wide: [] as number[], narrow: [] as number[] }
for (let i = 0; i < samples; i++) {
  times.wide.push(timed(wide))
  times.narrow.push(timed(narrow))
  await new Promise((resolve) => setTimeout(resolve, pauseMs))
}
const rows = Object.entries(times).map(([name, all]) => {
  const sorted = [...all].sort((a, b) => a - b)
  const best = sorted[0]!
  const inBests = [0.1, 0.25, 0.5, 0.75, 0.9, 1].map(
    (share) => sorted[Math.min(Math.floor(share * samples), samples - 1)]! / best,
  )
  return [name, ((best * 1e3) / steps).toFixed(2), ...inBests.map((times) => times.toFixed(2))]
})
const head = ['loop', 'best, ns', '10 %', 'a quarter', 'half', 'three quarters', '90 %', 'all']
process.stdout.write(
  `${tableOf([head, ...rows])}\nSo many of ${samples} samples took at most so many times the best one's time.\n`,
)
// The result is used, so that no compiler removes its computation.
process.exitCode = Number.isNaN(sink) ? 1 : 0
