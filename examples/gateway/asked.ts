import type { Counted } from './counts.ts'

// Requests of the API, and of the reactors themselves, to every reactor: as bytes, since only bytes cross threads.

export type Question =
  | { ask: 'command'; device: string; bytes: string }
  | { ask: 'replace'; device: string; since: string }
  | { ask: 'devices'; most: number }
  | { ask: 'counts' }

export interface Answers {
  command: { outcome: 'elsewhere' | 'timeout' | 'gone' | 'busy' } | { outcome: 'result'; bytes: string }
  replace: { isLatest: boolean }
  devices: { device: string; listener: string; reading?: number }[]
  counts: Counted
}

/** The part of a `ServerHandle` that asking needs. */
interface Server {
  callAll(bytes: string, options?: { timeoutMs?: number }): Promise<Buffer[]>
}

export async function askAll<Q extends Question>(server: Server, question: Q): Promise<Answers[Q['ask']][]> {
  const answers = await server.callAll(JSON.stringify(question))
  return answers.filter((answer) => answer.length > 0).map((answer) => JSON.parse(answer.toString()) as Answers[Q['ask']])
}
