import type { HttpRequest } from './request.js'
import type { HttpResponse } from './response.js'
import type { ProtocolUpgradeHook } from './other_upgrade.js'
import type { UnreadBodies } from './unread_bodies.js'
import type { WebSocketSettings } from './websocket_settings.js'

export type RequestHandler = (req: HttpRequest, res: HttpResponse) => unknown

/** The app's settings for all of its connections. */
export interface HttpSettings {
  readonly handler: RequestHandler
  /** Answers for a handler that failed. */
  readonly onError: (error: unknown, req: HttpRequest, res: HttpResponse) => unknown
  readonly maxBodyBytes: number
  readonly requestTimeoutMs: number
  /** A FIN aborts the signals of the requests that are being answered. */
  readonly endAborts: boolean
  readonly webSockets: WebSocketSettings | undefined
  /** Decides about requests for other protocols. */
  readonly upgrades: ProtocolUpgradeHook | undefined
  /** Of a `fetch` handler. */
  readonly unread: UnreadBodies | undefined
}
