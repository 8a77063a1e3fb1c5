#!/usr/bin/env node
try {
  const { main } = await import('@multireactor/core/cli')
  process.exitCode = await main(process.argv.slice(2), { fetchAdapter: import.meta.resolve('@multireactor/http/adapter') })
} catch (error) {
  // Another system, an old Node, no native build: one sentence says it all.
  if (!String(error?.code).startsWith('ERR_MR_')) throw error
  console.error(`multireactor: ${error.message} [${error.code}]`)
  process.exitCode = 1
}
