// What one reactor's broker is told, told to the brokers of the others: an emitter for aedes, as those that go through Redis or
// MongoDB, for the threads of one process.
import { BroadcastChannel } from 'node:worker_threads'
import mqemitter, { type Message, type MQEmitter } from 'mqemitter'

type Done = (error?: Error) => void

/**
 * An emitter for `Aedes({ mq })` whose messages reach the emitters of the same name in all threads of the process, each thread's in
 * their order. `onRemote` sees those of other threads first.
 */
export function broadcastEmitter(name: string, onRemote: (message: Message) => void): MQEmitter {
  const local = mqemitter()
  const channel = new BroadcastChannel(name)
  const emitHere = local.emit.bind(local)
  const closeHere = local.close.bind(local)
  channel.onmessage = (event) => {
    const message = revived((event as { data: Message }).data)
    onRemote(message)
    emitHere(message)
  }
  // The reactor keeps the thread alive, not the channel.
  channel.unref()
  local.emit = (message: Message, done?: Done) => {
    // A copy: a packet of aedes is an instance of a class, which does not survive the way.
    channel.postMessage({ ...message })
    emitHere(message, done)
  }
  local.close = (done: () => void) => {
    channel.close()
    closeHere(done)
  }
  return local
}

/** Buffers arrive as plain bytes. */
function revived(message: Message): Message {
  const payload: unknown = message['payload']
  if (!(payload instanceof Uint8Array)) return message
  return { ...message, payload: Buffer.from(payload.buffer, payload.byteOffset, payload.byteLength) }
}
