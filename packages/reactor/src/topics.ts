import { Buffer } from 'node:buffer'
import { MultireactorError, shown, type slowPolicies, wireLimit } from '@multireactor/addon'

/** The fate of a publication for a subscriber above `outBuffer.high`: see `SubscribeOptions`. */
export type SlowPolicy = (typeof slowPolicies)[number]

/** Options of `conn.subscribe()`. */
export interface SubscribeOptions {
  /**
   * The fate of a publication when more than `outBuffer.high` would wait for this connection. `'close'` (default): it waits all
   * the same, and at `outBuffer.max` the connection closes as `slow-consumer`. `'drop'`: it is not sent. `'latest'`: the newest
   * one of the topic is sent once there is room.
   */
  slow?: SlowPolicy
}

const mostTopicBytes = wireLimit.topicBytes

export function checkTopic(call: string, topic: unknown): asserts topic is string {
  if (typeof topic === 'string' && topic.length > 0 && topic.length <= mostTopicBytes) {
    if (topic.length * 3 <= mostTopicBytes || Buffer.byteLength(topic) <= mostTopicBytes) return
  }
  const what = typeof topic === 'string' ? `has ${Buffer.byteLength(topic)}` : `is ${shown(topic)}`
  throw new MultireactorError(
    'ERR_MR_TOPIC',
    `${call}: a topic is a string of 1 to ${mostTopicBytes} bytes, and this one ${what}`,
  )
}
