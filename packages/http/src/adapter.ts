import type { App } from '@multireactor/core'
import { httpApp } from './http_app.js'
import type { HttpAppOptions } from './options.js'

/** For the runtime: an app module whose default export has `fetch` is an HTTP app. */
export function adapt(exported: object): App {
  return httpApp(exported as HttpAppOptions)
}
