/** Lines that differ from each other, of many lengths, the same for the same seed: replies are compared byte by byte. */
export function lineStream(seed: number, bytes: number, longest: number): Buffer {
  const lines: string[] = []
  let size = 0
  let state = (seed + 1) * 2_654_435_761
  for (let i = 0; size < bytes; i++) {
    // A linear congruence: the high bits are random enough to choose a length.
    state = (state * 1_103_515_245 + 12_345) % 2 ** 31
    const line = `${seed}:${i}:${'x'.repeat(Math.floor((state / 2 ** 31) * longest))}\n`
    lines.push(line)
    size += line.length
  }
  return Buffer.from(lines.join(''), 'latin1')
}
