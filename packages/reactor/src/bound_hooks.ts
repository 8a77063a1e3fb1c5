import { MultireactorError, OptionReader, shown } from '@multireactor/addon'
import { isFraming } from './is_framing.js'
import {
  type ConnectionHandlers,
  type ConnectionOptions,
  connectionOptionNames,
  handoverHookNames,
  hookNames,
} from './handlers.js'

export interface BoundHooks {
  hooks: ConnectionHandlers<unknown>
  connectionOptions: ConnectionOptions
}

/** Takes hooks and options of one object apart. The hooks keep their `this`. Throws for other names. */
export function boundHooks<Data>(where: string, handlers: ConnectionHandlers<Data> & ConnectionOptions): BoundHooks {
  if (typeof handlers !== 'object' || handlers === null) {
    throw new MultireactorError(
      'ERR_MR_OPTION_TYPE',
      `${where}: the handlers must be an object with hooks such as message, and are ${shown(handlers)}`,
    )
  }
  // There is no handover here, but an app with its hooks is accepted.
  const read = new OptionReader(where, handlers, [...hookNames, ...handoverHookNames, ...connectionOptionNames])
  const hooks: Record<string, unknown> = {}
  for (const name of hookNames) {
    const hook = read.func<() => unknown>(name)
    if (hook) hooks[name] = hook.bind(handlers)
  }
  const options: Record<string, unknown> = {}
  for (const name of connectionOptionNames) if (name in handlers) options[name] = read.raw(name)
  const { framing } = options
  if (framing !== undefined && !isFraming(framing)) {
    throw new MultireactorError(
      'ERR_MR_OPTION_TYPE',
      `${where}: 'framing' must be a framing such as lines(), and is ${shown(framing)}`,
    )
  }
  return { hooks: hooks as ConnectionHandlers<unknown>, connectionOptions: options as ConnectionOptions }
}
