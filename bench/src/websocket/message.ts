/** JSON of so many bytes, as an API might send it. */
export function fanoutMessage(bytes: number): string {
  let items = ''
  for (let i = 0; items.length < bytes; i++) {
    items += `{"id":${1_000 + i * 37},"symbol":"S${(i * 7_919) % 977}","price":${((i * 104_729) % 100_000) / 100},"at":"2026-01-01T00:00:${10 + (i % 50)}Z"},`
  }
  return `[${items}`.slice(0, bytes)
}
