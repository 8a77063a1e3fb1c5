import { checkBytes } from './call_checks.js'
import { checkTopic } from './topics.js'

export function checkPublication(call: string, topic: unknown, data: unknown): void {
  checkTopic(call, topic)
  checkBytes(call, data)
}
