import type { FrameWork } from '@multireactor/pool/parts'
import type { App } from './app.js'

/** The functions of an app for the frames of its listeners, on any thread. */
// biome-ignore lint/suspicious/noExplicitAny: the data of connections differs from app to app
export function frameWork(app: App<any>): FrameWork {
  return {
    parse: (frame, ctx) => app.parse!(frame, ctx),
    overloaded: app.overloaded && ((frame, ctx) => app.overloaded!(frame, ctx)),
    task: app.task && ((value, ctx) => app.task!(value, ctx)),
    error: app.error && ((error, frame, ctx) => app.error!(error, frame, ctx)),
  }
}
