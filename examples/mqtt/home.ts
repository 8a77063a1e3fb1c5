/** The reactor that a client's session lives on: FNV-1a of its id. */
export function homeOf(clientId: string, reactors: number): number {
  let hash = 0x811c9dc5
  for (const byte of Buffer.from(clientId)) hash = Math.imul(hash ^ byte, 0x01000193) >>> 0
  return hash % reactors
}
