import { inlineServer } from './inline-server.js'
import { listeningPort } from './listening-port.js'
import { announce, serverOptions } from './start.js'

announce(await listeningPort(inlineServer(serverOptions().work)))
