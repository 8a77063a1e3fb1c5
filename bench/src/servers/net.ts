import { inlineServer } from './inline-server.js'
import { listenAndAnnounce } from './listen.js'
import { serverOptions } from './start.js'

await listenAndAnnounce(inlineServer(serverOptions().work))
