import cluster from 'node:cluster'
import { inlineServer } from './inline-server.js'
import { listen } from './listen.js'
import { announce, serverOptions } from './start.js'

const { work, reactors } = serverOptions()

if (cluster.isPrimary) {
  const asked = performance.now()
  let listening = 0
  cluster.on('listening', (_worker, address) => {
    listening++
    if (listening === reactors) announce([address.port], undefined, performance.now() - asked)
  })
  for (let i = 0; i < reactors; i++) cluster.fork()
} else {
  await listen(inlineServer(work))
}
