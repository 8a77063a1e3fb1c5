import net from 'node:net'
import { Aedes } from 'aedes'
import { attach } from 'multireactor'
import { broadcastEmitter } from './broadcast_emitter.ts'

/** Where a broker keeps retained messages: aedes has it, its types do not. */
interface Kept {
  persistence: { storeRetained(message: unknown): Promise<void> }
}

// One broker for each reactor; what one of them is told, all of them tell their subscribers.
export default attach(async () => {
  const mq = broadcastEmitter('mqtt', (message) => {
    // Whoever subscribes here later gets it too.
    if (message['retain']) void (broker as Aedes & Kept).persistence.storeRetained(message)
  })
  const broker = await Aedes.createBroker({ mq })
  return {
    server: net.createServer(broker.handle),
    // Clients connect again by themselves when they are told to go.
    drain: () => broker.close(),
  }
})
