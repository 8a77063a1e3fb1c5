import { channel } from 'node:diagnostics_channel'
import type { Socket } from 'node:net'
import { getEnvironmentData, isMainThread, setEnvironmentData } from 'node:worker_threads'
import type { Crossings } from './start.js'

// Loaded into every thread of a server by `--import`: counts the calls from native code into JavaScript and back, of the addon and of
// the sockets of `node:net`. The counted functions are wrapped from outside, so that neither side changes; the times of such a run mean nothing.

type Callable = (...args: unknown[]) => unknown

const key = 'bench crossings'
const toJs = 0
const toNative = 1

const shared = isMainThread ? new Int32Array(new SharedArrayBuffer(8)) : (getEnvironmentData(key) as unknown as Int32Array)
if (isMainThread) setEnvironmentData(key, shared as unknown as string)

function counted(which: number, call: Callable): Callable {
  return function (this: unknown, ...args: unknown[]): unknown {
    Atomics.add(shared, which, 1)
    return Reflect.apply(call, this, args)
  }
}

/** Its methods are calls into native code. Those of a class made by Node-API cannot be replaced, so they are looked up through a proxy. */
function watchedObject(object: object): object {
  const methods = new Map<PropertyKey, unknown>()
  return new Proxy(object, {
    get(target, name) {
      const value = Reflect.get(target, name, target)
      if (typeof value !== 'function') return value
      if (!methods.has(name)) {
        methods.set(
          name,
          counted(toNative, (...args) => Reflect.apply(value, target, args.map(watchedCallback))),
        )
      }
      return methods.get(name)
    },
  })
}

function watchedCallback(argument: unknown): unknown {
  return typeof argument === 'function' ? counted(toJs, argument as Callable) : argument
}

function watchedClass(native: new (...args: unknown[]) => object): unknown {
  return new Proxy(native, {
    construct: (target, args, newTarget) => watchedObject(Reflect.construct(target, args.map(watchedCallback), newTarget)),
  })
}

function watchedExport(value: unknown): unknown {
  if (typeof value !== 'function') return value
  const isClass = Object.getOwnPropertyNames(value.prototype ?? {}).length > 1
  return isClass ? watchedClass(value as unknown as new () => object) : counted(toNative, value as Callable)
}

const { dlopen } = process
process.dlopen = (...args: Parameters<typeof dlopen>): void => {
  Reflect.apply(dlopen, process, args)
  const module = args[0] as { exports: Record<string, unknown> }
  const names = Object.keys(module.exports)
  module.exports = Object.fromEntries(names.map((name) => [name, watchedExport(module.exports[name])]))
}

// The handle of a socket: `onread` comes from libuv, everything else goes there.
channel('net.server.socket').subscribe((message) => {
  const { _handle: handle } = (message as { socket: Socket & { _handle: Record<string, unknown> } }).socket
  for (const name of [
    'writeBuffer',
    'writeUtf8String',
    'writeLatin1String',
    'writeAsciiString',
    'writev',
    'shutdown',
    'readStart',
    'readStop',
    'close',
  ]) {
    const method = handle[name]
    if (typeof method === 'function') handle[name] = counted(toNative, method as Callable)
  }
  const { onread } = handle
  if (typeof onread === 'function') handle.onread = counted(toJs, onread as Callable)
})

const threadWide = globalThis as { benchCrossings?: () => Crossings }
threadWide.benchCrossings = () => ({ toJs: Atomics.load(shared, toJs), toNative: Atomics.load(shared, toNative) })
