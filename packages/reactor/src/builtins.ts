// Modules of Node that few threads need, and that cost each thread 1 to 2 ms to load: loaded at first use.

function later<Module>(load: () => Module): () => Module {
  let loaded: Module | undefined
  return () => (loaded ??= load())
}

export const dns: () => typeof import('node:dns/promises') = later(() => process.getBuiltinModule('node:dns/promises'))
export const fs: () => typeof import('node:fs') = later(() => process.getBuiltinModule('node:fs'))
export const net: () => typeof import('node:net') = later(() => process.getBuiltinModule('node:net'))
export const util: () => typeof import('node:util') = later(() => process.getBuiltinModule('node:util'))
export const v8: () => typeof import('node:v8') = later(() => process.getBuiltinModule('node:v8'))
